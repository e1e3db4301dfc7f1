"""Which day comes so many days after another: judged by asking where half of the days lead."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pydantic import Field

from rrm import Asking, Case, Item, Query, Subtask, Task

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Weekday(Task):
    """ "4 after Friday" is "Tuesday". The person counts `budget` days, or goes on from where a helper got to."""

    class Settings(Task.Settings):
        days: int = Field(default=1, ge=1)

    settings: Settings
    subtasks = (Subtask(name="half", task="weekday", question="Which day is it after half of the days?"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return self._item(self.settings.days, rng.choice(DAYS))

    def items(self, *, held_out: bool = False) -> Sequence[Item]:
        return [self._item(self.settings.days, day) for day in DAYS]

    def queries(self, case: Case) -> Asking:
        half, (_, day) = self.settings.days // 2, _read(case.item)
        if half:
            found = yield Query(subtask="half", item=self._item(half, day))
            if found is not None and found.text in DAYS:
                yield Query(subtask="half", item=self._item(half, found.text))

    def answers(self, item: Item) -> Sequence[str]:
        return DAYS

    def accepts(self, item: Item) -> bool:
        return item.prompt.startswith(f"{self.settings.days} after ")

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        days, day = _read(case.item)
        told = [e.text for e in case.exhibits if e.text in DAYS]
        belief = told[-1] if len(told) == 2 else _later(day, min(days, budget))
        return [float(response.text == belief) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        days, day = _read(item)
        return float(text == _later(day, days))

    def _item(self, days: int, day: str) -> Item:
        return Item(task=self.name(), prompt=f"{days} after {day}")


def _read(item: Item) -> tuple[int, str]:
    days, _, day = item.prompt.split(" ")
    return int(days), day


def _later(day: str, days: int) -> str:
    return DAYS[(DAYS.index(day) + days) % len(DAYS)]
