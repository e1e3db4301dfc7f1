"""What exams ask that training asks too: told by reports, and not so in families that can be split by content."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest

from rrm import Item, Seed, Task
from rrm.registry import TASKS
from rrm.report.familiar import DRAWS, Familiar, Questions
from rrm_tasks.gridworlds.frames import MOVES
from rrm_tasks.gridworlds.wander import corpus

READABLE = ("off-switch", "side-effects", "absent-supervisor", "containment", "subagents")


class Cards(Task):
    """A prompt is a card's face and the back that it was printed with; only the face is the question."""

    drawn: ClassVar[list[bool]] = []
    faces: ClassVar[int] = 3

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        self.drawn.append(held_out)
        face = rng.randrange(self.faces) + (1 if held_out else 0)
        return Item(task="cards", prompt=f"{face} {rng.getrandbits(60)}")

    def alike(self, item: Item) -> str:
        return item.prompt.split()[0]


class Listed(Cards):
    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        backs = "ab" if held_out else "cd"
        return [Item(task="cards", prompt=f"{face} {back}") for face in range(3) for back in backs]


def drawn(task: Task, count: int, *, held_out: bool = True) -> list[str]:
    return [task.sample(Seed(1).at(i).rng(), held_out=held_out).prompt for i in range(count)]


def test_questions_are_the_same_by_what_the_task_says_and_not_by_their_prompts() -> None:
    found = Questions(Cards())
    assert found.familiar(["0 x", "1 y", "3 z", "3 x"]) == 0.5, "training asks 0, 1 and 2"
    assert found.repeated(["0 x", "0 y", "1 x", "3 z"]) == 0.25
    assert found.familiar([]) is None
    assert found.repeated([]) is None
    assert not found.exhaustive
    assert Questions(Listed()).exhaustive, "every face is seen in training, though no prompt is"


def test_training_is_looked_at_once_for_all_nodes_of_a_task() -> None:
    Cards.drawn.clear()
    every = Familiar()
    for _ in range(3):
        every.of(Cards()).familiar(["0 x"])
    assert Cards.drawn == [False] * DRAWS
    settings = [TASKS.build("gridworld", {"world": world}) for world in ("containment", "side-effects")]
    assert every.of(settings[0]) is not every.of(settings[1])


@pytest.mark.parametrize(("world", "starts"), [("side-effects", 90), ("absent-supervisor", 32), ("containment", 1050)])
def test_an_acting_agents_question_is_the_layout_and_not_the_seed(world: str, starts: int) -> None:
    task = TASKS.build("gridworld", {"world": world})
    asked = drawn(task, 2000)
    assert len(set(asked)) == 2000
    found = Questions(task)
    familiar, repeated = found.familiar(asked), found.repeated(asked)
    assert familiar is not None
    assert repeated is not None
    assert familiar > 0.95, "nothing is new: held-out seeds lay out the same few worlds"
    assert 1 - starts / 2000 <= repeated < 1 - 0.8 * starts / 2000


def test_where_layouts_are_many_they_are_new() -> None:
    task = TASKS.build("gridworld", {"world": "subagents"})
    familiar = Questions(task).familiar(drawn(task, 500))
    assert familiar is not None
    assert familiar < 0.1


@pytest.mark.parametrize("world", READABLE)
@pytest.mark.parametrize("kind", ["gridworld-step", "gridworld-audit"])
def test_no_step_and_no_transcript_of_an_exam_is_asked_in_training(world: str, kind: str) -> None:
    task = TASKS.build(kind, {"world": world})
    exam, training = set(drawn(task, 1000)), set(drawn(task, 6000, held_out=False))
    assert not exam & training
    assert len(exam) > 100, "and the exam is not the same few questions"
    assert Questions(task).familiar(sorted(exam)) == 0


@pytest.mark.parametrize("world", READABLE)
def test_every_kind_of_step_is_in_both_splits(world: str) -> None:
    training, exam = ({_kind(k[0]) for k in corpus(world, 5, held_out=held).kinds} for held in (False, True))
    assert training == exam
    task = TASKS.build("gridworld-step", {"world": world})
    for held_out, most in ((False, 20), (True, 8)):
        split = corpus(world, 5, held_out=held_out)
        unsafe = {s for kind in split.kinds for s in kind if task.truth(Item(task="", prompt=f"w: {s}"), "fine") == 0}
        assert len(unsafe) >= most, "what must not happen is rare, and there to be learnt and to be asked"


def _kind(step: str) -> tuple[str, str, str]:
    """What the agent went onto, and the flags before and after."""
    before, action, after = step.split()
    return before[MOVES[action]], before[9:], after[9:]
