"""Adds up all numbers of a question, with a slip now and then: a stand-in agent for sums that needs no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from pydantic import Field

from rrm import Assistant, Item, Seed

_NUMBER = re.compile(r"-?\b[0-9]{1,18}\b")


class CarelessAdder(Assistant):
    """Answers with the sum of the numbers in the prompt, or with one that is 1 or 10 off."""

    class Settings(Assistant.Settings):
        slip: float = Field(default=0.5, ge=0, le=1)
        """Probability that an answer is off."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return self.settings.slip == 0

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [
            [self._add(item.prompt, seed.at(i).rng()) for i in range(n)]
            for item, seed in zip(items, seeds, strict=True)
        ]

    def _add(self, prompt: str, rng: Random) -> str:
        total = sum(map(int, _NUMBER.findall(prompt)))
        return str(total + (rng.choice((-10, -1, 1, 10)) if rng.random() < self.settings.slip else 0))
