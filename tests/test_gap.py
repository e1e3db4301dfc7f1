"""The reward–result gap: what is recorded of a reward model's belief, and when a report speaks of overoptimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from test_report import arm, html, keyed, printed, publish

from rrm import Assistant, Item, Seed, Study, Task
from rrm.assemble import assemble
from rrm.exam import BELIEVED, exam
from rrm.graph import TaskGraph
from rrm.plan import Effort
from rrm.records import Arm, Exam
from rrm.report import Report
from rrm.report.gap import correlation, reward_gap
from rrm.roles import RewardModel, Scores
from rrm.store import Store

MANY = 200


class Worth(Task):
    """An answer is a number, and worth it."""

    measure = "mean"

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task=self.name(), prompt=str(rng.randrange(10**6)))

    def truth(self, item: Item, text: str) -> float | None:
        return float(text)


class Listed(Worth):
    def answers(self, item: Item) -> Sequence[str] | None:
        return ["0", "1"]


class Same(Assistant):
    """Says one thing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[self.text] * n for _ in items]


class Twice(RewardModel):
    """Believes that an answer is worth twice its number."""

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        mean = np.array([[2.0 * float(t) for t in texts] for texts in candidates])
        return Scores(mean, np.zeros_like(mean))


# -- what is recorded -------------------------------------------------------------------------------------------------


def test_an_exam_records_what_the_reward_model_believes(study: Path) -> None:
    node = replace(assemble(Study.load(study).arms[0].plan)["block"], task=Worth(), effort=Effort(exam=BELIEVED + 30))
    first = exam(node, "round-0", Same("1"), Twice(), last=False)
    then = exam(node, "round-1", Same("3"), Twice(), first=first, last=False)
    assert (first.believed, first.believed_first) == ((2.0,) * BELIEVED, (2.0,) * BELIEVED)
    assert (then.believed, then.believed_first) == ((6.0,) * BELIEVED, (2.0,) * BELIEVED)
    assert len(then.answers) == BELIEVED + 30
    assert exam(node, "tree", Same("1")).believed == ()
    finite = replace(node, task=Listed())
    told = [exam(finite, "round-0", Same("1"), Twice(), last=last) for last in (False, True)]
    assert [(e.believed, len(e.scores)) for e in told] == [((), 0), ((), BELIEVED + 30)]


def test_older_exams_are_still_read() -> None:
    old = '{"moment":"round-0","prompts":["a"],"answers":["1"],"scores":[],"trained_on":[]}'
    assert Exam.model_validate_json(old).believed == ()
    assert reward_gap({0: Exam.model_validate_json(old)}, {0: [1.0]}) is None


# -- what is said -----------------------------------------------------------------------------------------------------


def taken(number: int, worth: float, believed: float, rng: Random) -> Exam:
    """Answers worth about so much, of which a reward model believes about so much more than of the first ones."""
    true = [round(worth + rng.gauss(0, 1), 3) for _ in range(MANY)]
    offset = 100.0 * number  # a learnt reward has no zero: it must not count
    return Exam(
        moment=f"round-{number}",
        prompts=tuple(map(str, range(MANY))),
        answers=tuple(map(str, true)),
        believed=tuple(believed + offset + 0.5 * t for t in true),
        believed_first=(offset,) * MANY,
    )


def reported(store: Store, course: Sequence[tuple[float, float]], seed: int = 0, name: str = "recursive") -> Report:
    rng, key = Random(seed), f"{name}{seed}"
    publish(store, key)
    store.append(keyed(key), "exam", [taken(n, worth, said, rng) for n, (worth, said) in enumerate(course)])
    store.append("study", "arms", [arm(name, seed, {"top": key})])
    return Report.from_store(store, graph_of=_graph)


def _graph(arm: Arm) -> TaskGraph:
    return TaskGraph({"top": Worth()}, {})


def told(found: Report) -> list[str]:
    return [v.text for v in found.verdicts if "overoptimised" in v.text]


RISE_AND_FALL = [(0.0, 0.0), (2.0, 1.0), (3.0, 2.0), (1.5, 4.0), (1.0, 6.0)]


@pytest.mark.parametrize(
    ("course", "speaks"),
    [
        (RISE_AND_FALL, True),
        ([(w, 2 * w) for w, _ in RISE_AND_FALL], False),  # the reward model knew that it fell
        ([(float(n), 2.0 * n) for n in range(5)], False),  # it never fell
        ([(0.0, 0.0), (1.0, 1.0), (1.0, 2.0), (1.0, 3.0)], False),  # no more than noise
    ],
)
def test_overoptimisation_is_belief_that_rises_while_truth_falls(
    course: list[tuple[float, float]], speaks: bool, tmp_path: Path
) -> None:
    for seed in range(5):
        store = Store(tmp_path / str(seed))
        assert bool(told(reported(store, course, seed))) == speaks, seed


def test_the_gap_is_told_in_numbers_words_and_lines(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    found = reported(store, RISE_AND_FALL)
    (node,) = [a["nodes"]["top"] for a in found.to_json()["arms"]]
    gap = node["reward_gap"]
    assert [r["round"] for r in gap["rounds"]] == [0, 1, 2, 3, 4]
    true = [r["true"]["mean"] for r in gap["rounds"]]
    assert true == pytest.approx([w for w, _ in RISE_AND_FALL], abs=0.35)
    believed = [r["believed"]["mean"] for r in gap["rounds"]]
    assert believed == pytest.approx([b + 0.5 * w for w, b in RISE_AND_FALL], abs=0.35)  # and no offset
    assert all(r["correlation"]["mean"] == pytest.approx(1) for r in gap["rounds"])
    assert gap["correlation"] == pytest.approx(np.corrcoef(true, believed)[0, 1], abs=1e-5)
    over = gap["overoptimised"]
    assert (over["since"], over["until"]) == (2, 4)
    assert over["true"]["high"] < 0 < over["believed"]["low"]
    (text,) = told(found)
    assert text.startswith("recursive: overoptimised: from round 2 to 4 the reward model's belief")
    assert "moved by −" in text
    assert "overoptimised" in printed(found)
    page = html(found, tmp_path / "page.html")
    assert "What the reward model believed, and what was true" in page
    assert "believed, 4: gain over round 0, of its largest 1.000" in page


def test_seeds_that_overoptimise_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    reported(store, [(float(n), 2.0 * n) for n in range(5)], 0)
    (text,) = told(reported(store, RISE_AND_FALL, 1))
    assert text.startswith("recursive: overoptimised at 1 of 2 seeds; at seed 1, from round 2 to 4")


def test_correlation_is_pearsons_with_an_interval_that_covers() -> None:
    """Of 400 samples of 50 pairs with rho = .6, the interval covers .6 in about 380; 363 is four deviations less."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        x = rng.normal(size=50)
        y = 0.6 * x + 0.8 * rng.normal(size=50)
        found = correlation(x.tolist(), y.tolist())
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.mean == pytest.approx(np.corrcoef(x, y)[0, 1])
        inside += found.low <= 0.6 <= found.high
    assert 363 <= inside <= 397
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
