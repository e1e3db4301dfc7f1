"""Policy gradient on groups of answers to the same item: each is compared with the group's mean, so no value network.

REINFORCE with a group baseline (Shao et al. 2024, "GRPO", without clipping, as one step is taken on each group), and a
penalty on the divergence from the agent as it was when the round began.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from rrm.models.learner import Learner, TorchAssistant
from rrm.roles import RewardModel, Task, Turn
from rrm.seed import Seed
from rrm.training.policy._descent import Descent


class PolicyGradient(Descent):
    """For any assistant that gives log-probabilities: samples answers, makes those better than usual likelier."""

    class Settings(Descent.Settings):
        batch: int = Field(default=32, ge=1)
        """Items in a step."""
        group: int = Field(default=8, ge=2)
        """Answers to each."""
        kl: float = Field(default=0.05, ge=0)
        """Weight of KL(agent || agent at the round's start)."""
        entropy: float = Field(default=0.0, ge=0)
        """Weight of the entropy; over a finite answer set 1 kept exploration alive where 0.3 collapsed."""

    settings: Settings

    def loss(
        self, agent: TorchAssistant, start: TorchAssistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed
    ) -> Callable[[int], Tensor]:
        def loss(step: int) -> Tensor:
            at = seed.at("step", step)
            if isinstance(agent, Learner) and isinstance(start, Learner):
                return self._exact(agent, start, task, reward, at)
            return self._sampled(agent, start, task, reward, at)

        return loss

    def _sampled(
        self, agent: TorchAssistant, start: TorchAssistant, task: Task, reward: RewardModel, seed: Seed
    ) -> Tensor:
        """From sampled texts. The divergence and the entropy join the reward of each draw, less their group's mean.

        As terms of the loss they would have the wrong gradient: that of log p is 0 on average, and that of the
        estimator r - 1 - log r is the gradient of KL(start || agent) (Tang & Munos 2025).
        """
        group = self.settings.group
        items = [task.sample(seed.at("item", i).rng()) for i in range(self.settings.batch)]
        with torch.no_grad():
            texts = agent.sample(items, n=group, seeds=[seed.at("answer", i) for i in range(len(items))])
        worth = torch.from_numpy(reward.score(items, texts).mean).float()
        better = (worth - worth.mean(1, keepdim=True)) / (worth.std(1, keepdim=True) + 0.1)
        many, flat = [item for item in items for _ in range(group)], [t for row in texts for t in row]
        likely = agent.log_prob(many, flat).view(len(items), group)
        with torch.no_grad():
            before = start.log_prob(many, flat).view(len(items), group)
            cost = self.settings.kl * (likely - before) + self.settings.entropy * likely
            gain = better - (cost - cost.mean(1, keepdim=True))
        return -(likely * gain).mean()

    def _exact(self, agent: Learner, start: Learner, task: Task, reward: RewardModel, seed: Seed) -> Tensor:
        """Over a finite answer set: sampled groups, but the divergence and the entropy in full."""
        items = [task.sample(seed.at("item", i).rng()) for i in range(self.settings.batch)]
        codes = agent.network.encode(items)
        likely = torch.log_softmax(agent.network(codes), -1)
        with torch.no_grad():
            before = torch.log_softmax(start.network(codes), -1)
        worth = torch.from_numpy(reward.score(items, [agent.answers] * len(items)).mean).float()
        drawn = torch.multinomial(likely.detach().exp(), self.settings.group, replacement=True)
        gained = worth.gather(1, drawn)
        better = (gained - gained.mean(1, keepdim=True)) / (gained.std(1, keepdim=True) + 0.1)
        gain = (likely.gather(1, drawn) * better).mean()
        chance = likely.exp()
        drift = (chance * (likely - before)).sum(1).mean()
        entropy = -(chance * likely).sum(1).mean()
        return -gain + self.settings.kl * drift - self.settings.entropy * entropy
