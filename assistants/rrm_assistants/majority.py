"""Asks an assistant several times and gives its most common answer: what mends errors that are made independently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from rrm import Item, Seed, Wrapper


class Majority(Wrapper):
    """The most common of `votes` answers; of equally common ones, that which was given first.

    A deterministic assistant is asked once: it would say the same each time. Exploring is left to the inner assistant.
    """

    class Settings(Wrapper.Settings):
        votes: int = Field(default=5, ge=1)
        """How often each question is asked."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return self.inner.deterministic

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        votes = 1 if self.deterministic else self.settings.votes
        asked = [
            (item, seed.at("vote", vote)) for item, seed in zip(items, seeds, strict=True) for vote in range(votes)
        ]
        # one batch, however many votes there are
        given = self.inner.respond([item for item, _ in asked], n=n, seeds=[seed for _, seed in asked])
        ballots = [given[i : i + votes] for i in range(0, len(given), votes)]
        return [[_most_common(answers) for answers in zip(*ballot, strict=True)] for ballot in ballots]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self.inner.propose(items, n=n, seeds=seeds)


def _most_common(texts: Sequence[str]) -> str:
    return Counter(texts).most_common(1)[0][0]
