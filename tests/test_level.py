"""One level's loop: which answers are shown, and how long a helper's answer is shared. (Where it stops and goes on:
`test_resume.py`.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rrm import (
    Assistant,
    Case,
    Item,
    Judged,
    Preference,
    Response,
    RewardModel,
    Seed,
    Selection,
    SoFar,
    Study,
    Task,
    Turn,
    build,
)
from rrm.asking import Fresh
from rrm.assemble import assemble
from rrm.level import Level
from rrm.plan import Effort
from rrm.records import Exhibit
from rrm.store import Store


class InOrder(Assistant):
    """Proposes the same answers in the same order."""

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [list("12345")[:n] for _ in items]


class Again(Selection):
    """What is unsettled, and then a new item."""

    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        return [*so_far.unsettled, task.sample(seed.rng())][:count]


def test_of_an_unsettled_item_the_answers_that_were_not_rejected_are_shown_first(study: Path, tmp_path: Path) -> None:
    node = assemble(Study.load(study).arms[0].plan)["block"]
    node = replace(node, selection=Again(), effort=Effort(rounds=2, cases=2, candidates=2))
    old = node.task.sample(Seed(3).rng())
    case = Case(item=old, responses=tuple(Response(item=old.id, text=text) for text in "13"))
    tie = Preference(case=case.id, evaluator="t", first_better=0.5)
    judged = Level(node, Store(tmp_path / "run")).ask(Turn(1, 2), InOrder(), None, [(case, tie)])
    (again, shown), (new, first) = [(c.item, {r.text for r in c.responses}) for c, _ in judged]
    assert (again, shown) == (old, {"2", "4"})
    assert new != old
    assert first == {"1", "2"}


SHARED = """\
# A helper that errs afresh each time it is asked, on a few words that come again and again.
effort = { rounds = 2, cases = 40, exam = 4, fresh = "FRESH" }
gate = "off"
[cast]
assistant = { use = "answer-book", fallback = "3" }
evaluator = { use = "simulated", budget = 1 }
reward = "tally"
policy = "best-of-n"
[node.below]
task = { use = "glossary", level = 0 }
cast = { wrapped_in = [{ use = "corrupted", rate = 0.9 }] }
[node.above]
task = { use = "glossary", level = 1 }
helped_by = { left = "below", right = "below" }
"""


@pytest.mark.parametrize(("fresh", "within", "between"), [("case", 0, 0), ("round", 1, 0), ("run", 1, 1)])
def test_a_sampled_answer_is_shared_within_a_round_or_the_run(
    fresh: Fresh, within: int, between: int, tmp_path: Path
) -> None:
    """By the record: whether a question that came again was answered the same. By chance a seventh of them are."""
    plan, store = tmp_path / "plan.toml", Store(tmp_path / "run")
    plan.write_text(SHARED.replace("FRESH", fresh))
    loaded = Study.load(plan)
    build.run(loaded, store, workers=1)
    key, rounds, same = assemble(loaded.arms[0].plan)["above"].key, list[dict[tuple[str, str], str]](), list[bool]()
    for number in range(2):
        said: dict[tuple[str, str], str] = {}
        streams = [s for s in store.streams(key) if s.startswith(f"{number}/answers/")]
        for exhibit in (e for s in streams for e in store.read(key, s, Exhibit).values() if e.query):
            assert exhibit.query is not None
            place = exhibit.query.subtask, exhibit.query.item.prompt
            same += [said[place] == exhibit.text] if place in said else []
            said[place] = exhibit.text
        rounds.append(said)
    again = rounds[0].keys() & rounds[1].keys()
    alike = [rounds[0][place] == rounds[1][place] for place in again]
    for found, wanted in ((same, within), (alike, between)):
        assert len(found) > 6
        assert all(found) if wanted else sum(found) < 0.6 * len(found)


def test_a_frozen_reward_model_stays_as_it_was_while_nobody_is_asked(study: Path, tmp_path: Path) -> None:
    node = assemble(Study.load(study).arms[0].plan)["block"]
    fitted: list[int] = []

    class Counted(type(node.reward)):  # type: ignore[misc]
        def fit(self, judged: Sequence[Judged], **given: Any) -> RewardModel:
            fitted.append(len(judged))
            found: RewardModel = super().fit(judged, **given)
            return found

    node = replace(node, reward=Counted(), effort=Effort(rounds=4, cases=3, frozen_after=2, exam=2))
    store = Store(tmp_path / "run")
    Level(node, store).train()
    assert fitted == [3, 6]
    assert [len(store.read(node.key, f"{number}/cases", Case)) for number in range(4)] == [3, 3, 0, 0]
    assert store.has_agent(node.key, "published")


@pytest.mark.parametrize("asked", [{"first_cases": 0}, {"first_cases": 0, "cases": 0}])
def test_another_levels_reward_is_where_a_level_begins_and_not_what_it_trains_on(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, int]
) -> None:
    node = assemble(Study.load(study).arms[0].plan)["block"]
    others = node.reward.fit([], task=node.task, assistant=node.assistant, start=None, turn=Turn(0, 1), seed=Seed(0))
    fitted: list[tuple[int, bool]] = []

    class Counted(type(node.reward)):  # type: ignore[misc]
        def fit(self, judged: Sequence[Judged], **given: Any) -> RewardModel:
            fitted.append((len(judged), given["start"] is others))
            found: RewardModel = super().fit(judged, **given)
            return found

    begin = Level._beginning
    monkeypatch.setattr(Level, "_beginning", lambda self: (begin(self)[0], others))
    node = replace(node, reward=Counted(), effort=Effort(**{"rounds": 2, "cases": 3, "exam": 2, **asked}))
    Level(node, Store(tmp_path / "run")).train()
    assert fitted[0] == (0, True)
    assert [many for many, _ in fitted] == [0, 3][: 1 if "cases" in asked else 2]
