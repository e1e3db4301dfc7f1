"""Expert iteration: the agent imitates the best of its own answers (Anthony et al. 2017; best-of-n distillation)."""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor

from rrm.errors import PlanError
from rrm.models.learner import TorchAssistant, rewrapped, torch_in
from rrm.models.optimizer import Optimizer, Schedule
from rrm.roles import Assistant, PolicyTrainer, RewardModel, Task, Turn
from rrm.seed import Seed


class ExpertIteration(PolicyTrainer):
    """For any assistant that gives log-probabilities: answer n times, imitate what the reward model likes best."""

    class Settings(PolicyTrainer.Settings, Schedule):
        steps: int = Field(default=40, ge=0)
        last_steps: int = Field(default=400, ge=0)
        n: int = Field(default=8, ge=1)
        """Answers to each item, of which the best is imitated."""
        pool: int = Field(default=1024, ge=1)
        """Fresh items a round."""

    settings: Settings

    def check(self, task: Task, assistant: Assistant) -> None:
        self._source(assistant)

    def _source(self, assistant: Assistant) -> TorchAssistant:
        """The assistant with weights. Raises PlanError if there is none."""
        source = torch_in(assistant)
        if source is None:
            raise PlanError(
                f"policy 'expert-iteration' needs an assistant with weights, and {assistant.name()!r} has none: "
                'cast one that learns, or policy = { use = "best-of-n" }'
            )
        return source

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        source = self._source(assistant)
        items = [task.sample(seed.at("item", i).rng()) for i in range(self.settings.pool)]
        texts = source.propose(items, n=self.settings.n, seeds=[seed.at("answer", i) for i in range(len(items))])
        best = reward.score(items, texts).mean.argmax(1)
        chosen = [row[int(i)] for row, i in zip(texts, best, strict=True)]
        agent = source.successor(copy.deepcopy(source.network).train(), {})
        optimizer = Optimizer.over(agent.groups(fresh=turn.fresh), self.settings, source.memory)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed.at("steps").value % 2**63)

            def loss(_: int) -> Tensor:
                rows = torch.randint(0, len(items), (self.settings.batch,)).tolist()
                return -agent.log_prob([items[i] for i in rows], [chosen[i] for i in rows]).mean()

            optimizer.run(turn, loss)
        agent.network.eval()
        return rewrapped(assistant, source.successor(agent.network, optimizer.memory()))
