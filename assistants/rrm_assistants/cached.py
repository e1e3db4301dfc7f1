"""Always gives the same question the same answer, as a cache would: turns independent errors into systematic ones."""

from __future__ import annotations

from collections.abc import Sequence

from rrm import Item, Seed, Wrapper


class Cached(Wrapper):
    """Answers with the draw that belongs to the question, whatever the seed that it is asked with.

    That is what memoising a sampled helper does, without keeping anything. It is cheap, for each question need be
    asked only once, and it is dangerous: errors that were independent become systematic, and no amount of training
    averages them out. So it is here to be studied, not as an optimisation. Exploring is left to the inner assistant.
    """

    class Settings(Wrapper.Settings):
        salt: int = 0
        """Which draw belongs to a question: another number is another cache."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return True

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        own = [Seed(self.settings.salt).at("cached", item.prompt) for item in items]
        return [texts * n for texts in self.inner.respond(items, n=1, seeds=own)]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self.inner.propose(items, n=n, seeds=seeds)
