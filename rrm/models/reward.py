"""Reward models made of networks: the mean over an ensemble, and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rrm.control import Lived, StepReward
from rrm.models import weights
from rrm.models.optimizer import Memory
from rrm.models.scorer import Scorer, in_chunks
from rrm.models.steps import StepScorer
from rrm.records import Item
from rrm.roles import RewardModel, Scores


@dataclass(frozen=True)
class Member:
    """One network of an ensemble, and what its optimiser goes on from."""

    network: Scorer
    memory: Memory


class NetworkReward(RewardModel):
    """The mean over networks, and their spread."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        each = self.each(items, candidates)
        return Scores(each.mean(0), each.std(0))

    def each(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        networks = [member.network.eval() for member in self.members]

        def scores(at: slice) -> Tensor:
            codes = networks[0].encode(items[at], candidates[at])  # the same for all, who are built alike
            return torch.stack([network(*codes) for network in networks], -1)

        found = in_chunks(networks[0], len(items), scores)
        return np.moveaxis(found, -1, 0) if len(items) else np.zeros((len(networks), 0, 0))

    def save(self, folder: Path) -> None:
        for number, member in enumerate(self.members):
            weights.save_all(folder, member.network, member.memory, f"-{number}")


class StepNetworkReward(NetworkReward, StepReward):
    """Of networks that value each step."""

    def steps(self, lived: Lived) -> Scores:
        features = torch.from_numpy(lived.features)
        with torch.inference_mode():
            each = np.stack([m.network.steps(features).double().numpy() for m in self.members])  # type: ignore[operator]
        return Scores(each.mean(0), each.std(0))


def reward_of(members: Sequence[Member]) -> NetworkReward:
    """The reward model that these networks make."""
    if members and all(isinstance(member.network, StepScorer) for member in members):
        return StepNetworkReward(members)
    return NetworkReward(members)
