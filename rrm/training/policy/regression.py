"""Regression to softmax(r / beta), the optimum of reward plus entropy, by cross-entropy over a finite answer set.

The E-step/M-step view of policy improvement (Abdolmaleki et al. 2018) with a uniform prior; it needs no samples, and
did not stall where the gradient of the expected reward did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from rrm.errors import PlanError
from rrm.models.learner import Learner, TorchAssistant
from rrm.records import Item
from rrm.roles import Assistant, RewardModel, Task, Turn
from rrm.seed import Seed
from rrm.training.policy._descent import Descent


class Regression(Descent):
    """Fits the agent's whole distribution over the answer set."""

    class Settings(Descent.Settings):
        beta: float = Field(default=0.3, gt=0)
        """Temperature of the target: smaller is greedier."""
        pessimism: float = Field(default=0.0, ge=0)
        """Kappa: answers are worth mean - kappa * spread of an ensemble, differences within an item taken. So an answer
        that commits itself to nothing ("unsure") is best where the members disagree about the others."""
        pool: int | Literal["all", "stream"] = 2048
        """Items to fit on, scored once a round: so many fresh ones, all of a task's, or ("stream") none twice."""

    settings: Settings

    def check(self, task: Task, assistant: Assistant) -> None:
        if task.answers(task.sample(Seed(0).rng())) is None:
            raise PlanError(
                f"policy 'regression' needs a task with a finite answer set and an assistant that learns to choose "
                f'from it, not {task.name()!r} and {assistant.name()!r}: write policy = {{ use = "best-of-n" }}, or, '
                'for an assistant that learns to write, "policy-gradient"'
            )
        super().check(task, assistant)
        if self.settings.pool == "all" and task.items() is None:
            raise PlanError(
                f"policy 'regression', pool: task {task.name()!r} cannot list all its items; "
                'write a number, or "stream"'
            )

    def loss(
        self, agent: TorchAssistant, start: TorchAssistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed
    ) -> Callable[[int], Tensor]:
        if not isinstance(agent, Learner):
            raise PlanError(
                f"policy 'regression' needs an assistant with a finite answer set, and {agent.name()!r} is none: "
                'cast one that learns to choose, or policy = { use = "policy-gradient" }'
            )
        network, size = agent.network, self.settings.batch
        items, in_order = self._pool(task, self.settings.steps_in(turn), seed.at("pool"))
        scores = self._worth(reward, items, agent.answers)
        target = torch.softmax(torch.from_numpy(np.asarray(scores)).float() / self.settings.beta, -1)
        codes, whole = network.encode(items), not in_order and len(items) <= 2 * size

        def loss(step: int) -> Tensor:
            if in_order:
                rows: Tensor | slice = slice(step * size, (step + 1) * size)
            else:
                rows = slice(None) if whole else torch.randint(0, len(items), (size,))
            likely = torch.log_softmax(network(codes[rows]), -1)
            return -(target[rows] * likely).sum(-1).mean()

        return loss

    def _worth(self, reward: RewardModel, items: Sequence[Item], answers: Sequence[str]) -> NDArray[np.float64]:
        if not self.settings.pessimism:
            return reward.score(items, [answers] * len(items)).mean
        each = reward.each(items, [answers] * len(items))
        each = each - each.mean(2, keepdims=True)
        worth: NDArray[np.float64] = each.mean(0) - self.settings.pessimism * each.std(0)
        return worth

    def _pool(self, task: Task, steps: int, seed: Seed) -> tuple[list[Item], bool]:
        every = task.items()
        if every is not None and self.settings.pool == "all":
            return list(every), False
        stream = self.settings.pool == "stream"
        count = steps * self.settings.batch if stream else self.settings.pool
        if not isinstance(count, int):
            raise PlanError(
                f"policy 'regression': task {task.name()!r} cannot list all its items; set pool to a number"
            )
        return [task.sample(seed.at(i).rng()) for i in range(count)], stream
