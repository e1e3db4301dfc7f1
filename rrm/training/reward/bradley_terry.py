"""Learns a reward model from choices between answers, as one network or an ensemble.

Bradley & Terry 1952 for the likelihood; Christiano et al. 2017, section 2.2, for the ensemble and its spread.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from rrm.models import weights
from rrm.models.learner import TorchAssistant, source_in
from rrm.models.noise import seeded
from rrm.models.optimizer import Optimizer, Schedule
from rrm.models.reward import Member, NetworkReward, reward_of
from rrm.roles import Assistant, Judged, RewardModel, RewardTrainer, Task, Turn
from rrm.seed import Seed
from rrm.training.choice_table import ChoiceTable


class BradleyTerry(RewardTrainer):
    """Fits networks of the assistant's own architecture so that softmax over rewards predicts the judgements."""

    class Settings(RewardTrainer.Settings, Schedule):
        ensemble: int = Field(default=1, ge=1)
        """Networks, each with its own first weights and batches; their spread says where they have seen little."""
        tie_weight: float = Field(default=0.25, ge=0)
        """What a tie counts beside a preference."""
        ridge: float = Field(default=1e-3, ge=0)
        """Penalty on squared differences from the mean reward of an item's candidates."""
        whole: int = Field(default=256, ge=0)
        """Up to so many different items, every step sees them all; above, a batch of them."""
        recent: float = Field(default=0.0, ge=0, le=1)
        """Share of each batch that is drawn from the newest items, after the first round: for agents whose behaviour
        moves on while what was judged of it stays."""
        newest: int = Field(default=96, ge=1)
        """How many items those are."""

    settings: Settings

    @classmethod
    def small(cls, scale: int) -> Mapping[str, int]:
        return Schedule.small(scale)

    def units(self, turn: Turn) -> int:
        return self.settings.steps_in(turn)

    @property
    def members(self) -> int:
        return self.settings.ensemble

    def check(self, task: Task, assistant: Assistant) -> None:
        self._source(assistant)

    def _source(self, assistant: Assistant) -> TorchAssistant:
        """The assistant whose architecture the networks take after. Raises PlanError if there is none."""
        need = "reward 'bradley-terry' takes its network after the assistant's"
        return source_in(assistant, need, 'reward = { use = "tally" }')

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
        """Raises PlanError if the assistant has no network to take after."""
        source = self._source(assistant)
        table = ChoiceTable.of(judged, task, tie_weight=self.settings.tie_weight)
        before = start.members if isinstance(start, NetworkReward) else ()
        members = []
        for number in range(self.settings.ensemble):
            old = before[number] if number < len(before) else None
            if old is not None and turn.number:
                members.append(old)
                continue
            network = source.scorer(task, seed=seed.at("member", number, "weights"))
            if old is not None:  # of another level: its weights, in a network for this level's answers
                misfit = "the reward model to start from is of another network than the assistant's"
                weights.adopt(network, old.network.state_dict(), misfit)
            members.append(Member(network, {}))
        if not len(table):
            return reward_of(members)
        codes = members[0].network.encode(table.items, table.candidates)
        return reward_of([self._trained(m, table, codes, turn, seed.at("member", n)) for n, m in enumerate(members)])

    def _trained(self, member: Member, table: ChoiceTable, codes: Sequence[Tensor], turn: Turn, seed: Seed) -> Member:
        network = copy.deepcopy(member.network).train()
        optimizer = Optimizer.over(network.groups(fresh=turn.fresh), self.settings, member.memory)
        whole, size = len(table) <= self.settings.whole, self.settings.batch
        recent = round(size * self.settings.recent) if turn.number else 0
        newest = max(0, len(table) - self.settings.newest)

        def loss(_: int) -> Tensor:
            rows: Tensor | slice = slice(None)
            if not whole:
                rows = torch.randint(0, len(table), (size - recent,))
                rows = torch.cat([torch.randint(newest, len(table), (recent,)), rows]) if recent else rows
            scores = network(*(c[rows] for c in codes))
            centred = scores - scores.mean(1, keepdim=True)
            penalty: Tensor = self.settings.ridge * centred.square().mean()
            return table.loss(scores, rows) + penalty

        with seeded(seed.at("steps")):
            optimizer.run(turn, loss)
        return Member(network.eval(), optimizer.memory())

    def load(self, folder: Path, *, task: Task, assistant: Assistant) -> RewardModel:
        source = self._source(assistant)
        members = []
        for number in range(self.settings.ensemble):
            network = source.scorer(task, seed=Seed(0))
            memory = weights.restore_all(folder, network, f"-{number}")
            members.append(Member(network.eval(), memory))
        return reward_of(members)
