"""Unsettled items again; of the rest, half evenly and half where the reward model's two best answers nearly tie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rrm.errors import PlanError
from rrm.records import Item
from rrm.roles import Assistant, Selection, SoFar, Task
from rrm.seed import Seed
from rrm.selection._pool import evenly, half_active, shuffled


class Margin(Selection):
    """Margin sampling (Scheffer et al. 2001), for tasks with a finite answer set."""

    class Settings(Selection.Settings):
        again: float = Field(default=1.0, ge=0, le=1)
        """Largest share of a round that may go to items already shown none of whose answers was marked: they come
        back with other answers, as what was never right among those shown is what an agent fails to learn."""
        active: float = Field(default=0.5, ge=0, le=1)
        """Share of the rest of a round that is chosen by margin, after the first round."""
        doubtful: float = Field(default=0.25, gt=0, le=1)
        """Of a task whose items can be listed, the share with the smallest margins that they are drawn from."""
        oversample: int = Field(default=4, ge=1)
        """Of any other task, fresh items drawn for each one chosen."""

    settings: Settings

    def check(self, task: Task, assistant: Assistant) -> None:
        answers = task.answers(task.sample(Seed(0).rng()))
        if self.settings.active and (answers is None or len(answers) < 2):
            raise PlanError(
                f"selection 'margin' needs a finite answer set, and task {task.name()!r} has none: "
                'cast selection = { use = "random" }'
            )

    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        reward = so_far.reward
        if reward is None:
            return evenly(task, count, seed)
        again = shuffled(so_far.unsettled, seed)[: round(count * self.settings.again)]
        count -= len(again)

        def doubt(items: Sequence[Item]) -> NDArray[np.float64]:
            answers = task.answers(items[0])
            if answers is None or len(answers) < 2:
                raise PlanError(f"selection 'margin' needs a finite answer set, and task {task.name()!r} has none")
            scores = np.sort(reward.score(items, [answers] * len(items)).mean, axis=1)
            gap: NDArray[np.float64] = scores[:, -2] - scores[:, -1]
            return gap

        return again + half_active(
            task, count, doubt=doubt, share=self.settings.active, oversample=self.settings.oversample,
            doubtful=self.settings.doubtful, seed=seed,
        )  # fmt: skip
