"""Hints at the way to what is openly rewarded, step by step, without changing which policy is best."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from rrm.control import Floats, Lived, StepTerm
from rrm.errors import PlanError
from rrm.roles import Task
from rrm.seed import Seed


class Potential(StepTerm):
    """Potential-based shaping (Ng, Harada & Russell 1999): discount * phi(after) - phi(before), phi the task's own.

    Over an episode this comes to minus the potential of its start, whatever was done. So with the discount that the
    policy is trained with, and any weight, the best policy stays the best.
    """

    class Settings(StepTerm.Settings):
        discount: float = Field(default=0.99, gt=0, le=1)
        """That of the policy trainer: with another one, the promise does not hold."""

    settings: Settings
    asks_hints = True

    def of(self, task: Task) -> Potential:
        new = super().of(task)
        if new.task.episodes([task.sample(Seed(0).rng())]).potential() is None:
            raise PlanError(f"term 'potential' needs a task that says how far one seems, and {task.name()!r} does not")
        return new

    def steps(self, lived: Lived) -> Floats:
        if lived.before is None or lived.after is None:
            raise ValueError("the potentials were not asked for")
        return np.float32(self.settings.discount) * lived.after - lived.before
