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

MOMENTS = ("exp_avg", "exp_avg_sq")

Memory = Mapping[str, Tensor]
"""AdamW's moments, laid end to end, and each parameter's step count: few tensors, as a file costs by the tensor. Empty
at a level's beginning."""


CLEARLY_BELOW = 0.999
"""A norm of gradients below this is scaled by exactly 1, whatever the 1e-6 in torch's division and rounding do."""


class Schedule(Record):
    """How long and how fast a trainer learns in each round."""

    steps: int = Field(default=80, ge=0)
    """Optimiser steps in every round but the last."""
    first_steps: int | None = Field(default=None, ge=0)
    """Steps in the first round, where they are others: much is often judged before anything is learnt."""
    last_steps: int = Field(default=320, ge=0)
    """Steps in the last round, in which the rate decays."""
    rate: float = Field(default=3e-3, gt=0)
    """Learning rate, reached after `warm_up` steps of a level."""
    min_rate: float = Field(default=0.05, ge=0, le=1)
    """The share of `rate` that the last round decays to, linearly."""
    warm_up: int = Field(default=20, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch: int = Field(default=128, ge=1)

    @staticmethod
    def small(scale: int) -> dict[str, int]:
        """Its settings for a trainer that is only measured."""
        return dict.fromkeys(("steps", "first_steps", "last_steps"), 3 * scale)

    def steps_in(self, turn: Turn) -> int:
        """How many steps a round takes."""
        if turn.last:
            return self.last_steps
        return self.steps if turn.number or self.first_steps is None else self.first_steps


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
        if memory:
            sizes = [p.numel() for p in flat]
            for parameter, step, *parts in zip(
                flat, memory["step"], *(torch.split(memory[name], sizes) for name in MOMENTS), strict=True
            ):
                moments = [torch.empty_like(parameter).copy_(part.view_as(parameter)) for part in parts]
                adam.state[parameter] = {"step": step.clone(), **dict(zip(MOMENTS, moments, strict=True))}
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
            for parameter in self.parameters:
                parameter.grad = None
            value = loss(step)
            value.backward()  # type: ignore[no-untyped-call]
            self.clip()
            self.adam.step()
            self.taken += 1
        last = float(value.detach())
        if not (math.isfinite(last) and all(bool(p.isfinite().all()) for p in self.parameters)):
            raise RrmError(
                f"training diverged: after {steps} steps at rate = {self.schedule.rate:g} the loss is {last} and "
                "weights are infinite, or no numbers; set a lower rate"
            )
        return last

    def clip(self) -> None:
        """Scale the gradients to a norm of at most 1, as `clip_grad_norm_` does; but most are below, and left alone."""
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if not norm < CLEARLY_BELOW:
            nn.utils.clip_grads_with_norm_(self.parameters, 1.0, norm)

    def memory(self) -> dict[str, Tensor]:
        """What to go on from in the next round."""
        states = [self.adam.state.get(p) or _unmoved(p) for p in self.parameters]
        kept = {"taken": torch.tensor(self.taken), "step": torch.stack([state["step"] for state in states])}
        return kept | {name: torch.cat([state[name].flatten() for state in states]) for name in MOMENTS}


def _unmoved(parameter: nn.Parameter) -> dict[str, Tensor]:
    """The state that AdamW would begin with."""
    return {"step": torch.zeros((), dtype=torch.float32), **{name: torch.zeros_like(parameter) for name in MOMENTS}}
