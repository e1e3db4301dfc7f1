"""Decompositions in lockstep: what is batched, what is shared, and what a resumed run asks again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrm import Asking, Assistant, ComponentError, Exhibit, Helper, Helpers, Item, Query, Seed, ask_all
from rrm.asking import Fresh, Wave, drive


class Echo(Assistant):
    """Says what it was asked and, unless it is deterministic, under which seed; remembers the batches."""

    def __init__(self, *, deterministic: bool) -> None:
        super().__init__()
        self._deterministic = deterministic
        self.batches: list[list[str]] = []

    @property
    def deterministic(self) -> bool:
        return self._deterministic

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        self.batches.append([i.prompt for i in items])
        said = [i.prompt if self._deterministic else f"{i.prompt}#{s.value}" for i, s in zip(items, seeds, strict=True)]
        return [[text] * n for text in said]


def query(prompt: str, subtask: str = "part") -> Query:
    return Query(subtask=subtask, item=Item(task="t", prompt=prompt))


def chain(*prompts: str) -> Asking:
    """Each question names the answer to the one before."""
    before = ""
    for prompt in prompts:
        answer = yield query(before + prompt)
        before = "nobody:" if answer is None else f"{answer.text}:"


def helpers(echo: Echo, fresh: Fresh = "case", seed: int = 0) -> Helpers:
    return Helpers({"part": Helper("below", echo, "Well?")}, seed=Seed(seed), fresh=fresh)


def test_one_query_put_to_many_cases_gets_one_exhibit_unless_the_answers_differ() -> None:
    asked = query("a")

    def ask_it() -> Asking:
        yield asked

    (one,), (same,) = ask_all([ask_it(), ask_it()], helpers(Echo(deterministic=True)))
    assert one is same
    (one,), (other,) = ask_all([ask_it(), ask_it()], helpers(Echo(deterministic=False)))
    assert one.text != other.text


def test_all_cases_advance_together_one_batch_a_question() -> None:
    echo = Echo(deterministic=True)
    found = ask_all([chain("a", "b"), chain("c"), chain("d", "e", "f"), chain()], helpers(echo))
    assert echo.batches == [["a", "c", "d"], ["a:b", "d:e"], ["d:e:f"]]
    assert [[e.text for e in exhibits] for exhibits in found] == [["a", "a:b"], ["c"], ["d", "d:e", "d:e:f"], []]
    assert found[0][0] == Exhibit(title="Well?", text="a", agent="below", query=query("a"))


def test_one_decomposition_by_hand_gets_each_answer_before_its_next_question() -> None:
    replied: list[str] = []

    def reply(query: Query) -> Exhibit | None:
        replied.append(query.item.prompt)
        return Exhibit(text=query.item.prompt.upper()) if query.item.prompt != "B:c" else None

    assert [q.item.prompt for q in drive(chain("b", "c", "d"), reply)] == ["b", "B:c", "nobody:d"]
    assert replied == ["b", "B:c", "nobody:d"]
    assert list(drive(chain(), reply)) == []
    replied.clear()
    next(drive(chain("b", "c"), reply))
    assert replied == []  # who looks at a query may stop before it is answered


def test_a_deterministic_helper_is_asked_each_question_once() -> None:
    echo = Echo(deterministic=True)
    ask_all([chain("a", "b") for _ in range(50)] + [chain("a:b")], helpers(echo))
    assert echo.batches == [["a", "a:b"]]  # the second question of the fifty is known from the last case's first


@pytest.mark.parametrize(("fresh", "draws"), [("case", 4), ("round", 1), ("run", 1)])
def test_a_sampled_helper_is_shared_only_as_far_as_the_plan_says(fresh: Fresh, draws: int) -> None:
    echo = Echo(deterministic=False)
    found = ask_all([chain("a") for _ in range(4)], helpers(echo, fresh))
    assert len({e.text for (e,) in found}) == draws
    assert sum(map(len, echo.batches)) == draws


def test_blocks_of_cases_change_neither_answers_nor_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(deterministic: bool) -> tuple[object, list[list[str]], list[int]]:
        echo, waves = Echo(deterministic=deterministic), list[int]()
        askings = [chain("a", "b"), chain("c"), chain("a"), chain("d", "e", "f"), chain("d")]
        found = ask_all(askings, helpers(echo), record=lambda number, wave: waves.append(number))
        return found, sorted(p for batch in echo.batches for p in batch), waves

    for deterministic in (True, False):
        together = run(deterministic)
        monkeypatch.setattr("rrm.asking.BLOCK", 2)
        apart = run(deterministic)
        monkeypatch.undo()
        assert apart[:2] == together[:2]
        assert apart[2] == [0, 1, 2, 3, 4, 5]  # each wave recorded under a number of its own


def test_within_one_case_the_same_question_has_one_answer() -> None:
    def twice() -> Asking:
        yield query("a")
        yield query("a")

    echo = Echo(deterministic=False)
    for first, second in ask_all([twice(), twice()], helpers(echo)):
        assert first.text == second.text
    assert echo.batches == [["a", "a"]]


def test_rounds_share_where_the_plan_says_run() -> None:
    """The level hands the same seed to every round then: the same question gets the same draw."""
    one, other = (ask_all([chain("a")], helpers(Echo(deterministic=False), "run")) for _ in range(2))
    assert one == other
    assert ask_all([chain("a")], helpers(Echo(deterministic=False), "run", seed=1)) != one


def test_draws_depend_on_the_case_and_on_nothing_else() -> None:
    """Not on which other cases are asked, nor on their order."""
    together = ask_all([chain("a"), chain("a"), chain("b")], helpers(Echo(deterministic=False)), cases=["x", "y", "z"])
    turned = ask_all([chain("b"), chain("a")], helpers(Echo(deterministic=False)), cases=["z", "y"])
    assert together[1:] == turned[::-1]


def test_where_nobody_serves_a_subtask_the_answer_is_none() -> None:
    def asks() -> Asking:
        answers.append((yield query("a", "other")))
        answers.append((yield query("a")))

    answers: list[Exhibit | None] = []
    (exhibits,) = ask_all([asks()], helpers(Echo(deterministic=True)))
    assert answers[0] is None
    assert [answers[1]] == list(exhibits)
    assert ask_all([chain("a", "b")], Helpers({}, seed=Seed(0))) == [()]


def test_a_wave_is_recorded_before_anything_comes_of_it() -> None:
    events: list[str] = []

    def asks() -> Asking:
        yield query("a")
        events.append("used")
        yield query("b")

    ask_all(
        [asks()], helpers(Echo(deterministic=True)), record=lambda number, wave: events.append(f"recorded {number}")
    )
    assert events == ["recorded 0", "used", "recorded 1"]


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(["case", "round", "run"]),
    st.data(),
)
def test_resuming_anywhere_asks_nothing_twice_and_ends_the_same(
    cases: list[list[str]], deterministic: bool, fresh: Fresh, data: st.DataObject
) -> None:
    waves: dict[int, Wave] = {}
    echo = Echo(deterministic=deterministic)
    wanted = ask_all([chain(*c) for c in cases], helpers(echo, fresh), record=waves.__setitem__)
    kept = data.draw(st.integers(0, len(waves)))
    again, fewer = Echo(deterministic=deterministic), {n: w for n, w in waves.items() if n < kept}
    written: dict[int, Wave] = {}
    found = ask_all(
        [chain(*c) for c in cases],
        helpers(again, fresh),
        record=written.__setitem__,
        recorded=lambda number, size: fewer.get(number),
    )
    assert found == wanted
    assert fewer | written == waves
    assert not fewer.keys() & written.keys()
    known = {e.query.item.prompt for wave in fewer.values() for e in wave if e and e.query}
    if fresh != "case" or deterministic:
        assert known.isdisjoint(prompt for batch in again.batches for prompt in batch)


def test_a_helper_that_gives_too_few_answers_is_told_so() -> None:
    class Short(Echo):
        def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
            return super().respond(items[1:], n=n, seeds=seeds[1:])

    with pytest.raises(ComponentError, match="asked 2 questions and gave 1 answers"):
        ask_all([chain("a"), chain("b")], helpers(Short(deterministic=False)))
