"""How much of an exam training asks too: a right answer there shows what was learnt, and not that it generalises."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from rrm.records import Item
from rrm.roles import Task
from rrm.seed import Seed

DRAWS = 4096
"""So many items of the training split are looked at, where it cannot be listed: what is asked in training and never
drawn here is missed, so that a share is the least that it may be."""


class Familiar:
    """The questions of all tasks of a study: nodes of one task share what is found out about them."""

    def __init__(self) -> None:
        self._known: dict[tuple[type[Task], str], Questions] = {}

    def of(self, task: Task) -> Questions:
        """Those of a task."""
        return self._known.setdefault((type(task), task.settings.model_dump_json()), Questions(task))


class Questions:
    """Which questions of one task are the same (`Task.alike`), and which of them its training split asks."""

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, task.name()
        self._alike: dict[str, str] = {}

    @cached_property
    def exhaustive(self) -> bool:
        """Whether every held-out item is a training item too."""
        held_out = self._task.items(held_out=True)
        if held_out is None or self._task.items() is None:
            return False
        return {self._task.alike(item) for item in held_out} <= self._asked

    def familiar(self, prompts: Sequence[str], more: Collection[str] = ()) -> float | None:
        """Share of these questions that training asks too, or that are among `more`; None of none."""
        besides = {self._of(prompt) for prompt in more}
        seen = [(question := self._of(prompt)) in self._asked or question in besides for prompt in prompts]
        return sum(seen) / len(seen) if seen else None

    def repeated(self, prompts: Sequence[str]) -> float | None:
        """Share of these questions that came before among them; None of none."""
        return 1 - len({self._of(prompt) for prompt in prompts}) / len(prompts) if prompts else None

    def _of(self, prompt: str) -> str:
        if prompt not in self._alike:
            self._alike[prompt] = self._task.alike(Item(task=self._name, prompt=prompt))
        return self._alike[prompt]

    @cached_property
    def _asked(self) -> frozenset[str]:
        seed, every = Seed(0).at("familiar"), self._task.items()
        items = every if every is not None else (self._task.sample(seed.at(i).rng()) for i in range(DRAWS))
        return frozenset(self._task.alike(item) for item in items)
