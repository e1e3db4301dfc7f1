"""A reward network over trajectories: a small network values each step, and an answer is worth the sum.

Christiano et al. 2017, section 2.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rrm.control import ControlTask, replay
from rrm.models.scorer import Scorer
from rrm.records import Item


class StepScorer(Scorer):
    """Replays answers and sums what it makes of their steps."""

    def __init__(self, task: ControlTask, features: int, *, width: int = 64) -> None:
        super().__init__()
        self._task = task
        self.value = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )
        for name, weight in self.value.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.normal_(weight, std=(0.3 if name == "4.weight" else 1.4) / weight.shape[1] ** 0.5)

    def encode(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        many = [item for item, texts in zip(items, candidates, strict=True) for _ in texts]
        lived = replay(self._task, many, [text for texts in candidates for text in texts])
        return (torch.from_numpy(lived.features).view(len(items), -1, *lived.features.shape[1:]),)

    def forward(self, *codes: Tensor) -> Tensor:
        (features,) = codes
        total: Tensor = self.steps(features).sum(-1)
        return total

    def steps(self, features: Tensor) -> Tensor:
        """(…, T) the worth of each step, from its (…, T, F) features; 0 after an episode's end, where all are 0."""
        worth: Tensor = self.value(features).squeeze(-1) * features.any(-1)
        return worth
