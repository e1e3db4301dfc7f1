"""Expert iteration: the agent imitates the best of its own answers (Anthony et al. 2017; best-of-n distillation)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from rrm.models.learner import TorchAssistant
from rrm.roles import RewardModel, Task, Turn
from rrm.seed import Seed
from rrm.training.policy._descent import Descent


class ExpertIteration(Descent):
    """For any assistant that gives log-probabilities: answer n times, imitate what the reward model likes best."""

    class Settings(Descent.Settings):
        n: int = Field(default=8, ge=1)
        """Answers to each item, of which the best is imitated."""
        pool: int = Field(default=1024, ge=1)
        """Fresh items a round."""

    settings: Settings

    def loss(
        self, agent: TorchAssistant, start: TorchAssistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed
    ) -> Callable[[int], Tensor]:
        items = [task.sample(seed.at("item", i).rng()) for i in range(self.settings.pool)]
        texts = start.propose(items, n=self.settings.n, seeds=[seed.at("answer", i) for i in range(len(items))])
        best = reward.score(items, texts).mean.argmax(1)
        chosen = [row[int(i)] for row, i in zip(texts, best, strict=True)]

        def loss(_: int) -> Tensor:
            rows = torch.randint(0, len(items), (self.settings.batch,)).tolist()
            return -agent.log_prob([items[i] for i in rows], [chosen[i] for i in rows]).mean()

        return loss
