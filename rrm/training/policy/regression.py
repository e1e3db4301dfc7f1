"""Regression to softmax(r / beta), the optimum of reward plus entropy, by cross-entropy over a finite answer set.

The E-step/M-step view of policy improvement (Abdolmaleki et al. 2018) with a uniform prior; it needs no samples, and
did not stall where the gradient of the expected reward did.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rrm.errors import PlanError
from rrm.models.learner import Learner, rewrapped, torch_in
from rrm.models.optimizer import Optimizer, Schedule
from rrm.records import Item
from rrm.roles import Assistant, PolicyTrainer, RewardModel, Task, Turn
from rrm.seed import Seed


class Regression(PolicyTrainer):
    """Fits the agent's whole distribution over the answer set."""

    class Settings(PolicyTrainer.Settings, Schedule):
        steps: int = Field(default=40, ge=0)
        last_steps: int = Field(default=400, ge=0)
        beta: float = Field(default=0.3, gt=0)
        """Temperature of the target: smaller is greedier."""
        pool: int | Literal["all", "stream"] = 2048
        """Items to fit on, scored once a round: so many fresh ones, all of a task's, or ("stream") none twice."""

    settings: Settings

    def check(self, task: Task, assistant: Assistant) -> None:
        if torch_in(assistant) is None or task.answers(task.sample(Seed(0).rng())) is None:
            raise PlanError(
                f"policy 'regression' needs a task with a finite answer set and an assistant that learns to choose "
                f'from it, not {task.name()!r} and {assistant.name()!r}: write policy = {{ use = "best-of-n" }}, or, '
                'for an assistant that learns to write, "policy-gradient"'
            )
        if self.settings.pool == "all" and task.items() is None:
            raise PlanError(
                f"policy 'regression', pool: task {task.name()!r} cannot list all its items; "
                'write a number, or "stream"'
            )

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        learner = torch_in(assistant)
        if not isinstance(learner, Learner):
            raise PlanError(
                f"policy 'regression' needs an assistant with a finite answer set, and {assistant.name()!r} is none: "
                'cast one that learns to choose, or policy = { use = "policy-gradient" }'
            )
        network = copy.deepcopy(learner.network).train()
        optimizer = Optimizer.over(network.groups(fresh=turn.fresh), self.settings, learner.memory)
        steps = optimizer.steps_in(turn)
        items, in_order = self._pool(task, steps, seed.at("pool"))
        scores = reward.score(items, [learner.answers] * len(items)).mean
        target = torch.softmax(torch.from_numpy(np.asarray(scores)).float() / self.settings.beta, -1)
        codes, size = network.encode(items), self.settings.batch
        whole = not in_order and len(items) <= 2 * size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed.at("steps").value % 2**63)

            def loss(step: int) -> Tensor:
                if in_order:
                    rows: Tensor | slice = slice(step * size, (step + 1) * size)
                else:
                    rows = slice(None) if whole else torch.randint(0, len(items), (size,))
                likely = torch.log_softmax(network(codes[rows]), -1)
                return -(target[rows] * likely).sum(-1).mean()

            optimizer.run(turn, loss)
        return rewrapped(assistant, learner.successor(network.eval(), optimizer.memory()))

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
