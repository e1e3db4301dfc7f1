"""Half evenly, half where the reward model is least sure which answer is best: its two best answers nearly tie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rrm.errors import PlanError
from rrm.records import Item
from rrm.roles import Assistant, RewardModel, Selection, Task, Turn
from rrm.seed import Seed
from rrm.selection._pool import evenly, half_active


class Margin(Selection):
    """Margin sampling (Scheffer et al. 2001), for tasks with a finite answer set."""

    class Settings(Selection.Settings):
        active: float = Field(default=0.5, ge=0, le=1)
        """Share of a round's items that is chosen by margin, after the first round."""
        doubtful: float = Field(default=0.25, gt=0, le=1)
        """Of a task whose items can be listed, the share with the smallest margins that they are drawn from."""
        oversample: int = Field(default=4, ge=1)
        """Of any other task, fresh items drawn for each one chosen."""

    settings: Settings

    def choose(
        self, task: Task, count: int, *, assistant: Assistant, reward: RewardModel | None, turn: Turn, seed: Seed
    ) -> list[Item]:
        if reward is None or not self.settings.active:
            return evenly(task, count, seed)

        def doubt(items: Sequence[Item]) -> NDArray[np.float64]:
            answers = task.answers(items[0])
            if answers is None or len(answers) < 2:
                raise PlanError(f"selection 'margin' needs a finite answer set, and task {task.name()!r} has none")
            scores = np.sort(reward.score(items, [answers] * len(items)).mean, axis=1)
            gap: NDArray[np.float64] = scores[:, -2] - scores[:, -1]
            return gap

        return half_active(
            task, count, doubt=doubt, share=self.settings.active, oversample=self.settings.oversample,
            doubtful=self.settings.doubtful, seed=seed,
        )  # fmt: skip
