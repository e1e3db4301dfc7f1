"""Networks that act, and their episodes lived in batches: what the assistant `actor` and the trainer `ppo` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rrm.control import ControlTask, Floats, Lived, lived_step, over_time
from rrm.models.noise import gumbel
from rrm.records import Item
from rrm.seed import Seed

Ints: TypeAlias = NDArray[np.int64]

Noise: TypeAlias = Callable[[int], NDArray[np.float64] | float]
"""Told the step: what is added to the (B, actions) logits before the largest is taken. Gumbel noise samples, 0 is
greedy."""


class ActorNetwork(nn.Module):
    """A policy and a value of what is observed: two stacks of two tanh layers, with orthogonal first weights."""

    def __init__(self, observed: int, actions: int, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.policy, self.value = (_stack(observed, out, width) for out in (actions, 1))
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.orthogonal_(weight, {"policy.4.weight": 0.01, "value.4.weight": 1.0}.get(name, 2**0.5))

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """(…, actions) logits and (…) values."""
        return self.policy(observed), self.value(observed).squeeze(-1)


def _stack(observed: int, out: int, width: int) -> nn.Sequential:
    layers = (nn.Linear(observed, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out))
    return nn.Sequential(*layers)


class Life(NamedTuple):
    """B episodes of T steps, as they were lived."""

    observed: Floats
    """(B, T, D)"""
    actions: Ints
    """(B, T)"""
    likely: Floats
    """(B, T) log-probability of each action."""
    values: Floats
    """(B, T)"""
    alive: NDArray[np.bool_]
    """(B, T) whether the action counted."""
    lived: Lived

    def texts(self, letters: str) -> list[str]:
        """The actions as answers."""
        table = np.frombuffer(letters.encode("ascii"), dtype=np.uint8)
        return [row.tobytes().decode("ascii") for row in table[self.actions]]


def live(
    network: ActorNetwork, task: ControlTask, items: Sequence[Item], noise: Noise,
    *, truth: bool = False, hints: bool = False,
) -> Life:  # fmt: skip
    """Act from every item's start to the horizon, all of them one step at a time."""
    episodes, rows = task.episodes(items), np.arange(len(items))
    parts: list[tuple[NDArray[Any], ...]] = []
    steps: list[Lived] = []
    with torch.inference_mode():
        for t in range(task.horizon):
            observed, alive = episodes.observe(), episodes.alive.copy()
            logits, values = network(torch.from_numpy(observed))
            likely = torch.log_softmax(logits, -1).numpy()
            actions = (likely + noise(t)).argmax(1)
            steps.append(lived_step(episodes, actions, truth=truth, hints=hints, last=t == task.horizon - 1))
            parts.append((observed, actions, likely[rows, actions], values.numpy(), alive))
    observed, actions, likely, values, alive = (np.stack(part, 1) for part in zip(*parts, strict=True))
    return Life(observed, actions, likely, values, alive, over_time(steps))


def sampled(seeds: Sequence[Seed], task: ControlTask, number: int = 0) -> Noise:
    """Draws by address: an episode's actions depend on its own seed alone. `number` tells several of a seed apart."""
    return lambda t: gumbel(seeds, len(task.actions), salt=number * task.horizon + t)
