"""The tree baseline: the user's own rule over level-0 answers, with no truth in it, whatever it is batched with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rrm import Helper, Seed, Store, Study, build
from rrm.assemble import assemble
from rrm.registry import ASSISTANTS, EVALUATORS, TASKS
from rrm.roles import Wrapper
from rrm.tree import Tree

CONFIG = Path(__file__).parent.parent / "configs" / "glossary.toml"


def tree(**noise: float) -> Tree:
    task, below = TASKS.build("glossary", {"level": 1}), TASKS.build("glossary", {"level": 0})
    truths = {i.prompt: next(a for a in below.answers(i) or () if below.truth(i, a) == 1) for i in below.items() or ()}
    leaf = ASSISTANTS.build("answer-book", {"answers": truths})
    if noise.get("rate"):
        wrapper = ASSISTANTS.build("corrupted", {"rate": noise["rate"], "kind": "independent"})
        assert isinstance(wrapper, Wrapper)
        leaf = wrapper.around(leaf, below)
    user = EVALUATORS.build("simulated", {"budget": 1, "mistake": noise.get("mistake", 0.0)})
    return Tree(task, user, {"left": Helper("word-0", leaf), "right": Helper("word-0", leaf)})


def test_true_leaves_make_a_right_tree() -> None:
    task = TASKS.build("glossary", {"level": 1})
    items = list(task.items() or ())[:60]
    answers = tree().respond(items, seeds=[Seed(i) for i in range(60)])
    assert all(task.truth(item, text) == 1 for item, [text] in zip(items, answers, strict=True))


def test_an_answer_does_not_depend_on_the_batch() -> None:
    items = list(TASKS.build("glossary", {"level": 1}).items() or ())[:40]
    seeds = [Seed(i) for i in range(40)]
    noisy = tree(rate=0.5, mistake=0.3)
    together = noisy.respond(items, seeds=seeds)
    assert noisy.respond(items[::-1], seeds=seeds[::-1])[::-1] == together
    assert [noisy.respond([i], seeds=[s])[0] for i, s in zip(items, seeds, strict=True)] == together


BELOW = """\
# A tree of three levels, whose inner edge is wrapped or not.
effort = { rounds = 1, cases = 4, exam = 4 }
gate = "off"
[cast]
assistant = { use = "answer-book", fallback = "3" }
evaluator = { use = "simulated", budget = 1 }
reward = "tally"
policy = "best-of-n"
[node.word-0]
task = { use = "glossary", level = 0 }
[node.word-1]
task = { use = "glossary", level = 1 }
helped_by = { left = "word-0", right = "word-0" }
[node.word-2]
task = { use = "glossary", level = 2 }
helped_by = { left = { node = "word-1", WRAPS }, right = { node = "word-1", WRAPS } }
"""


@pytest.mark.parametrize("text", ["0", "7"])
def test_what_wraps_a_helper_wraps_the_tree_in_its_place(text: str, tmp_path: Path) -> None:
    """The user of the root is told what the wrapper says, whatever the tree below would have answered."""
    plan, store = tmp_path / "plan.toml", Store(tmp_path / "run")
    plan.write_text(BELOW.replace("WRAPS", f'wrapped_in = [{{ use = "constant", text = "{text}" }}]'))
    loaded = Study.load(plan)
    build.run(loaded, store, workers=1)
    node = assemble(loaded.arms[0].plan)["word-2"]
    items = list(node.task.items() or ())[:40]
    seeds = [Seed(i) for i in range(40)]
    leaf = Helper("word-1", ASSISTANTS.build("answer-book", {"fallback": text}))
    told = Tree(node.task, node.evaluator, {"left": leaf, "right": leaf}).respond(items, seeds=seeds)
    assert Tree.of(node, store).respond(items, seeds=seeds) == told
    assert all(texts != [""] for texts in told)


def test_no_tree_where_a_user_below_knows_the_truth_or_has_to_be_asked() -> None:
    (arm,) = Study.load(CONFIG, sets=["vary.seed=[0]"], arms=["recursive"]).arms
    nodes = assemble(arm.plan)
    assert Tree.stands(nodes["word-2"])
    for other in ("oracle", "terminal"):
        below = replace(nodes["word-1"], evaluator=EVALUATORS.build(other))
        helpers = {slot: (below, wrap) for slot, (_, wrap) in nodes["word-2"].helpers.items()}
        assert not Tree.stands(replace(nodes["word-2"], helpers=helpers))
