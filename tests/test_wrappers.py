"""Assistants that need no model, and wrappers around others: whose errors are of which kind, and what mends them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from scipy.stats import binomtest

from rrm import Assistant, Item, Seed, SettingsError, Task, Wrapper
from rrm.registry import ASSISTANTS
from rrm.testing import check_assistant

KINDS = ["independent", "systematic", "adversarial", "silent"]
N = 1000


class Digits(Task):
    """Say the last digit of a number; the answers are finite, the items too numerous to list."""

    listed = 0

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return _item(rng.randrange(10**9))

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        return [_item(2 * i + held_out) for i in range(self.listed)] or None

    def answers(self, item: Item) -> Sequence[str] | None:
        return [str(d) for d in range(10)]


class Open(Digits):
    """The same, with open answers."""

    def answers(self, item: Item) -> Sequence[str] | None:
        return None


class Listed(Digits):
    listed = 333


class Right(Assistant):
    @property
    def deterministic(self) -> bool:
        return True

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        assert len(items) == len(seeds)
        return [[item.prompt[-1]] * n for item in items]


class Words(Right):
    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [["yes"] * n for _ in items]


def _item(number: int) -> Item:
    return Item(task="digits", prompt=f"last of {number}")


def _items(count: int = N) -> list[Item]:
    return [_item(i) for i in range(count)]


def _wrap(name: str, inner: Assistant | None = None, task: Task | None = None, **settings: Any) -> Assistant:
    wrapper = ASSISTANTS.build(name, settings)
    assert isinstance(wrapper, Wrapper)
    return wrapper.around(inner or Right(), task or Digits())


def _answers(assistant: Assistant, items: Sequence[Item], salt: str = "", n: int = 1) -> list[list[str]]:
    return assistant.respond(items, n=n, seeds=[Seed(1).at(salt, i) for i in range(len(items))])


def _wrong(assistant: Assistant, items: Sequence[Item], salt: str = "") -> list[bool]:
    return [text != item.prompt[-1] for item, [text] in zip(items, _answers(assistant, items, salt), strict=True)]


def _is_rate(hits: int, count: int, rate: float) -> bool:
    return bool(binomtest(hits, count, rate).pvalue > 1e-4)


# -- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", [Digits, Open, Listed])
def test_corrupted_keeps_the_contract(kind: str, task: type[Task]) -> None:
    check_assistant(ASSISTANTS.build("corrupted", {"kind": kind, "rate": 0.5}), task())
    check_assistant(_wrap("corrupted", Right(), task(), kind=kind, rate=0.5), task())


@pytest.mark.parametrize("name", ["majority", "cached", "careless-adder", "answer-book"])
def test_the_others_keep_it_too(name: str) -> None:
    check_assistant(ASSISTANTS.build(name), Digits())


class Counting(Assistant):
    """Breaks the contract: keeps something between calls."""

    calls = 0

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        self.calls += 1
        return [[str(self.calls)] * n for _ in items]


class Batchwise(Assistant):
    """Breaks the contract: one stream of draws for the batch."""

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        rng = seeds[0].rng() if seeds else Random(0)
        return [[str(rng.random()) for _ in range(n)] for _ in items]


class Liar(Assistant):
    """Breaks the contract: says that it is deterministic."""

    @property
    def deterministic(self) -> bool:
        return True

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[str(s.at(i).value) for i in range(n)] for s in seeds]


class Forgetful(Assistant):
    """Breaks the contract: what it loads is not what it saved."""

    loaded = False

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[str(self.loaded)] * n for _ in items]

    def load(self, folder: Path) -> Assistant:
        new = Forgetful()
        new.loaded = True
        return new


class Pickler(Right):
    """Breaks the contract: writes a pickle."""

    def save(self, folder: Path) -> None:
        (folder / "weights.pt").write_bytes(b"")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Counting, "something else to the same seeds"),
        (Batchwise, "on seeds"),
        (Liar, "deterministic is True"),
        (Forgetful, "answers differently"),
        (Pickler, "pickle"),
    ],
)
def test_the_check_finds(broken: type[Assistant], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_assistant(broken(), Digits())


# -- how often, and when again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("task", [Digits, Open])
def test_the_share_of_wrong_answers_is_the_rate(kind: str, rate: float, task: type[Task]) -> None:
    hits = sum(_wrong(_wrap("corrupted", task=task(), kind=kind, rate=rate), _items()))
    assert _is_rate(hits, N, rate)
    if rate in (0.0, 1.0):
        assert hits == rate * N


@pytest.mark.parametrize("kind", ["systematic", "adversarial", "silent"])
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_on_listed_items_the_rate_is_exact_in_each_split(kind: str, rate: float) -> None:
    task = Listed()
    spoilt = _wrap("corrupted", task=task, kind=kind, rate=rate)
    for held_out in (False, True):
        items = task.items(held_out=held_out)
        assert items is not None
        assert sum(_wrong(spoilt, items)) == round(rate * len(items))


def test_independent_errors_are_fresh() -> None:
    spoilt = _wrap("corrupted", rate=0.3)
    first, second = (_wrong(spoilt, _items(), salt) for salt in ("one", "two"))
    assert _is_rate(sum(a and b for a, b in zip(first, second, strict=True)), N, 0.09)
    several = _answers(spoilt, _items(), n=2)
    assert _is_rate(sum(a != i.prompt[-1] != b for i, (a, b) in zip(_items(), several, strict=True)), N, 0.09)
    assert not spoilt.deterministic


@pytest.mark.parametrize("kind", ["systematic", "adversarial", "silent"])
def test_fixed_errors_are_the_same_whatever_the_seed(kind: str) -> None:
    spoilt = _wrap("corrupted", kind=kind, rate=0.3)
    assert _answers(spoilt, _items(), "one") == _answers(spoilt, _items(), "two")
    assert spoilt.deterministic


def test_an_adversary_may_swap_two_answers() -> None:
    spoilt = _wrap("corrupted", kind="adversarial", rate=1.0, swap=("1", "7"))
    right, said = _answers(Right(), _items()), _answers(spoilt, _items())
    assert {(*a, *b) for a, b in zip(right, said, strict=True)} >= {("1", "7"), ("7", "1")}
    assert all(a != b for a, b in zip(right, said, strict=True))


def test_systematic_errors_have_a_salt_and_adversarial_ones_collude() -> None:
    systematic, adversarial = (
        [_wrong(_wrap("corrupted", kind=kind, rate=0.3, salt=salt), _items()) for salt in (0, 1)]
        for kind in ("systematic", "adversarial")
    )
    assert _is_rate(sum(a and b for a, b in zip(*systematic, strict=True)), N, 0.09)
    assert adversarial[0] == adversarial[1]
    copies = [_answers(_wrap("corrupted", kind="adversarial", rate=1.0, salt=s), _items(20)) for s in (0, 1)]
    assert copies[0] == copies[1]
    assert [int(text) for [text] in copies[0]] == [(int(i.prompt[-1]) + 1) % 10 for i in _items(20)]


def test_systematic_wrong_answers_differ_between_questions() -> None:
    spoilt = _wrap("corrupted", kind="systematic", rate=1.0)
    said = zip(_items(), _answers(spoilt, _items()), strict=True)
    shift = Counter((int(text) - int(item.prompt[-1])) % 10 for item, [text] in said)
    assert set(shift) == set(range(1, 10))


@pytest.mark.parametrize("kind", ["independent", "systematic", "adversarial"])
def test_open_answers_are_changed_to_likely_ones(kind: str) -> None:
    for [text] in _answers(_wrap("corrupted", task=Open(), kind=kind, rate=1.0), _items(50)):
        assert text.isdigit()
    for [text] in _answers(_wrap("corrupted", Words(), Open(), kind=kind, rate=1.0), _items(5)):
        assert text.startswith("(corrupted")


def test_silent_says_nothing() -> None:
    said = [text for [text] in _answers(_wrap("corrupted", kind="silent", rate=0.3), _items())]
    assert _is_rate(said.count(""), N, 0.3)


# -- what mends them -------------------------------------------------------------------------------------------------


def test_a_vote_mends_independent_errors() -> None:
    voted = _wrap("majority", _wrap("corrupted", rate=0.3), votes=15)
    assert sum(_wrong(voted, _items(500))) < 10
    assert not voted.deterministic


@pytest.mark.parametrize("kind", ["systematic", "adversarial"])
def test_a_vote_of_one_assistant_mends_no_fixed_errors(kind: str) -> None:
    spoilt = _wrap("corrupted", kind=kind, rate=0.3)
    voted = _wrap("majority", spoilt, votes=15)
    assert _wrong(voted, _items()) == _wrong(spoilt, _items())


def test_a_vote_of_copies_mends_what_they_do_not_share() -> None:
    def vote(copies: Sequence[Assistant]) -> int:
        said = [_answers(copy, _items(500)) for copy in copies]
        winners = [Counter(text for [text] in row).most_common(1)[0][0] for row in zip(*said, strict=True)]
        return sum(text != item.prompt[-1] for text, item in zip(winners, _items(500), strict=True))

    def of(kind: str) -> list[Assistant]:
        return [_wrap("corrupted", kind=kind, rate=0.2, salt=salt) for salt in range(11)]

    assert vote(of("systematic")) < 5
    assert vote(of("silent")) < 15
    assert vote([_wrap("cached", _wrap("corrupted", rate=0.2), salt=salt) for salt in range(11)]) < 5
    assert _is_rate(vote(of("adversarial")), 500, 0.2)


def test_caching_makes_independent_errors_systematic() -> None:
    cached = _wrap("cached", _wrap("corrupted", rate=0.3))
    assert _answers(cached, _items(), "one") == _answers(cached, _items(), "two", n=1)
    assert cached.deterministic
    assert _is_rate(sum(_wrong(cached, _items())), N, 0.3)
    voted = _wrap("majority", cached, votes=15)
    assert _wrong(voted, _items()) == _wrong(cached, _items())
    other = _wrap("cached", _wrap("corrupted", rate=0.3), salt=1)
    assert _answers(other, _items()) != _answers(cached, _items())


def test_majority_asks_in_one_batch_and_breaks_ties_by_order() -> None:
    class Scripted(Right):
        batches: list[int] = []  # noqa: RUF012

        @property
        def deterministic(self) -> bool:
            return False

        def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
            self.batches.append(len(items))
            return [["bcba"[i % 4]] * n for i in range(len(items))]

    inner = Scripted()
    assert _answers(_wrap("majority", inner, votes=4), _items(3), n=2) == [["b", "b"]] * 3
    assert _answers(_wrap("majority", inner, votes=2), _items(1)) == [["b"]]
    assert inner.batches == [12, 2]


def test_wrapping_survives_prepare_and_load(tmp_path: Path) -> None:
    stack = _wrap("majority", _wrap("corrupted", rate=0.3), votes=3)
    prepared = stack.prepare(Digits(), seed=Seed(0))
    prepared.save(tmp_path)
    assert _answers(prepared.load(tmp_path), _items(50)) == _answers(stack, _items(50))


# -- assistants of their own -----------------------------------------------------------------------------------------


def test_the_careless_adder_slips_as_often_as_it_is_told() -> None:
    items = [Item(task="column-sum", prompt=f"Add up: {i} 20 -3") for i in range(N)]
    for slip in (0.0, 0.25):
        adder = ASSISTANTS.build("careless-adder", {"slip": slip})
        off = [abs(int(text) - i - 17) for i, [text] in enumerate(_answers(adder, items))]
        assert _is_rate(sum(x != 0 for x in off), N, slip)
        assert set(off) == ({0, 1, 10} if slip else {0})
        assert adder.deterministic == (slip == 0)


@pytest.mark.parametrize("form", ["json", "toml"])
def test_an_answer_book_is_read_from_a_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"book.{form}"
    book = {"one": "1", "some": ["2", "3"], "plan": "no"}
    path.write_text(
        "\n".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in book.items()) if form == "toml" else json.dumps(book)
    )
    said = ASSISTANTS.build("answer-book", {"path": str(path), "answers": {"plan": "yes"}, "fallback": "?"})
    items = [Item(task="t", prompt=p) for p in ("one", "plan", "none", *["some"] * N)]
    texts = [text for [text] in _answers(said, items)]
    assert texts[:3] == ["1", "yes", "?"]
    assert _is_rate(texts[3:].count("2"), N, 0.5)
    assert set(texts[3:]) == {"2", "3"}
    assert not said.deterministic


@pytest.mark.parametrize(
    ("name", "text"), [("b.json", "{"), ("b.toml", "= 1"), ("b.json", '{"a": 1}'), ("b.json", "[]"), ("b.json", None)]
)
def test_a_bad_answer_book_is_told_in_one_line(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match="answer-book") as caught:
        ASSISTANTS.build("answer-book", {"path": str(tmp_path / name)})
    assert "\n" not in str(caught.value)
