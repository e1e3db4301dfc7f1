"""Randomness by address: what a draw is depends on what it is for, never on what was drawn before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seed:
    """A place in the tree of random streams: `Seed(0).at("round", 3)` is the same in every run.

    Nothing drawn through it depends on batch size, worker, order, or where a run was interrupted.
    """

    value: int

    def at(self, *keys: str | int) -> Seed:
        """The seed at an address below this one. Keys are strings and whole numbers, so that `repr` is stable."""
        digest = hashlib.sha256(repr((self.value, *keys)).encode()).digest()
        return Seed(int.from_bytes(digest[:8], "big"))

    def shuffle(self, things: list[T]) -> None:
        """Put a list in an order drawn from here; for short lists, at a tenth of what making a generator costs."""
        if len(things) > 12:  # 12! is the last that 64 bits hold with room for all orders to be alike
            self.rng().shuffle(things)
            return
        left = self.at("shuffle").value
        for last in range(len(things) - 1, 0, -1):
            left, pick = divmod(left, last + 1)
            things[last], things[pick] = things[pick], things[last]

    def rng(self) -> Random:
        """A fresh generator of the standard library, at the start of its stream."""
        return Random(self.value)
