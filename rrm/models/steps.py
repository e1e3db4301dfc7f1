"""A reward network over trajectories: a small network values each step, and an answer is worth the sum.

Christiano et al. 2017, section 2.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rrm.control import ControlTask, Floats, replay
from rrm.models.scorer import Scorer
from rrm.records import Item

TEXTS = 4096
"""Answers that are replayed at once, where some are beginnings."""


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
        """(items, K, T, F) features; where some answers are beginnings, those of each different step (items, S, F), and
        which of these steps each answer is made of (items, K, T)."""
        if all(len(text) >= self._task.horizon for texts in candidates for text in texts):
            return (torch.from_numpy(self._features(items, candidates)),)
        rows = max(1, TEXTS // len(candidates[0]))
        parts = [self._merged(items[i : i + rows], candidates[i : i + rows]) for i in range(0, len(items), rows)]
        wide = max(steps.shape[1] for steps, _ in parts)
        steps = torch.cat([nn.functional.pad(steps, (0, 0, 0, wide - steps.shape[1])) for steps, _ in parts])
        return steps, torch.cat([made_of for _, made_of in parts])

    def _features(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Floats:
        many = [item for item, texts in zip(items, candidates, strict=True) for _ in texts]
        features = replay(self._task, many, [text for texts in candidates for text in texts]).features
        return features.reshape(len(items), -1, *features.shape[1:])

    def _merged(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Beginnings share most of their steps: what stands on all of them is looked at once. Step 0 is none."""
        horizon = self._task.horizon
        numbers = np.zeros((len(items), len(candidates[0]), horizon), np.int64)
        places = []
        for row, texts in enumerate(candidates):
            known: dict[str, int] = {}
            for k, text in enumerate(texts):
                for t in range(min(len(text), horizon)):
                    numbers[row, k, t] = known.setdefault(text[: t + 1], len(known) + 1)
            places.append(known)
        lived = self._features(items, candidates)
        steps = np.zeros((len(items), 1 + max(map(len, places)), lived.shape[-1]), np.float32)
        rows, ks, ts = numbers.nonzero()
        steps[rows, numbers[rows, ks, ts]] = lived[rows, ks, ts]
        return torch.from_numpy(steps), torch.from_numpy(numbers)

    def forward(self, *codes: Tensor) -> Tensor:
        worth = self.steps(codes[0])
        if len(codes) > 1:
            made_of = codes[1]
            worth = worth.gather(1, made_of.flatten(1)).view(made_of.shape)
        total: Tensor = worth.sum(-1)
        return total

    def steps(self, features: Tensor) -> Tensor:
        """(…, T) the worth of each step, from its (…, T, F) features; 0 after an episode's end, where all are 0."""
        worth: Tensor = self.value(features).squeeze(-1) * features.any(-1)
        return worth
