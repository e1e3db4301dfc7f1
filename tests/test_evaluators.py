"""Evaluators: what they say follows from what they can see, and their errors come as often as they are told to."""

from __future__ import annotations

import io
import json
import math
import os
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import binomtest

from rrm import (
    Abstention,
    Approval,
    Block,
    Case,
    Code,
    Correction,
    Demonstration,
    Evaluator,
    Exhibit,
    Feedback,
    Frames,
    Image,
    Item,
    Preference,
    Query,
    Rating,
    Response,
    Seed,
    SettingsError,
    Store,
    StoreError,
    Table,
    Task,
    Text,
)
from rrm.asking import drive
from rrm.evaluators.terminal import Terminal
from rrm.identity import identity
from rrm.registry import EVALUATORS, TASKS
from rrm.testing import check_evaluator

N = 1000
FORMS = ["auto", "preference", "best", "ranking", "rating", "approval", "demonstration", "correction"]


class Worth(Task):
    """The person reads in each answer what it is worth, unless the item is too hard; the truth is minus that."""

    truth_allowed = False
    asked: list[Case]

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="worth", prompt=str(rng.randrange(10**6)))

    def queries(self, case: Case) -> Iterator[Query]:  # type: ignore[override]
        yield from ()

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if "asked" in vars(self):
            self.asked.append(case)
        if case.item.prompt.startswith("hard") and budget < 2:
            return None
        return [float(r.text) if r.text.replace(".", "").isdigit() else 0.0 for r in case.responses]

    def truth(self, item: Item, text: str) -> float | None:
        assert self.truth_allowed, "truth was asked"
        return None if text == "?" else -float(text)


class Finite(Worth):
    def answers(self, item: Item) -> Sequence[str] | None:
        return ["0.1", "0.9", "0.5"]


def _case(*texts: float | str, item: int | str = 0, exhibits: Sequence[Exhibit] = ()) -> Case:
    it = Item(task="worth", prompt=str(item))
    responses = tuple(Response(item=it.id, text=str(t), sample=i) for i, t in enumerate(texts))
    return Case(item=it, responses=responses, exhibits=tuple(exhibits))


def _many(*texts: float | str, count: int = N) -> list[Case]:
    return [_case(*texts, item=i) for i in range(count)]


def _say(
    cases: Sequence[Case], task: Task | None = None, *, seed: int = 0, use: str = "simulated", **settings: Any
) -> list[Any]:
    said = list(EVALUATORS.build(use, settings).judge(task or Worth(), cases, seed=Seed(seed)))
    assert [f.case for f in said] == [c.id for c in cases]
    return said


def _first(cases: Sequence[Case], **settings: Any) -> int:
    """How often the first answer is said to be the better one of two, or the best."""
    return sum(
        f.first_better == 1 if isinstance(f, Preference) else f.tiers[0] == (0,) for f in _say(cases, **settings)
    )


def _is_rate(hits: int, rate: float, count: int = N) -> bool:
    return bool(binomtest(hits, count, rate).pvalue > 1e-4)


# -- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("use", ["simulated", "oracle"])
def test_contract(use: str, form: str) -> None:
    errors = {"beta": 2.0, "mistake": 0.2, "fatigue": 0.02, "skip": 0.1, "equal": 0.1, "position_bias": 0.1}
    for task in ("column-sum", "permutation-power"):
        check_evaluator(EVALUATORS.build(use, {"feedback": form}), TASKS.build(task), cases=4)
    check_evaluator(EVALUATORS.build(use, {"feedback": form, **errors}), TASKS.build("permutation-power"), cases=4)


class Cheat(Evaluator):
    """Breaks the contract: asks for the truth."""

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in cases:
            task.truth(case.item, case.responses[0].text)
            yield Abstention(case=case.id, evaluator="x", reason="x")


class Elsewhere(Evaluator):
    """Breaks the contract: speaks of a case that it was not given."""

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in cases:
            yield Abstention(case=case.item.id, evaluator="x", reason="x")


