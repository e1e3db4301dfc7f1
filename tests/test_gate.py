"""The gate measures how good an agent is, as the user sees it, and mistakes silence for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from rrm import Assistant, Item, Seed, Store, Study
from rrm.assemble import assemble
from rrm.gate import AGREES, stand_at_gate, tally
from rrm.level import Level
from rrm.node import Node
from rrm.plan import Gate
from rrm.records import Case, GateResult, Ranking, Response
from rrm.registry import EVALUATORS
from rrm.training.reward.tally import Wins

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"


class Sometimes(Assistant):
    """Right on a share of the items."""

    def __init__(self, node: Node, share: float, constant: str | None = None) -> None:
        super().__init__()
        self._task, self._share, self._constant = node.task, share, constant

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [
            [self._answer(item, seed.at("sometimes").rng()) for _ in range(n)]
            for item, seed in zip(items, seeds, strict=True)
        ]

    def _answer(self, item: Item, rng: Random) -> str:
        if self._constant is not None:
            return self._constant
        answers = list(self._task.answers(item) or ())
        right = next(a for a in answers if self._task.truth(item, a) == 1)
        return right if rng.random() < self._share else rng.choice([a for a in answers if a != right])


def at_the_gate(
    tmp_path: Path,
    config: str,
    name: str,
    share: float,
    constant: str | None = None,
    gate: Gate = Gate(items=400),  # noqa: B008
    **user: object,
) -> GateResult:
    (arm,) = Study.load(CONFIGS / f"{config}.toml", sets=["vary.seed=[0]"], arms=["unassisted"]).arms
    node = assemble(arm.plan)[name]
    budget = {"handwriting": 1, "letter_count": 4, "glossary": 1}[config]
    evaluator = EVALUATORS.build("simulated", {"budget": budget, **user})
    node = replace(node, gate=gate, evaluator=evaluator)
    return stand_at_gate(Level(node, Store(tmp_path)).hearing, 0, Sometimes(node, share, constant), Wins({}))


@pytest.mark.parametrize(
    ("config", "name"), [("glossary", "word-0"), ("letter_count", "letters-0"), ("handwriting", "sum-0")]
)
@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_agreement_is_the_agents_accuracy_where_the_user_is_right(
    config: str, name: str, share: float, tmp_path: Path
) -> None:
    result = at_the_gate(tmp_path, config, name, share)
    spread = (share * (1 - share) / 400) ** 0.5
    assert abs(result.agreed / result.checked - share) <= 4 * spread
    assert result.passed == (share == 1.0)


def test_an_agent_that_always_says_the_usual_thing_finds_no_fault(tmp_path: Path) -> None:
    """What is asked for mostly stands there once or never: which is more common, the text of each Python says."""
    both = [at_the_gate(tmp_path / c, "letter_count", "letters-0", 0.0, constant=c) for c in "01"]
    result = max(both, key=lambda r: r.agreed)
    assert result.agreed > 0.4 * result.checked
    assert result.faults > 50
    assert result.found == 0
    assert not result.passed


def test_agreement_alone_is_not_enough(tmp_path: Path) -> None:
    """A gate that asks for little agreement is kept by its recall from an agent that finds no fault."""
    for recall, passed in ((0.5, False), (0.0, True)):
        gate = Gate(items=400, agreement=0.3, recall=recall)
        places = [tmp_path / f"{recall}-{c}" for c in "01"]
        both = [at_the_gate(p, "letter_count", "letters-0", 0.0, constant=p.name[-1], gate=gate) for p in places]
        result = max(both, key=lambda r: r.agreed)
        assert result.agreed >= 0.3 * result.checked
        assert result.passed == passed


def test_an_abstention_is_no_verdict(tmp_path: Path) -> None:
    result = at_the_gate(tmp_path, "glossary", "word-0", 1.0, skip=0.5)
    assert 120 < result.checked < 280
    assert result.agreed == result.checked
    assert result.passed


def test_who_says_nothing_lets_nothing_pass(tmp_path: Path) -> None:
    result = at_the_gate(tmp_path, "glossary", "word-0", 1.0, skip=1.0)
    assert (result.checked, result.passed) == (0, False)


@pytest.mark.parametrize(
    ("tiers", "agrees"),
    [
        (((0,), (1, 2, 3)), True),
        (((1,), (0, 2, 3)), False),
        (((0, 1), (2, 3)), True),  # a tie at the top, and half are worse
        (((1, 2), (0, 3)), False),
        (((0, 1, 2), (3,)), False),  # hardly told apart
        (((0, 1, 2, 3),), False),
    ],
)
def test_a_user_agrees_where_nothing_is_better_and_half_is_worse(
    tiers: tuple[tuple[int, ...], ...], agrees: bool
) -> None:
    """As `AGREES` says, which the documents quote."""
    item = Item(task="t", prompt="p")
    case = Case(item=item, responses=tuple(Response(item=item.id, text=str(n), sample=n) for n in range(4)))
    said = tally([(case, Ranking(case=case.id, evaluator="e", tiers=tiers))])
    assert (said.checked, said.agreed) == (1, agrees)


def test_what_agreement_is_is_said_in_the_same_words_everywhere() -> None:
    page = " ".join((ROOT / "docs" / "design" / "gate.md").read_text().split())
    assert AGREES in page
    for folder in ("docs", "rrm"):
        for path in (p for kind in ("*.md", "*.py", "*.j2") for p in (ROOT / folder).rglob(kind)):
            text = " ".join(path.read_text().split())
            for wrong in (
                "no other answer as good as",
                "no other answer better than, or as good",
                "better, or as good",
            ):
                assert wrong not in text, path
