"""Exams are of held-out items, whether they are all or a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from rrm import Assistant, Item, Seed, Study, Task
from rrm.assemble import assemble
from rrm.exam import exam
from rrm.plan import Effort


class Split(Task):
    """Numbers under 50 are for training, the others are held out."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="split", prompt=str(rng.randrange(50) + 50 * held_out))


class Listed(Split):
    """All of them can be listed."""

    def items(self, *, held_out: bool = False) -> Sequence[Item]:
        return [Item(task="listed", prompt=str(i + 50 * held_out)) for i in range(50)]


class Parrot(Assistant):
    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[item.prompt] * n for item in items]


@pytest.mark.parametrize(("task", "count", "asked"), [(Split(), 30, 30), (Listed(), 30, 30), (Listed(), 80, 50)])
def test_every_item_of_an_exam_is_held_out(task: Task, count: int, asked: int, study: Path) -> None:
    node = replace(assemble(Study.load(study).arms[0].plan)["block"], task=task, effort=Effort(exam=count))
    taken = exam(node, "round-0", Parrot())
    assert len(taken.prompts) == asked
    assert all(int(prompt) >= 50 for prompt in taken.prompts)
    assert taken.answers == taken.prompts


@pytest.mark.parametrize("task", [Split(), Listed()])
def test_exams_before_the_last_may_be_shorter_and_are_its_beginning(task: Task, study: Path) -> None:
    node = assemble(Study.load(study).arms[0].plan)["block"]
    node = replace(node, task=task, effort=Effort(exam=40, curve=12))
    between, last = exam(node, "round-0", Parrot(), last=False), exam(node, "round-1", Parrot())
    assert (len(between.prompts), len(last.prompts)) == (12, 40)
    assert last.prompts[:12] == between.prompts
    assert sorted(between.prompts) != list(between.prompts), "no listing's own beginning"
