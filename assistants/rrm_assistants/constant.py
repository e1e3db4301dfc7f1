"""Says one thing to every question: the helper that reports that all is well, whatever happens."""

from __future__ import annotations

from collections.abc import Sequence

from rrm import Item, Seed, Wrapper


class Constant(Wrapper):
    """Stands before an assistant and never asks it: the failure of a helper that nobody notices."""

    class Settings(Wrapper.Settings):
        text: str
        """What it says."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return True

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[self.settings.text] * n for _ in items]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self.inner.propose(items, n=n, seeds=seeds)
