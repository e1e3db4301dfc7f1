"""A simulated person who will do only so much work, reads the help, and errs as people do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field

from rrm.evaluators._pace import Pace
from rrm.evaluators._verdict import Valuing
from rrm.records import Case, Feedback
from rrm.roles import Task
from rrm.seed import Seed


class Simulated(Valuing):
    """Judges by `Task.estimate`, and never by the truth: what help cannot bring within its budget, it cannot see."""

    class Settings(Valuing.Settings):
        budget: int = Field(default=1, ge=0)
        """Steps of work that the person does on one case; the task says what a step is."""
        myopic: float = Field(default=1.0, ge=0, le=1)
        """Gamma: the last exhibit is always read; each before it is overlooked with probability 1 - gamma ** d, where
        d is its distance from the last. (B-Pref's myopic teacher discounts a clip's early steps; so this one forgets
        what it was told first.)"""
        step_seconds: float | None = Field(default=None, gt=0)
        """How long a step of work takes: then a budget of time (a trial's) bounds the work too, and the time of each
        judgement is recorded, where the task counts its work. None: time is not simulated."""
        pace: Pace | None = None
        """How long it takes to say it, on top: then time is simulated of every judgement, and counts as one step of
        work where the task counts none. None: saying it takes no time."""

    settings: Settings

    def values(self, task: Task, case: Case, seed: Seed) -> Sequence[float] | None:
        if self.settings.myopic < 1 and len(case.exhibits) > 1:
            case = self._as_remembered(case, seed)
        return task.estimate(case, budget=self.settings.budget)

    def within(self, seconds: float) -> Self:
        each = self.settings.step_seconds
        if each is None:
            return super().within(seconds)
        budget = min(self.settings.budget, int(seconds / each))
        return type(self)(self.settings.model_copy(update={"budget": budget}))

    def time_of(self, kind: str, case: Case, said: Feedback, work: int | None) -> float | None:
        pace, each = self.settings.pace, self.settings.step_seconds
        if pace is None:
            return None if each is None or work is None else work * each
        return round(pace.said(kind, case, said) + (each or 0.0) * (1 if work is None else work), 3)

    def work(self, task: Task, case: Case) -> int | None:
        return task.work(case, budget=self.settings.budget)

    def _as_remembered(self, case: Case, seed: Seed) -> Case:
        gamma, last, rng = self.settings.myopic, len(case.exhibits) - 1, seed.at("myopic").rng()
        kept = tuple(e for i, e in enumerate(case.exhibits) if rng.random() < gamma ** (last - i))
        return Case(item=case.item, responses=case.responses, exhibits=kept)
