"""What tasks say of recorded answers, each asked once: the one place where a report asks for the truth of many."""

from __future__ import annotations

from collections.abc import Sequence

from rrm import measure
from rrm.errors import ComponentError
from rrm.measure import Figure
from rrm.records import Item
from rrm.roles import Task


class Truth:
    """`Task.truth` of one task, each (prompt, answer) asked once."""

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, task.name()
        self._known: dict[tuple[str, str], float | None] = {}
        self._items: dict[str, Item] = {}

    @property
    def has_right_answers(self) -> bool:
        """Whether a truth of 1 is that of the right answer, rather than any worth."""
        return self._task.measure == "accuracy"

    def item(self, prompt: str) -> Item:
        if prompt not in self._items:
            self._items[prompt] = Item(task=self._name, prompt=prompt)
        return self._items[prompt]

    def __call__(self, prompt: str, text: str) -> float | None:
        key = prompt, text
        if key not in self._known:
            try:
                self._known[key] = self._task.truth(self.item(prompt), text)
            except Exception as error:
                raise ComponentError(
                    f"{self._name!r}: truth() failed on the answer {text[:60]!r} to {prompt[:60]!r}: "
                    f"{type(error).__name__}: {error}. It should return 0 for an answer that it cannot read."
                ) from error
        return self._known[key]

    def all(self, prompts: Sequence[str], texts: Sequence[str]) -> list[float | None]:
        """Of many answers at once."""
        new = list(dict.fromkeys(pair for pair in zip(prompts, texts, strict=True) if pair not in self._known))
        try:
            found = self._task.truths([self.item(p) for p, _ in new], [t for _, t in new])
        except Exception:
            found = [self(*pair) for pair in new]  # which says what is wrong with which
        self._known.update(zip(new, found, strict=True))
        return [self._known[pair] for pair in zip(prompts, texts, strict=True)]

    def answers(self, prompts: Sequence[str]) -> Sequence[str] | None:
        """The finite answer set, which is the same for every item."""
        return self._task.answers(self.item(prompts[0])) if prompts else None

    def figure(self, prompts: Sequence[str], texts: Sequence[str]) -> Figure | None:
        """Of many answers: the share that is right, or what they are worth, as the task says; None of none."""
        known = [v for v in self.all(prompts, texts) if v is not None]
        if self.has_right_answers:
            return measure.wilson(sum(v == 1 for v in known), len(known))
        return measure.t_interval(known)

    def more(self, prompts: Sequence[str], texts: Sequence[str]) -> dict[str, Figure]:
        """What else the task tells of them, by name."""
        told = self._task.measures([self.item(p) for p in prompts], texts)
        figures = {name: self._measure(name, [v for v in values if v is not None]) for name, values in told.items()}
        return {name: figure for name, figure in figures.items() if figure is not None}

    def _measure(self, name: str, values: Sequence[float]) -> Figure | None:
        """A share, where the task says that the measure is one; else a mean."""
        if name not in self._task.shares:
            return measure.t_interval(values)
        if wrong := [v for v in values if not 0 <= v <= 1]:
            raise ComponentError(
                f"{self._name!r}: the measure {name!r} is among its `shares`, and of one answer it is {wrong[0]!r}: "
                "make it 0 or 1, or leave it out of `shares`"
            )
        return measure.wilson(sum(values), len(values))
