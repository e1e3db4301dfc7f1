"""Half evenly, half where the members of a reward ensemble disagree most about the answers that would be shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rrm.records import Item
from rrm.roles import Selection, SoFar, Task
from rrm.seed import Seed
from rrm.selection._pool import evenly, half_active


class Disagreement(Selection):
    """Query by committee (Christiano et al. 2017, section 2.2.4). Needs a reward ensemble, or it finds no spread."""

    class Settings(Selection.Settings):
        active: float = Field(default=0.5, ge=0, le=1)
        """Share of a round's items that is chosen by disagreement, after the first round."""
        doubtful: float = Field(default=0.25, gt=0, le=1)
        """Of a task whose items can be listed, the most disputed share that they are drawn from."""
        oversample: int = Field(default=4, ge=1)
        """Of any other task, fresh items drawn for each one chosen."""
        answers: int = Field(default=4, ge=2)
        """Answers to each item that the members are compared on."""
        among: int = Field(default=1, ge=1)
        """How many answers are proposed for each one shown: of them, the members of the ensemble disagree most about
        which of those shown is better."""

    settings: Settings

    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        reward = so_far.reward
        if reward is None:
            return evenly(task, count, seed)

        def doubt(items: Sequence[Item]) -> NDArray[np.float64]:
            seeds = [seed.at("answer", i) for i in range(len(items))]
            texts = so_far.assistant.propose(items, n=self.settings.answers, seeds=seeds)
            shortest = min(map(len, texts))
            spread: NDArray[np.float64] = reward.score(items, [row[:shortest] for row in texts]).spread.mean(1)
            return spread

        return half_active(
            task, count, doubt=doubt, share=self.settings.active, oversample=self.settings.oversample,
            doubtful=self.settings.doubtful, seed=seed,
        )  # fmt: skip

    def proposals(self, wanted: int) -> int:
        return wanted * self.settings.among

    def narrow(
        self, items: Sequence[Item], proposed: Sequence[Sequence[str]], wanted: int, *, so_far: SoFar
    ) -> list[list[str]]:
        if so_far.reward is None or self.settings.among == 1 or wanted != 2:
            return super().narrow(items, proposed, wanted, so_far=so_far)
        few = min(map(len, proposed), default=0)
        if few <= 2:
            return [list(texts[:2]) for texts in proposed]
        each = so_far.reward.each(items, [texts[:few] for texts in proposed])
        first, second = np.triu_indices(few, 1)
        better = 1 / (1 + np.exp(each[:, :, second] - each[:, :, first]))
        pick = better.std(0).argmax(1)
        return [[texts[first[k]], texts[second[k]]] for texts, k in zip(proposed, pick, strict=True)]
