"""No learning: the reward that an environment states for each step, as agents are trained without a user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rrm.control import ControlTask, Lived, StepReward, replay
from rrm.errors import PlanError
from rrm.records import Item
from rrm.roles import Assistant, Judged, RewardModel, RewardTrainer, Scores, Task, Turn
from rrm.seed import Seed


class Stated(RewardTrainer):
    """Two control arms: the visible reward, which may not be what is wanted, and the truth, which nobody has."""

    class Settings(RewardTrainer.Settings):
        of: Literal["visible", "truth"] = "visible"

    settings: Settings
    needs_judgements = False

    def check(self, task: Task, assistant: Assistant) -> None:
        _acting(task)

    def fit(
        self,
        judged: Sequence[Judged],
        *,
        task: Task,
        assistant: Assistant,
        start: RewardModel | None,
        turn: Turn,
        seed: Seed,
    ) -> RewardModel:
        return StatedReward(_acting(task), truth=self.settings.of == "truth")

    def load(self, folder: Path, *, task: Task, assistant: Assistant) -> RewardModel:
        return StatedReward(_acting(task), truth=self.settings.of == "truth")


def _acting(task: Task) -> ControlTask:
    if not isinstance(task, ControlTask):
        raise PlanError(f"reward 'stated' is what an environment gives, and task {task.name()!r} has none")
    return task


class StatedReward(StepReward):
    """What each step was seen to bring, or what it was truly worth."""

    def __init__(self, task: ControlTask, *, truth: bool) -> None:
        self._task, self.asks_truth = task, truth

    def steps(self, lived: Lived) -> Scores:
        worth = np.asarray(lived.performance if self.asks_truth else lived.visible, np.float64)
        return Scores(worth, np.zeros_like(worth))

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        many = [item for item, texts in zip(items, candidates, strict=True) for _ in texts]
        lived = replay(self._task, many, [text for texts in candidates for text in texts], truth=self.asks_truth)
        total = self.steps(lived).mean.sum(1).reshape(len(items), -1)
        return Scores(total, np.zeros_like(total))