class Twice(Evaluator):
    """Breaks the contract: says everything twice."""

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in (*cases, *cases):
            yield Abstention(case=case.id, evaluator="x", reason="x")


class Stream(Evaluator):
    """Breaks the contract: draws from one stream for all cases, so that resuming changes what is said."""

    reproducible = True

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        rng = seed.rng()
        for case in cases:
            yield Rating(case=case.id, evaluator="x", score=rng.random())


class Overreach(Evaluator):
    """Breaks the contract: rates an answer that there is not."""

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in cases:
            yield Rating(case=case.id, evaluator="x", score=1, response=len(case.responses))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Cheat, "only the evaluator `oracle`"),
        (Elsewhere, "not given"),
        (Twice, "judged that case before"),
        (Stream, "interrupted"),
        (Overreach, "of a case with"),
    ],
)
def test_the_check_finds(broken: type[Evaluator], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_evaluator(broken(), TASKS.build("column-sum"), cases=2)


# -- what is said, without errors -------------------------------------------------------------------------------------


def test_two_are_compared_more_are_marked_one_is_rated() -> None:
    cases = [
        _case(0.9, 0.2),
        _case(0.2, 0.9),
        _case(0.4, 0.4),
        _case(0.1, 0.9, 0.4, 0.9),
        _case(0.5, 0.5, 0.5),
        _case(0.4),
    ]
    first, second, tie, best, same, one = _say(cases)
    assert [f.first_better for f in (first, second, tie)] == [1, 0, 0.5]
    assert best.tiers == ((1, 3), (0, 2))
    assert same.tiers == ((0, 1, 2),)
    assert one.score == 0.4


def test_other_forms() -> None:
    ranked = [f.tiers for f in _say([_case(0.1, 0.9, 0.4, 0.9), _case(0.3, 0.2), _case(1, 1)], feedback="ranking")]
    assert ranked == [((1, 3), (2,), (0,)), ((0,), (1,)), ((0, 1),)]
    rated = _say([_case(4), _case(7, 0), _case(90)], feedback="rating", worthless=2, perfect=12)
    assert [f.score for f in rated] == [0.2, 0.5, 1]
    approved = _say([_case(0.4), _case(0.5)], feedback="approval")
    assert all(isinstance(f, Approval) for f in approved)
    assert [f.approved for f in approved] == [False, True]
    assert [f.tiers for f in _say([_case(0.1, 0.3)], feedback="best")] == [((1,), (0,))]


def test_own_words_come_from_the_answer_set_or_from_the_answers_shown() -> None:
    (shown,) = _say([_case(0.1, 0.3)], feedback="demonstration")
    (known,) = _say([_case(0.1, 0.3)], Finite(), feedback="demonstration")
    assert isinstance(shown, Demonstration)
    assert (shown.text, known.text) == ("0.3", "0.9")
    mended, stands = _say([_case(0.1), _case(0.9)], Finite(), feedback="correction")
    assert isinstance(mended, Correction)
    assert (mended.text, stands.text) == ("0.9", "0.9")
    (alone,) = _say([_case(0.1)], feedback="correction")
    assert isinstance(alone, Abstention)
    task = Finite()
    task.asked = []
    _say([_case(0.1)], task, feedback="demonstration", budget=7)
    assert len(task.asked) == 1


def test_swapping_the_answers_swaps_the_verdict() -> None:
    rng = Random(0)
    pairs = [(rng.randrange(10) / 10, rng.randrange(10) / 10) for _ in range(300)]
    one = _say([_case(a, b, item=i) for i, (a, b) in enumerate(pairs)])
    other = _say([_case(b, a, item=i) for i, (a, b) in enumerate(pairs)])
    assert [f.first_better for f in one] == [1 - f.first_better for f in other]
    assert {f.first_better for f in one} == {0, 0.5, 1}


def test_what_is_too_much_work_is_no_score() -> None:
    (hard,) = _say([_case(0.9, 0.2, item="hard")])
    assert isinstance(hard, Abstention)
    assert _say([_case(0.9, 0.2, item="hard")], budget=2)[0].first_better == 1


def test_a_simulated_person_never_asks_for_the_truth_and_estimates_once() -> None:
    for form in FORMS:
        task = Worth()
        task.asked = []
        _say([*_many(0.9, 0.2, count=20), *_many(0.9, count=5), *_many(1, 2, 3, count=5)], task, feedback=form)
        assert len(task.asked) == 30


def test_the_oracle_reads_no_help() -> None:
    """With exhibits that the simulated person believes, it says what it says without."""
    task = TASKS.build("column-sum", {"length": 16})
    item = task.sample(Seed(0).rng())
    total = next(n for n in range(1000) if task.truth(item, str(n)) == 1)
    asking = task.queries(Case(item=item, responses=(Response(item=item.id, text="0"),)))
    helped = tuple(Exhibit(text="99", agent="a", query=query) for query in drive(asking, lambda _: None))
    responses = tuple(Response(item=item.id, text=str(n)) for n in (total, 99 * len(helped)))
    bare, told = (Case(item=item, responses=responses, exhibits=e) for e in ((), helped))
    assert [_say([case], task, use="oracle")[0].first_better for case in (bare, told)] == [1, 1]
    assert _say([told], task, budget=5)[0].first_better == 0


def test_the_oracle_judges_by_the_truth() -> None:
    task = Worth()
    task.truth_allowed = True
    assert _say([_case(0.9, 0.2)], task, use="oracle")[0].first_better == 0
    assert isinstance(_say([_case(0.9, "?")], task, use="oracle")[0], Abstention)
    assert _is_rate(_first(_many(0.9, 0.2), task=task, use="oracle", mistake=0.3), 0.3)


def test_settings_are_checked() -> None:
    for wrong in ({"mistake": 1.5}, {"beta": 0}, {"worthless": 1, "perfect": 1}, {"feedback": "smile"}, {"bugdet": 1}):
        with pytest.raises(SettingsError):
            EVALUATORS.build("simulated", wrong)


# -- errors, as often as they are told to come -------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_mistakes(rate: float) -> None:
    assert _is_rate(N - _first(_many(0.9, 0.2), mistake=rate), rate)
    assert _is_rate(N - _first(_many(3, 1, 0, 2), mistake=rate), rate * 3 / 4)
    approved = sum(f.approved for f in _say(_many(0.9), feedback="approval", mistake=rate))
    assert _is_rate(N - approved, rate)
    ranked = sum(f.tiers == ((0,), (1,), (2,)) for f in _say(_many(3, 2, 1), feedback="ranking", mistake=rate))
    assert _is_rate(N - ranked, rate)
    rated = sum(f.score == 0.25 for f in _say(_many(0.25), feedback="rating", mistake=rate))
    assert _is_rate(N - rated, rate)


def test_a_tie_has_nothing_to_turn_round() -> None:
    assert {f.first_better for f in _say(_many(1, 1), mistake=1)} == {0.5}
    assert {f.tiers for f in _say(_many(1, 1, 1), mistake=1)} == {((0, 1, 2),)}


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_rationality_is_boltzmanns(beta: float) -> None:
    assert _is_rate(_first(_many(0.9, 0.2), beta=beta), 1 / (1 + math.exp(-0.7 * beta)))
    values = (1.0, 0.0, 0.5, 2.0)
    total = sum(math.exp(beta * v) for v in values)
    picked = Counter(f.tiers[0] for f in _say(_many(*values), beta=beta))
    for i, v in enumerate(values):
        assert _is_rate(picked[(i,)], math.exp(beta * v) / total)
    orders = Counter(f.tiers for f in _say(_many(1, 0, 0.5), beta=beta, feedback="ranking"))
    a, b, c = (math.exp(beta * v) for v in (1, 0, 0.5))
    assert _is_rate(orders[((1,), (0,), (2,))], b / (a + b + c) * a / (a + c))
    assert _is_rate(
        sum(f.approved for f in _say(_many(0.9), feedback="approval", beta=beta)), 1 / (1 + math.exp(-0.4 * beta))
    )


def test_rationality_without_bound_is_the_rational_person() -> None:
    rng = Random(1)
    cases = [_case(*(rng.randrange(5) for _ in range(k)), item=i) for i in range(200) for k in (1, 2, 4)]
    for form in ("auto", "ranking"):
        sure, sane = _say(cases, feedback=form, beta=1e9), _say(cases, feedback=form)
        assert [f.model_dump(exclude={"score"}) for f in sure] == [f.model_dump(exclude={"score"}) for f in sane]


def test_skipping() -> None:
    said = _say(_many(0.9, 0.2), skip=0.2)
    assert _is_rate(sum(isinstance(f, Abstention) for f in said), 0.2)
    low, high = _say([_case(0.1, 0.2), _case(0.1, 0.6)], skip_below=0.5)
    assert isinstance(low, Abstention)
    assert high.first_better == 0


def test_values_that_are_nearly_equal_are_ties() -> None:
    near, far = _say([_case(0.5, 0.75), _case(0.5, 0.875)], equal=0.25)
    assert (near.first_better, far.first_better) == (0.5, 0)
    (best,) = _say([_case(1, 0.875, 0.25)], equal=0.25)
    assert best.tiers == ((0, 1), (2,))
    (ranked,) = _say([_case(4, 3, 2, 0)], equal=1, feedback="ranking")
    assert ranked.tiers == ((0, 1), (2,), (3,))


def test_position_bias_is_for_the_first() -> None:
    assert _is_rate(_first(_many(0.2, 0.9), position_bias=0.2), 0.2)
    assert _first(_many(0.9, 0.2), position_bias=0.2) == N
    tied = [f.first_better for f in _say(_many(1, 1), position_bias=0.2)]
    assert _is_rate(tied.count(1), 0.2)
    assert set(tied) == {0.5, 1}
    assert _is_rate(_first(_many(0, 1, 2, 3), position_bias=0.2), 0.2)


def test_people_tire() -> None:
    said = _say(_many(0.9, 0.2, count=3000), fatigue=0.001)
    wrong = [f.first_better == 0 for f in said]
    early, late = sum(wrong[:250]), sum(wrong[500:])
    assert _is_rate(early, 0.1245, 250)
    assert _is_rate(late, 0.5, 2500)
    assert wrong[0] is False


def test_the_first_exhibits_are_forgotten() -> None:
    exhibits = [Exhibit(text=str(i)) for i in range(3)]
    cases = [_case(1, 0, item=i, exhibits=exhibits) for i in range(N)]
    task = Worth()
    task.asked = []
    _say(cases, task, myopic=0.6)
    read = Counter(e.text for case in task.asked for e in case.exhibits)
    assert read["2"] == N
    assert _is_rate(read["1"], 0.6)
    assert _is_rate(read["0"], 0.36)
    assert all(c.id != seen.id or c == seen for c, seen in zip(cases, task.asked, strict=True))
    task.asked = []
    _say(cases[:5], task)
    assert task.asked == cases[:5]


def test_one_error_leaves_the_draws_of_another_alone() -> None:
    cases = _many(0.9, 0.2, count=400)
    plain = [f.first_better for f in _say(cases, mistake=0.3)]
    both = [getattr(f, "first_better", None) for f in _say(cases, mistake=0.3, skip=0.3)]
    assert all(b in (None, p) for p, b in zip(plain, both, strict=True))
    assert None in both


def test_stopping_and_going_on_says_the_same() -> None:
    errors = {"beta": 1.0, "mistake": 0.2, "fatigue": 0.01, "skip": 0.1, "position_bias": 0.1, "myopic": 0.9}
    person, task = EVALUATORS.build("simulated", errors), Worth()
    cases = [c for i in range(60) for c in (_case(1, 2, item=i), _case(3, 1, 2, item=i), _case(0.5, item=i))]
    whole = list(person.judge(task, cases, seed=Seed(3)))
    for cut in (1, 77):
        parts = [
            *person.judge(task, cases[:cut], seed=Seed(3)),
            *person.judge(task, cases[cut:], seed=Seed(3), done=cut),
        ]
        assert parts == whole
    assert list(person.judge(task, cases, seed=Seed(4))) != whole


# -- replay ------------------------------------------------------------------------------------------------------------


def test_replay_says_what_was_said(tmp_path: Path) -> None:
    cases = _many(0.9, 0.2, count=6)
    said = _say(cases, mistake=0.5)
    store = Store(tmp_path)
    store.append("node-a", "0/cases", cases[:3], first=0)
    store.append("node-a", "0/feedback", said[:3], first=0)
    store.append("node-b", "gate-0/feedback", [Abstention(case=cases[3].id, evaluator="ann", reason="tired")], first=0)
    assert _say(cases[:3], use="replay", run=str(tmp_path)) == said[:3]
    ann, gone = _say(cases[3:5], use="replay", run=str(tmp_path))
    assert (ann.evaluator, ann.reason) == ("ann", "tired")
    assert gone.evaluator == "replay"
    assert "not judged" in gone.reason
    only = _say(cases[:4], use="replay", run=str(tmp_path), evaluator="ann")
    assert [f.evaluator for f in only] == ["replay"] * 3 + ["ann"]


def test_a_replay_depends_on_what_was_said_and_on_nothing_else_of_the_run(tmp_path: Path) -> None:
    cases = _many(0.9, 0.2, count=4)
    store = Store(tmp_path)
    store.append("node-a", "0/feedback", _say(cases[:2]), first=0)

    def key() -> object:
        return identity(EVALUATORS.build("replay", {"run": str(tmp_path)}))

    before = key()
    store.append("node-b", "0/cases", cases, first=0)
    assert key() == before
    store.append("node-b", "0/feedback", _say(cases[2:]), first=0)
    assert key() != before


def test_replay_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run here"):
        _say([_case(1, 2)], use="replay", run=str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="needs the setting 'run'"):
        EVALUATORS.build("replay")


# -- a person at a terminal -----------------------------------------------------------------------------------------

EXHIBIT = Exhibit(
    title="What is 1 + 1?", text="\x1b[2Jtwo", agent="adder", query=Query(subtask="sum", item=_case(1).item)
)


class Sitting:
    """A scripted person, and what was on the screen each time that a key was pressed."""

    def __init__(self, *lines: str, **settings: Any) -> None:
        self.terminal = Terminal(Terminal.Settings(**settings))
        self.stream, self.lines, self.screens = io.StringIO(), list(lines), list[str]()
        self.terminal.console = Console(file=self.stream, width=100, markup=False, emoji=False, highlight=False)
        self.terminal.read = self._read
        self.ticks = 0
        self.terminal.clock = self._tick

    def _read(self) -> str:
        self.screens.append(self.stream.getvalue())
        self.stream.truncate(0)
        self.stream.seek(0)
        line = self.lines.pop(0) if self.lines else ""
        if line == "^C":
            raise KeyboardInterrupt
        return line

    def _tick(self) -> float:
        self.ticks += 1
        return float(self.ticks)

    def judge(self, cases: Sequence[Case], task: Task | None = None) -> list[Any]:
        return list(self.terminal.judge(task or Worth(), cases, seed=Seed(0)))


@pytest.mark.parametrize("last", ["", "^C", "q\n"])
def test_what_is_said_after_a_sitting_begins_a_line(last: str) -> None:
    """Nobody typed the end of the question's line: not with Ctrl-D or Ctrl-C, nor where keys come from a pipe."""
    sitting = Sitting("1\n", last)
    sitting.judge(_many(1, 2, count=3))
    assert not sitting.screens[-1].endswith("\n")
    assert sitting.stream.getvalue() == "\n"


def test_keys_for_two_for_more_and_for_one() -> None:
    cases = [*_many(1, 2, count=5), _case(1, 2, 3), _case(1, 3, 2), _case(3, 2, 1), _case(1), _case(2)]
    said = Sitting("1\n", "2\n", "=\n", "?\n", "1 2\n", "2\n", "1, 3\n", "=\n", "9\n", "3\n", person="ann").judge(cases)
    assert [getattr(f, "first_better", None) for f in said[:5]] == [1, 0, 0.5, None, 0.5]
    assert isinstance(said[3], Abstention)
    assert [f.tiers for f in said[5:8]] == [((1,), (0, 2)), ((0, 2), (1,)), ((0, 1, 2),)]
    assert [f.score for f in said[8:]] == [1, 3 / 9]
    assert [f.case for f in said] == [c.id for c in cases]
    assert {f.evaluator for f in said} == {"ann"}
    assert all(f.seconds > 0 for f in said)


def test_the_screen_says_where_and_what_a_key_means() -> None:
    """`1` marks the first of two answers, and is a poor rating of one: which of them is asked stands before the key."""
    two, one = (c.model_copy(update={"place": p}) for c, p in ((_case(1, 2), "1/0"), (_case(1), "gate-1/7")))
    sitting = Sitting("1\n", "1\n", "h\n")
    sitting.terminal = sitting.terminal.seated("total", 2)
    said = sitting.judge([two, one])
    assert "total, level 2, round 1, case 1 of 2, in the record 1/0" in sitting.screens[0]
    assert "Which answer is best? Its number, 1 to 2, = the same," in sitting.screens[0]
    assert "total, level 2, gate after round 1, case 2 of 2, in the record gate-1/7" in sitting.screens[1]
    assert "How good is this one answer? Rate it: 0 worthless … 9" in sitting.screens[1]
    assert "Which" not in sitting.screens[1]
    assert (said[0].first_better, said[1].score) == (1, 1 / 9)


def test_the_contract_of_a_scripted_person() -> None:
    check_evaluator(Sitting(*["1\n"] * 18).terminal, TASKS.build("column-sum"))


def test_undo_takes_back_the_last_verdict_and_no_other() -> None:
    cases = _many(1, 2, count=3)
    sitting = Sitting("u\n", "1\n", "1\n", "u\n", "u\n", "2\n", "1\n")
    said = sitting.judge(cases)
    assert [(f.case, f.first_better) for f in said] == [(cases[0].id, 1), (cases[1].id, 0), (cases[2].id, 1)]
    assert "nothing to undo" in sitting.screens[1]
    assert "nothing to undo" in sitting.screens[5]
    assert said[1].seconds > said[2].seconds


def test_a_verdict_is_handed_on_when_it_can_no_longer_be_undone() -> None:
    cases = _many(1, 2, count=3)
    sitting = Sitting("1\n", "2\n", "1\n")
    arriving = sitting.terminal.judge(Worth(), cases, seed=Seed(0))
    assert next(arriving).case == cases[0].id
    assert len(sitting.lines) == 1


@pytest.mark.parametrize("stop", ["q\n", "", "^C"])
def test_stopping_keeps_what_was_said(stop: str) -> None:
    said = Sitting("1\n", "2\n", stop).judge(_many(1, 2, count=5))
    assert [f.first_better for f in said] == [1, 0]
    assert Sitting(stop).judge(_many(1, 2)) == []


def test_opening_exhibits_where_there_are_none_is_told() -> None:
    sitting = Sitting("e\n", "e2\n", "ex\n", "1\n")
    sitting.judge([_case(1, 2)])
    assert ["There are no exhibits" in screen for screen in sitting.screens] == [False, True, True, False]


def test_unknown_keys_say_nothing() -> None:
    sitting = Sitting("\n", "7\n", "x\n", "e\n", "0\n", "²\n", "1" * 5000 + "\n", "h\n", "1\n")
    (said,) = sitting.judge([_case(1, 2)])
    assert said.first_better == 1
    assert "not one of the keys" in sitting.screens[2]
    assert "undo" in sitting.screens[8]


def test_folded_exhibits_are_recorded_when_they_are_opened() -> None:
    second = Exhibit(title="And then?", text="three", agent="counter", confidence=0.5)
    case = _case(1, 2, exhibits=[EXHIBIT, second])
    sitting = Sitting("1\n", show_exhibits="folded")
    assert sitting.judge([case])[0].seen == ()
    assert "two" not in sitting.screens[0]
    assert "adder" in sitting.screens[0]
    sitting = Sitting("e2\n", "1\n", show_exhibits="folded")
    assert sitting.judge([case])[0].seen == (second.id,)
    assert "three" not in sitting.screens[0]
    assert "three" in sitting.screens[1]
    assert Sitting("e\n", "1\n", show_exhibits="folded").judge([case])[0].seen == (EXHIBIT.id, second.id)
    assert Sitting("1\n").judge([case])[0].seen == (EXHIBIT.id, second.id)


class Gallery(Worth):
    """Shows an item as one block of every kind."""

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        dot = Image(pixels=((0, 255, 0), (255, 0, 255), (0, 0, 0)), alt="a dot\x1b[31m")
        frames = Frames(frames=(dot, Text(text="then \u202enothing")) * 20)
        return Code(text="print([red]\x07)"), Table(columns=("a\x1b", "b"), rows=(("1\x08", "[b]2[/b]"),)), dot, frames


@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_everything_is_drawn_and_nothing_acts(colours: Any) -> None:
    sitting = Sitting("1\n")
    sitting.terminal.console = Console(
        file=sitting.stream,
        width=80,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=colours,
        force_terminal=bool(colours),
    )
    evil = "\x1b]0;owned\x07\x1b[2J[link=file:///etc]x[/link]\r\u202e\u200b:bomb:"
    exhibit = Exhibit(
        title=evil, text=evil, agent=evil, kind=evil, query=Query(subtask="s", item=Item(task="t", prompt=evil))
    )
    sitting.judge([_case(evil, "2", exhibits=[exhibit])], Gallery())
    screen = sitting.screens[0]
    for bad in ("\x07", "\x1b]", "\x1b[2J", "\u202e", "\u200b", "\x08", "\r", "\x1b[31m"):
        assert bad not in screen
    for good in ("[link=file:///etc]x[/link]", ":bomb:", "‹U+202E›", "print([red]", "[b]2[/b]", "a dot"):
        assert good in screen
    assert ("▀" in screen) == (colours is not None)


def test_a_real_terminal(tmp_path: Path) -> None:
    script = tmp_path / "sit.py"
    script.write_text(
        "from rrm import Case, Item, Response, Seed\n"
        "from rrm.registry import EVALUATORS, TASKS\n"
        "task = TASKS.build('column-sum')\n"
        "items = [task.sample(Seed(i).rng()) for i in range(3)]\n"
        "cases = [Case(item=i, responses=(Response(item='', text='1'), Response(item='', text='2'))) for i in items]\n"
        "for said in EVALUATORS.build('terminal').judge(task, cases, seed=Seed(0)):\n"
        "    print(said.model_dump_json(), flush=True)\n"
    )
    root = Path(__file__).parents[1]
    path = os.pathsep.join(str(root / p) for p in (".", "tasks", "assistants"))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        os.close(theirs)
        os.write(ours, b"2\n1\n\x04")
        screen = b""
        try:
            while chunk := os.read(ours, 65536):
                screen += chunk
        except OSError:  # Linux says so when the other end is closed
            pass
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    said = [json.loads(line) for line in out.splitlines()]
    assert [f["first_better"] for f in said] == [0, 1]
    assert "3 of 3" in screen.decode()
    assert process.returncode == 0
