"""Task families: each keeps the contract, its decomposition leads to the truth, and its unhelped person does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rrm_tasks
from rrm import (
    Asking,
    Block,
    Case,
    Code,
    ComponentError,
    Exhibit,
    Image,
    Item,
    Query,
    Response,
    Seed,
    SettingsError,
    Subtask,
    Table,
    Task,
    Text,
)
from rrm.asking import drive
from rrm.registry import TASKS
from rrm.testing import HOSTILE, check_task
from rrm_tasks import glossary
from rrm_tasks._reading import WORST, nearness, number
from rrm_tasks.glossary import language
from rrm_tasks.handwriting import pixels, split
from rrm_tasks.letter_count import corpus

# a node, and the node that helps it: (task, settings, the helper's settings, budget)
NODES: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("column-sum", {"length": 8}, {"length": 4}, 2),
    ("column-sum", {"length": 64, "block": 16}, {"length": 16, "block": 16}, 4),
    *(("glossary", {"level": k, "world": w}, {"level": k - 1, "world": w}, 1) for k in (1, 2, 4) for w in (0, 1)),
    ("glossary", {"level": 1, "digits": 10, "words": 6}, {"digits": 10, "words": 6}, 1),
    *(("minimax", {"level": k}, {"level": k - 1}, 1) for k in (2, 3, 5)),
    *(("permutation-power", {"power": k}, {"power": k - 1}, 1) for k in (1, 3, 16)),
    ("permutation-power", {"elements": 12, "power": 5}, {"elements": 12, "power": 4}, 3),
    *(("letter-count", {"level": k}, {"level": k - 1}, 4) for k in (1, 3, 5)),
    *(("handwriting", {"level": k}, {"level": k - 1}, 1) for k in (1, 2, 3)),
]
LEAVES: list[tuple[str, dict[str, Any], int]] = [
    ("column-sum", {"length": 4}, 4),
    ("glossary", {}, 1),
    ("minimax", {}, 1),
    ("permutation-power", {"power": 0}, 1),
    ("letter-count", {}, 4),
    ("handwriting", {}, 1),
]
nodes = pytest.mark.parametrize(("name", "given_", "below", "budget"), NODES, ids=lambda v: str(v).replace("'", ""))
BUILT_IN = sorted(name for name, origin in TASKS.names().items() if origin == "built in")


def drawn(task: Task, count: int = 60, *, held_out: bool = True) -> list[Item]:
    rng = Seed(1).rng()
    return [task.sample(rng, held_out=held_out) for _ in range(count)]


def right(task: Task, item: Item) -> str:
    answers = task.answers(item) or [str(sum(map(int, item.prompt.split()[2:])))]
    (answer,) = (text for text in answers if task.truth(item, text) == 1)
    return answer


def case_of(item: Item, texts: Sequence[str], exhibits: Sequence[Exhibit] = ()) -> Case:
    return Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in texts), exhibits=tuple(exhibits))


def helped(task: Task, case: Case, helper: Task) -> list[Exhibit]:
    """What a helper that is always right says to all that is asked."""
    exhibits: list[Exhibit] = []
    for query in drive(task.queries(case), lambda _: exhibits[-1]):
        assert helper.accepts(query.item), query.item.prompt
        exhibits.append(Exhibit(text=right(helper, query.item), query=query))
    return exhibits


def believed(task: Task, item: Item, budget: int, exhibits: Sequence[Exhibit] = ()) -> set[str]:
    """The answers that the person likes best."""
    texts = task.answers(item) or ["0"]
    marks = task.estimate(case_of(item, texts, exhibits), budget=budget)
    assert marks is not None
    if task.answers(item) is None:  # how far 0 is from being right is what the person makes of a sum
        return {f"{1 - marks[0]:.0f}"}
    return {text for text, mark in zip(texts, marks, strict=True) if mark == max(marks)}


def unassisted_accuracy(name: str, given_: dict[str, Any], budget: int, count: int = 800) -> float:
    task = TASKS.build(name, given_)
    items = task.items() or drawn(task, count)
    return sum(believed(task, item, budget) == {right(task, item)} for item in items) / len(items)


# --- the contract


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_task_keeps_the_contract_as_it_comes(name: str) -> None:
    check_task(TASKS.build(name))


@nodes
def test_the_contract_at_other_settings(name: str, given_: dict[str, Any], below: dict[str, Any], budget: int) -> None:
    check_task(TASKS.build(name, given_))


def test_every_built_in_task_is_tried_here_and_in_the_catalogue() -> None:
    catalogue = (Path(__file__).parent.parent / "tasks" / "README.md").read_text()
    for name in {n for n, *_ in NODES}:
        assert f"`{name}`" in catalogue
        assert name in BUILT_IN


def test_sampling_imports_nothing_heavy() -> None:
    program = (
        "import sys; from random import Random; from rrm.registry import TASKS\n"
        f"for name in {sorted({n for n, *_ in NODES})}: TASKS.build(name).sample(Random(0))\n"
        "print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"
    )
    paths = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=paths, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the decomposition


@nodes
def test_true_help_makes_the_person_right(
    name: str, given_: dict[str, Any], below: dict[str, Any], budget: int
) -> None:
    task, helper = TASKS.build(name, given_), TASKS.build(name, below)
    for item in task.items() or drawn(task):
        exhibits = helped(task, case_of(item, ["0"]), helper)
        assert exhibits
        assert believed(task, item, budget, exhibits) == {right(task, item)}, item.prompt


@pytest.mark.parametrize(("name", "given_", "budget"), LEAVES)
def test_a_leaf_asks_nothing_and_is_within_the_persons_ability(name: str, given_: dict[str, Any], budget: int) -> None:
    task = TASKS.build(name, given_)
    for item in drawn(task):
        assert list(task.queries(case_of(item, ["0"]))) == []
        assert believed(task, item, budget) == {right(task, item)}


@nodes
def test_a_person_with_enough_time_needs_no_help(
    name: str, given_: dict[str, Any], below: dict[str, Any], budget: int
) -> None:
    task = TASKS.build(name, given_)
    for item in drawn(task, 10):
        assert believed(task, item, 1 << 20) == {right(task, item)}


@nodes
def test_nonsense_from_helpers_is_as_good_as_none(
    name: str, given_: dict[str, Any], below: dict[str, Any], budget: int
) -> None:
    task, helper = TASKS.build(name, given_), TASKS.build(name, below)
    for item in drawn(task, 5):
        truths = helped(task, case_of(item, ["0"]), helper)
        unhelped = task.estimate(case_of(item, ["1", "2"]), budget=budget)
        for text in (*HOSTILE, "123456", "1.0", "+1", "01"):
            garbage = [e.model_copy(update={"text": text}) for e in truths]
            assert task.estimate(case_of(item, ["1", "2"], garbage), budget=budget) == unhelped, text
        elsewhere = [e.model_copy(update={"query": None}) for e in truths]
        others = [e.model_copy(update={"kind": "critique"}) for e in truths]
        assert task.estimate(case_of(item, ["1", "2"], elsewhere + others), budget=budget) == unhelped


@nodes
def test_one_true_answer_and_silence_still_give_a_judgement(
    name: str, given_: dict[str, Any], below: dict[str, Any], budget: int
) -> None:
    task, helper = TASKS.build(name, given_), TASKS.build(name, below)
    for item in drawn(task, 10):
        for exhibit in helped(task, case_of(item, ["0"]), helper):
            assert believed(task, item, budget, [exhibit])


def test_the_majority_of_several_helpers_counts() -> None:
    task = TASKS.build("minimax", {"level": 2})
    item = Item(task="minimax", prompt="3 max 4 min 7 max 0")
    left, right_ = task.queries(case_of(item, ["0"]))
    said = [Exhibit(text=t, query=q) for t, q in (("0", left), ("4", left), ("4", left), ("7", right_))]
    assert believed(task, item, 1, said) == {"4"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_foreign_items_are_refused_in_one_line(name: str) -> None:
    task = TASKS.build(name)
    for prompt in ("", " ", "x", "0 0", "Add up: ", "Add up: 1  2", "e:", "2^99 from 0 in 0 1", "1797", "1 2 3"):
        item = Item(task=name, prompt=prompt)
        assert not task.accepts(item) or name not in {n for n, *_ in NODES}
    for name_, prompt in (
        ("glossary", "x 0 0"),
        ("minimax", "1 max"),
        ("handwriting", "1 2 3"),
        ("letter-count", "e:"),
    ):
        with pytest.raises(ComponentError, match=r"^not "):
            TASKS.build(name_).truth(Item(task=name_, prompt=prompt), "0")


# --- each family against the same sum done another way


def test_column_sums() -> None:
    task = TASKS.build("column-sum", {"length": 8})
    item = Item(task="column-sum", prompt="Add up: 10 20 30 40 1 2 3 4")
    assert [q.item.prompt for q in task.queries(case_of(item, [""]))] == ["Add up: 10 20 30 40", "Add up: 1 2 3 4"]
    assert task.truth(item, "110") == 1
    assert task.truth(item, "108") == -1
    assert task.truth(item, "a lot") == 1 - WORST == task.truth(item, "9" * 14)
    assert believed(task, item, 1) == {"80"}  # 10, eight times
    assert believed(task, item, 3) == {"160"}  # 60 * 8 / 3
    first = Exhibit(text="100", query=next(iter(task.queries(case_of(item, [""])))))
    assert believed(task, item, 2, [first]) == {"200"}  # half of the column, twice


def test_a_glossary_means_what_its_look_ups_say() -> None:
    def unrolled(word: glossary.Word, a: int, b: int) -> int:
        if not word.parts:
            return word.table[a][b]
        left, right_ = (unrolled(part, *((b, a) if swapped else (a, b))) for part, swapped in word.parts)
        return word.table[left][right_]

    for level in (2, 4):
        task = TASKS.build("glossary", {"level": level})
        for item in task.items() or ():
            name, a, b = item.prompt.split()
            assert right(task, item) == str(unrolled(language(0, 8, 3, 5).by_name[name], int(a), int(b)))


def test_what_a_glossary_shows_is_enough_to_judge_with() -> None:
    task, helper = TASKS.build("glossary", {"level": 2}), TASKS.build("glossary", {"level": 1})
    for item in (task.items() or ())[::7]:
        _, _, table = task.show(item)
        assert isinstance(table, Table)
        row, column = (int(e.text) for e in helped(task, case_of(item, ["0"]), helper))
        assert table.rows[row][1 + column] == right(task, item)
        definition, (_, a, b) = task.show(item)[1], item.prompt.split()
        assert isinstance(definition, Text)
        parts = re.findall("(?:row|column) “(.*?)”", definition.text)
        asked = [query.item.prompt for query in task.queries(case_of(item, ["0"]))]
        assert asked == [part.replace("x", a).replace("y", b) for part in parts]


@pytest.mark.parametrize("world", range(4))
def test_no_word_of_a_glossary_can_be_guessed(world: int) -> None:
    words = language(world, 8, 3, 5).words
    assert len({word.name for word in words}) == 15
    for word in words:
        flat = [digit for row in word.meaning for digit in row]
        if word.level == 0:
            assert all(sorted(line) == list(range(8)) for line in (*word.table, *zip(*word.table, strict=True)))
            continue
        assert max(map(flat.count, flat)) <= 0.27 * 64
        assert sum(word.meaning[a][b] == word.table[a][b] for a in range(8) for b in range(8)) <= 0.2 * 64
        for other in words[word.level * 3 : word.level * 3 + 3]:
            same = sum(word.meaning[a][b] == other.meaning[a][b] for a in range(8) for b in range(8))
            assert other is word or same <= 0.25 * 64


def test_a_longer_glossary_begins_with_a_shorter_one() -> None:
    assert language(3, 8, 3, 5).words[:9] == language(3, 8, 3, 3).words
    assert language(3, 8, 3, 3).words != language(4, 8, 3, 3).words
    other = TASKS.build("glossary", {"world": 4})
    assert not any(map(other.accepts, TASKS.build("glossary", {"world": 3}).items() or ()))


@given(st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_minimax_is_what_its_parentheses_say(level: int, rng: Random) -> None:
    task = TASKS.build("minimax", {"level": level})
    item = task.sample(rng)
    code = task.show(item)[1]
    assert isinstance(code, Code)
    text = f"({code.text})"
    while "(" in text:
        text = re.sub(r"\((\d) (max|min) (\d)\)", lambda m: str({"max": max, "min": min}[m[2]](m[1], m[3])), text)
    assert right(task, item) == text


def test_minimax_by_hand() -> None:
    task = TASKS.build("minimax", {"level": 2})
    item = Item(task="minimax", prompt="3 max 4 min 7 max 0")
    assert task.show(item)[1] == Code(text="(3 max 4) min (7 max 0)")
    assert right(task, item) == "4"
    assert believed(task, item, 1) == {"0"}  # 3 min 0
    assert believed(task, item, 3) == {"4"}


@given(st.permutations(range(7)), st.integers(0, 6), st.integers(0, 7), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_permutations_are_walked(steps: list[int], start: int, power: int, budget: int) -> None:
    task = TASKS.build("permutation-power", {"elements": 7, "power": power})
    item = Item(task="permutation-power", prompt=f"2^{power} from {start} in {' '.join(map(str, steps))}")
    walked = [start]
    for _ in range(2**power):
        walked.append(steps[walked[-1]])
    assert task.accepts(item)
    assert right(task, item) == str(walked[-1])
    assert believed(task, item, budget) == {str(walked[min(budget, 2**power)])}


def test_the_second_half_of_a_walk_starts_where_the_first_is_said_to_end() -> None:
    task = TASKS.build("permutation-power", {"elements": 3, "power": 1})
    item = Item(task="permutation-power", prompt="2^1 from 0 in 1 2 0")
    asking = task.queries(case_of(item, ["0"]))
    assert next(asking).item.prompt == "2^0 from 0 in 1 2 0"
    second = asking.send(Exhibit(text="2"))  # wrong: it is 1
    assert second.item.prompt == "2^0 from 2 in 1 2 0"
    first = Query(subtask="half", item=Item(task="permutation-power", prompt="2^0 from 0 in 1 2 0"))
    wrong = [Exhibit(text="2", query=first), Exhibit(text="0", query=second)]
    assert believed(task, item, 1, wrong) == {"0"}
    assert believed(task, item, 1, wrong[:1]) == {"0"}  # from there the person takes the step alone
    for nonsense in ("3", "-1", "x"):
        asking = task.queries(case_of(item, ["0"]))
        next(asking)
        with pytest.raises(StopIteration):
            asking.send(Exhibit(text=nonsense))


def test_letters_are_counted() -> None:
    for level in (0, 2, 5):
        task = TASKS.build("letter-count", {"level": level})
        for item in drawn(task):
            letter, passage = item.prompt.split(":")
            assert len(passage) == 4 * 2**level
            assert right(task, item) == str(min(passage.count(letter), 9))
            assert task.show(item)[1] == Code(text=passage)
    item = Item(task="letter-count", prompt="e: eel e e")
    task = TASKS.build("letter-count", {"level": 1})
    assert [q.item.prompt for q in task.queries(case_of(item, [""]))] == ["e: eel", "e: e e"]
    assert task.truth(item, "4") == 1
    assert task.truth(item, "1") == -2
    assert believed(task, item, 4) == {"4"}  # two of four are read, so four of eight
    assert believed(task, item, 3) == {"5"}  # two of three: 5.33
    assert task.estimate(case_of(item, ["4", "2", "?"]), budget=8) == [1, -1, 1 - WORST]
    longer = Item(task="letter-count", prompt="a:" + "a" * 16)
    assert believed(TASKS.build("letter-count", {"level": 2}), longer, 4) == {"9"}


def test_half_of_the_letters_asked_for_stand_in_the_passage() -> None:
    items = drawn(TASKS.build("letter-count", {"level": 0}), 2000, held_out=False)
    share = sum(item.prompt[0] in item.prompt[2:] for item in items) / len(items)
    assert 0.4 < share < 0.55  # .41 that one is drawn that is no space, and some of the others by chance


def test_no_held_out_text_is_training_text() -> None:
    training, held_out = corpus()
    assert len(held_out) > 4000  # most paragraphs repeat something
    assert len(training) > 100_000
    runs = {training[i : i + 24] for i in range(len(training))}
    assert not any(held_out[i : i + 24] in runs for i in range(len(held_out) - 23))
    for text in (training, held_out):
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz ")
        assert "  " not in text
    for level in (0, 1, 2):
        task = TASKS.build("letter-count", {"level": level})
        train = {item.prompt for item in drawn(task, 3000, held_out=False)}
        assert not train & {item.prompt for item in drawn(task, 3000)}


def test_a_text_file_of_ones_own(tmp_path: Path) -> None:
    rng, file = Random(0), tmp_path / "mine.txt"
    words = ["".join(rng.choices("abcdefghij", k=rng.randrange(1, 9))) for _ in range(900)]
    file.write_text("\n\n".join(" ".join(words[i : i + 30]) + "." for i in range(0, 900, 30)), encoding="utf-8")
    task = TASKS.build("letter-count", {"level": 3, "text": str(file)})
    check_task(task)
    assert all(set(item.prompt[2:]) <= set("abcdefghij ") for item in drawn(task))
    with pytest.raises(SettingsError, match="too short for passages of 1024"):
        TASKS.build("letter-count", {"level": 8, "text": str(file)}).sample(Random(0), held_out=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"", "too short"), (b"few words", "too short")],
)
def test_a_text_file_that_will_not_do(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as caught:
        TASKS.build("letter-count", {"text": str(file)})
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError):
        TASKS.build("letter-count", {"text": str(tmp_path)})
    with pytest.raises(SettingsError):
        TASKS.build("letter-count", {"text": "\0"})


def test_handwritten_digits_add_up() -> None:
    from sklearn.datasets import load_digits

    shown = load_digits().target
    task = TASKS.build("handwriting", {"level": 2})
    for item in drawn(task, 20):
        images = [int(image) for image in item.prompt.split()]
        assert right(task, item) == str(sum(shown[images]))
        assert believed(task, item, 1) == {str(shown[images[0]] + 14)}  # 4.5 * 3 = 13.5
        assert believed(task, item, 2) == {str(sum(shown[images[:2]]) + 9)}
        first, _ = task.queries(case_of(item, ["0"]))
        halfway = Exhibit(text=str(sum(shown[images[:2]])), query=first)
        assert believed(task, item, 1, [halfway]) == {str(sum(shown[images[:2]]) + 9)}  # the one step is an addition
        assert believed(task, item, 2, [halfway]) == {str(sum(shown[images[:3]]) + 5)}
    assert pixels().shape == (1797, 64)
    assert (pixels().min(), pixels().max()) == (0, 1)
    assert not set(split(held_out=True)) & set(split(held_out=False))
    assert (len(split(held_out=True)), len(split(held_out=False))) == (500, 1297)


def test_pictures_do_not_say_what_they_show() -> None:
    task = TASKS.build("handwriting", {"level": 0})
    said = {}
    for item in (task.items() or ())[:200]:
        _, picture = task.show(item)
        assert isinstance(picture, Image)
        assert 100 < max(map(max, picture.pixels)) <= 255
        said.setdefault(picture.alt.replace(item.prompt, "#"), set()).add(right(task, item))
    assert len(said) == 1


# --- the person without help: plausible, and wrong (shares of items judged right; chance is what a guess would get)


@pytest.mark.parametrize(
    ("name", "given_", "budget", "low", "high"),
    [
        *(("glossary", {"level": k}, 1, 0.0, 0.2) for k in (1, 2, 3, 4)),
        *(("minimax", {"level": k}, 1, *band) for k, band in ((2, (0.45, 0.6)), (3, (0.25, 0.4)), (4, (0.17, 0.32)))),
        *(("permutation-power", {"power": k}, 1, 0.2, 0.2) for k in (1, 3)),
        *(
            ("letter-count", {"level": k}, 4, *band)
            for k, band in ((1, (0.48, 0.62)), (2, (0.3, 0.46)), (3, (0.18, 0.34)), (4, (0.15, 0.29)))
        ),
        *(("handwriting", {"level": k}, 1, 0.0, high) for k, high in ((1, 0.16), (2, 0.12), (3, 0.1))),
    ],
)
def test_how_often_the_person_is_right_without_help(
    name: str, given_: dict[str, Any], budget: int, low: float, high: float
) -> None:
    assert low <= unassisted_accuracy(name, given_, budget) <= high


# --- reading what agents say


@given(st.integers(-(10**14), 10**14), st.sampled_from(["", " ", "\n", " \t"]))
def test_numbers_are_read(value: int, space: str) -> None:
    assert number(f"{space}{value}{space}") == value


@given(st.one_of(st.text(), st.text(alphabet="0123456789-+.eE _٣²")))
def test_whatever_else_is_said_is_no_number(text: str) -> None:
    value = number(text)
    assert value is None or str(value) == text.strip()
    assert -WORST <= nearness(text, 3) <= 0
    assert (nearness(text, 3) == 0) == (text.strip() == "3")


# --- settings


@pytest.mark.parametrize(
    ("name", "given_", "message"),
    [
        ("column-sum", {"length": 10, "block": 4}, "does not divide into blocks of 4"),
        ("column-sum", {"length": 10}, "does not divide into blocks of 4"),
        ("column-sum", {"length": 0}, "greater than or equal to 1"),
        ("glossary", {"level": 5}, "at least 6 levels"),
        ("glossary", {"levles": 5}, "Did you mean 'levels'"),
        ("minimax", {"level": 0}, "greater than or equal to 1"),
        ("permutation-power", {"power": 17}, "less than or equal to 16"),
        ("handwriting", {"level": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense(name: str, given_: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TASKS.build(name, given_)


def test_a_glossary_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glossary, "_ATTEMPTS", 1)
    with pytest.raises(SettingsError, match="no 8 words of 5 digits are distinct enough"):
        TASKS.build("glossary", {"digits": 5, "words": 8, "world": 99})


# --- the check itself has teeth


class Good(Task):
    """The smallest task that keeps the contract."""

    subtasks: ClassVar[tuple[Subtask, ...]] = (Subtask(name="part", task="good"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="good", prompt=f"{rng.randrange(1000)} {'b' if held_out else 'a'}")

    def queries(self, case: Case) -> Asking:
        yield Query(subtask="part", item=Item(task="good", prompt="0 b"))

    def answers(self, item: Item) -> Sequence[str] | None:
        return ["0", "1"]

    def vocabulary(self) -> Sequence[str] | None:
        return ["a", "b", *map(str, range(1000))]

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        return [float(len(r.text)) for r in case.responses]

    def truth(self, item: Item, text: str) -> float | None:
        return float(text == "1")


def forever(self: Task, case: Case) -> Asking:
    while True:
        yield Query(subtask="part", item=Item(task="good", prompt="0 b"))


def asks(**query: Any) -> Any:
    def queries(self: Task, case: Case) -> Asking:
        yield Query(**{"subtask": "part", "item": Item(task="good", prompt="0 b"), **query})

    return queries


def reads_an_answer_that_may_be_missing(self: Task, case: Case) -> Asking:
    exhibit = yield Query(subtask="part", item=Item(task="good", prompt="0 b"))
    assert exhibit is not None, "reads None"


class Loose(Task.Settings):
    model_config: ClassVar[Any] = {"extra": "ignore"}


BROKEN: list[tuple[dict[str, Any], str]] = [
    (
        {"sample": lambda self, rng, held_out=False: Item(task="good", prompt=str(Random().random()))},
        "something else than",
    ),
    ({"sample": lambda self, rng, held_out=False: Item(task="good", prompt="1 a")}, "keep the splits apart"),
    ({"accepts": lambda self, item: False}, "accepts refuses"),
    ({"items": lambda self, held_out=False: None if held_out else []}, "one split and not the other"),
    ({"items": lambda self, held_out=False: []}, "lists no training item"),
    ({"items": lambda self, held_out=False: [Item(task="good", prompt="0 a")]}, "does not list"),
    ({"queries": forever}, "does not come to an end"),
    ({"queries": asks(subtask="other")}, "subtasks declares"),
    ({"queries": asks(item=Item(task="bad", prompt="0 b"))}, "as an item of 'bad'"),
    ({"queries": asks(about="nobody")}, "not the id of a response"),
    ({"queries": lambda self, case: iter_query(case.item)}, "in circles"),
    ({"queries": reads_an_answer_that_may_be_missing}, "reads None"),
    ({"answers": lambda self, item: ["1", "1"]}, "different answers"),
    ({"answers": lambda self, item: ["0", "1", item.prompt]}, "differ between items"),
    ({"truth": lambda self, item, text: 1.0}, "exactly one"),
    ({"truth": lambda self, item, text: float(text in ("0", "1"))}, "for exactly one"),
    ({"truth": lambda self, item, text: 1.0, "several_right": True}, "not for all"),
    ({"truth": lambda self, item, text: 2.0}, "never above 1"),
    ({"truth": lambda self, item, text: float("nan")}, "finite"),
    ({"estimate": lambda self, case, budget: [0.0]}, "marks to"),
    ({"estimate": lambda self, case, budget: [float("inf")] * len(case.responses)}, "not finite"),
    ({"estimate": lambda self, case, budget: list(range(len(case.responses)))}, "order"),
    ({"estimate": lambda self, case, budget: [self.truth(case.item, r.text) for r in case.responses]}, "calls truth"),
    ({"vocabulary": lambda self: ["a"]}, "vocabulary lacks"),
    ({"vocabulary": lambda self: ["a", "a"]}, "twice"),
    ({"show": lambda self, item, text=None: ()}, "shows nothing"),
    ({"show": lambda self, item, text=None: ("<b>html</b>",)}, "no block"),
    ({"subtasks": (Subtask(name="part"), Subtask(name="part"))}, "share a name"),
    ({"Settings": Loose}, "keys that it does not know"),
]


def iter_query(item: Item) -> Asking:
    yield Query(subtask="part", item=item)


def test_a_good_task_passes() -> None:
    check_task(Good())
    assert rrm_tasks.__doc__


@pytest.mark.parametrize(("fault", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_task_is_told_what_to_mend(fault: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_task(type("Good", (Good,), fault)())


def test_blocks_are_typed() -> None:
    blocks: list[Block] = [
        block for name in BUILT_IN for block in TASKS.build(name).show(drawn(TASKS.build(name), 1)[0])
    ]
    assert {block.type for block in blocks} >= {"text", "table", "code", "image"}
