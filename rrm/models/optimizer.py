"""The optimiser that all trainers share, its memory kept over the rounds of a level and across interruptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm.errors import RrmError
from rrm.records import Record
from rrm.roles import Turn

Memory = Mapping[str, Tensor]
"""AdamW's moments and step count by parameter, as tensors that safetensors can hold; empty at a level's beginning."""


class Schedule(Record):
    """How long and how fast a trainer learns in each round."""

    steps: int = Field(default=80, ge=0)
    """Optimiser steps in every round but the last."""
    last_steps: int = Field(default=320, ge=0)
    """Steps in the last round, in which the rate decays."""
    rate: float = Field(default=3e-3, gt=0)
    """Learning rate, reached after `warm_up` steps of a level."""
    min_rate: float = Field(default=0.05, ge=0, le=1)
    """The share of `rate` that the last round decays to, linearly."""
    warm_up: int = Field(default=20, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch: int = Field(default=128, ge=1)

    def steps_in(self, turn: Turn) -> int:
        """How many steps a round takes."""
        return self.last_steps if turn.last else self.steps


@dataclass
class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) with warm-up, decay in the last round, and clipped gradients."""

    schedule: Schedule
    parameters: list[nn.Parameter]
    multipliers: list[float]
    adam: torch.optim.AdamW
    taken: int

    @classmethod
    def over(cls, groups: Sequence[tuple[list[nn.Parameter], float]], schedule: Schedule, memory: Memory) -> Optimizer:
        """An optimiser that goes on from `memory`."""
        adam = torch.optim.AdamW(
            [{"params": parameters} for parameters, _ in groups],
            lr=schedule.rate,
            betas=(0.9, 0.98),
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        flat = [p for parameters, _ in groups for p in parameters]
        for i, parameter in enumerate(flat):
            if f"{i}.exp_avg" in memory:
                adam.state[parameter] = {k: memory[f"{i}.{k}"].clone() for k in ("step", "exp_avg", "exp_avg_sq")}
        return cls(schedule, flat, [m for _, m in groups], adam, int(memory["taken"]) if "taken" in memory else 0)

    def run(self, turn: Turn, loss: Callable[[int], Tensor]) -> float:
        """All of a round's steps; `loss` is called with the step's number. Returns the last loss.

        Raises RrmError if it, or a weight, is no number any more.
        """
        steps, value = self.schedule.steps_in(turn), torch.zeros(())
        for step in range(steps):
            fade = max(self.schedule.min_rate, 1 - step / steps) if turn.last else 1.0
            warm = min(1.0, (self.taken + 1) / max(self.schedule.warm_up, 1))
            for group, multiplier in zip(self.adam.param_groups, self.multipliers, strict=True):
                group["lr"] = self.schedule.rate * warm * fade * multiplier
            self.adam.zero_grad()
            value = loss(step)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.adam.step()
            self.taken += 1
        last = float(value.detach())
        if not (math.isfinite(last) and all(bool(p.isfinite().all()) for p in self.parameters)):
            raise RrmError(
                f"training diverged: after {steps} steps at rate = {self.schedule.rate:g} the loss is {last} and "
                "weights are infinite, or no numbers; set a lower rate"
            )
        return last

    def memory(self) -> dict[str, Tensor]:
        """What to go on from in the next round."""
        kept = {"taken": torch.tensor(self.taken)}
        for i, parameter in enumerate(self.parameters):
            kept |= {f"{i}.{k}": v.clone() for k, v in self.adam.state.get(parameter, {}).items()}
        return kept
