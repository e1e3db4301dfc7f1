"""Guesses a day of the week: an agent that a reward model can choose from."""

from __future__ import annotations

from collections.abc import Sequence

from rrm import Assistant, Item, Seed
from rrm_weekdays.weekday import DAYS


class DayCounter(Assistant):
    """Any day, equally often."""

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[seed.at(i).rng().choice(DAYS) for i in range(n)] for seed in seeds]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return [seed.rng().sample(DAYS, min(n, len(DAYS))) for seed in seeds]
