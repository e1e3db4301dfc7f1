"""Randomness by address: what a draw is depends on what it is for, never on what was drawn before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random


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

    def rng(self) -> Random:
        """A fresh generator of the standard library, at the start of its stream."""
        return Random(self.value)
