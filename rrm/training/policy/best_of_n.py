"""No training: answers several times and keeps the answer that the reward model likes best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from rrm.records import Item
from rrm.roles import Assistant, PolicyTrainer, RewardModel, Task, Turn, Wrapper
from rrm.seed import Seed


class BestOfN(PolicyTrainer):
    """The policy is the starting assistant, filtered; KL to it is at most log n - (n - 1)/n (Stiennon et al. 2020)."""

    class Settings(PolicyTrainer.Settings):
        n: int = Field(default=4, ge=1)

    settings: Settings

    carries_over = False  # what it filters by is the reward's

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        base = assistant.inner if isinstance(assistant, Best) else assistant
        return Best(base, task, reward, self.settings.n)

    def load(self, folder: Path, *, task: Task, assistant: Assistant, reward: RewardModel) -> Assistant:
        return Best(assistant.load(folder), task, reward, self.settings.n)


class Best(Wrapper):
    """Best of several answers by a reward model."""

    def __init__(self, inner: Assistant, task: Task, reward: RewardModel, tries: int) -> None:
        super().__init__()
        self.inner, self.task, self._reward, self._tries = inner, task, reward, tries

    def around(self, inner: Assistant, task: Task) -> Best:
        return Best(inner, task, self._reward, self._tries)

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        groups = [
            (item, (texts * self._tries)[: self._tries])  # a small answer set has fewer than were asked for
            for number in range(n)
            for item, texts in zip(
                items,
                self.inner.propose(items, n=self._tries, seeds=[s.at("best", number) for s in seeds]),
                strict=True,
            )
        ]
        scores = self._reward.score([item for item, _ in groups], [texts for _, texts in groups]).mean
        best = [texts[int(row.argmax())] for (_, texts), row in zip(groups, scores, strict=True)]
        return [best[i :: len(items)] for i in range(len(items))]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self.inner.propose(items, n=n, seeds=seeds)
