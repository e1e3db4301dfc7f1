"""What policies that learn by gradient share: the steps that a copy of the agent takes down a loss."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping

from pydantic import Field
from torch import Tensor

from rrm.models.learner import TorchAssistant, rewrapped, source_in
from rrm.models.noise import seeded
from rrm.models.optimizer import Optimizer, Schedule
from rrm.roles import Assistant, PolicyTrainer, RewardModel, Task, Turn
from rrm.seed import Seed


class Descent(PolicyTrainer):
    """For any assistant with weights; each policy says its own loss."""

    class Settings(PolicyTrainer.Settings, Schedule):
        steps: int = Field(default=40, ge=0)
        last_steps: int = Field(default=400, ge=0)

    settings: Settings

    @classmethod
    def small(cls, scale: int) -> Mapping[str, int]:
        return Schedule.small(scale)

    def units(self, turn: Turn) -> int:
        return self.settings.steps_in(turn)

    @abstractmethod
    def loss(
        self, agent: TorchAssistant, start: TorchAssistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed
    ) -> Callable[[int], Tensor]:
        """The loss of a round, called with a step's number: `agent` learns, and begins as a copy of `start`."""

    def check(self, task: Task, assistant: Assistant) -> None:
        self._source(assistant)

    def _source(self, assistant: Assistant) -> TorchAssistant:
        need = f"policy {self.name()!r} needs an assistant with weights"
        return source_in(assistant, need, 'policy = { use = "best-of-n" }')

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        source = self._source(assistant)
        agent = source.successor(copy.deepcopy(source.network).train(), {})
        optimizer = Optimizer.over(agent.groups(fresh=turn.fresh), self.settings, source.memory)
        loss = self.loss(agent, source, task, reward, turn=turn, seed=seed)
        with seeded(seed.at("steps")):
            optimizer.run(turn, loss)
        return rewrapped(assistant, source.successor(agent.network.eval(), optimizer.memory()))
