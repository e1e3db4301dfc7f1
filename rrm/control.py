"""Tasks in which an agent acts: an item names the start state, an answer is the string of actions taken from it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rrm.errors import ComponentError, PlanError
from rrm.records import Case, Item
from rrm.roles import RewardModel, RewardTerm, Scores, Task
from rrm.seed import Seed

Floats = NDArray[np.float32]


class Step(NamedTuple):
    """What one action brought, one row an episode."""

    features: Floats
    """(B, F) what a reward model is told of the step; 0 where the episode had ended before it."""
    visible: Floats
    """(B,) the reward that everybody sees, which need not be what the user wants."""


class Episodes(ABC):
    """B episodes that advance together, one action each at a time. Equal starts and actions give equal episodes."""

    @property
    @abstractmethod
    def alive(self) -> NDArray[np.bool_]:
        """(B,) whether the next action still counts."""

    @abstractmethod
    def observe(self) -> Floats:
        """(B, D) what the acting agent sees."""

    @abstractmethod
    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take one action each; those of episodes that have ended are ignored."""

    @abstractmethod
    def restart(self, rows: NDArray[np.intp], items: Sequence[Item]) -> None:
        """Put new episodes into these rows, at their starts."""

    @abstractmethod
    def performance(self) -> Floats:
        """(B,) what the last step was really worth to the user. The truth: for reports and control arms only."""

    def potential(self) -> Floats | None:
        """(B,) how far each seems on its way, by what everybody sees: a hint for shaping. None: there is none."""
        return None

    def hint(self) -> Floats:
        """(B,) the potential, 0 where an episode has ended. Raises ComponentError where the task gives none."""
        found = self.potential()
        if found is None:
            raise ComponentError("these episodes give no potential to shape a reward by")
        return found * self.alive


class ControlTask(Task):
    """A task whose answers are trajectories, replayed from (item, text) wherever they are looked at."""

    actions: str
    """One letter for each action."""
    horizon: int
    """Steps after which every episode ends."""

    @abstractmethod
    def episodes(self, items: Sequence[Item]) -> Episodes:
        """One episode an item, at its start."""

    def moves(self, item: Item) -> Sequence[str]:
        return self.actions

    def judgeable(self, case: Case) -> tuple[Sequence[int], Sequence[int]]:
        return (), range(min(len(case.responses[0].text), self.horizon))

    def wander(self, items: Sequence[Item], seeds: Sequence[Seed]) -> list[str]:
        """An answer to each item by nobody who learns: uniform actions, unless a task knows more telling behaviour."""
        rngs = (seed.rng() for seed in seeds)
        return ["".join(rng.choices(self.actions, k=self.horizon)) for rng in rngs]


class Policy(ABC):
    """What an agent that acts also is, if it decides by what it observes now and by nothing else: all that it may do
    can then be enumerated."""

    @abstractmethod
    def chances(self, observed: Floats) -> Floats:
        """(B, actions) how likely it takes each action where it sees what these rows (B, D) say."""


class Lived(NamedTuple):
    """N trajectories of T steps as they were lived, T the task's horizon."""

    features: Floats
    """(N, T, F)"""
    visible: Floats
    """(N, T)"""
    performance: Floats | None = None
    """(N, T) the truth, where it was asked for."""
    before: Floats | None = None
    """(N, T) the potential before each step, where it was asked for."""
    after: Floats | None = None
    """(N, T) the potential after each step, 0 where it ended the episode."""


def lived_step(
    episodes: Episodes, actions: NDArray[np.int64], *, truth: bool, hints: bool, last: NDArray[np.bool_] | bool
) -> Lived:
    """Take one action each; what came of it, without the axis of time. `last`: where the horizon ends here."""
    before = episodes.hint() if hints else None
    step = episodes.step(actions)
    performance = episodes.performance() if truth else None
    after = episodes.hint() * ~np.asarray(last) if hints else None
    return Lived(step.features, step.visible, performance, before, after)


def over_time(steps: Sequence[Lived]) -> Lived:
    """Steps one after the other, as trajectories."""
    given = {
        name: np.stack(part, 1)
        for name, part in zip(Lived._fields, zip(*steps, strict=True), strict=True)
        if part[0] is not None
    }
    return Lived(**given)


def replay(
    task: ControlTask, items: Sequence[Item], texts: Sequence[str], *, truth: bool = False, hints: bool = False
) -> Lived:
    """Live the trajectories again. A letter that is no action counts as the last action. Of a text that ends before the
    horizon, so much was lived as it says: all that would follow is 0."""
    episodes, last = task.episodes(items), len(task.actions) - 1
    place = {letter: i for i, letter in enumerate(task.actions)}
    rows = [[place.get(c, last) for c in text[: task.horizon].ljust(task.horizon, task.actions[-1])] for text in texts]
    taken = np.array(rows, dtype=np.int64).reshape(len(texts), task.horizon)
    end = task.horizon - 1
    lived = over_time(
        [lived_step(episodes, taken[:, t], truth=truth, hints=hints, last=t == end) for t in range(task.horizon)]
    )
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    if (lengths < task.horizon).any():
        unwritten = np.arange(task.horizon) >= lengths[:, None]
        for part in lived:
            if part is not None:
                part[unwritten] = 0
    return lived


class StepReward(RewardModel):
    """A reward model that values each step of a trajectory; a whole one is worth their sum."""

    asks_truth: bool = False
    """Whether it has to be told what each step was truly worth: the control arm that knows."""
    asks_hints: bool = False
    """Whether it has to be told the potentials before and after each step."""

    @abstractmethod
    def steps(self, lived: Lived) -> Scores:
        """(N, T) scores."""


class StepTerm(RewardTerm):
    """A given part of the reward that values each step of a trajectory; a whole one is worth their sum."""

    asks_hints: ClassVar[bool] = False
    """Whether it values steps by the task's potential."""

    task: ControlTask

    def of(self, task: Task) -> Self:
        if not isinstance(task, ControlTask):
            raise PlanError(f"term {self.name()!r} values steps, and answers of task {task.name()!r} have none")
        new = copy.copy(self)
        new.task = task
        return new

    @abstractmethod
    def steps(self, lived: Lived) -> Floats:
        """(N, T) what each step is worth to this term alone."""

    def value(self, item: Item, text: str) -> float:
        return float(self.steps(replay(self.task, [item], [text], hints=self.asks_hints)).astype(np.float64).sum())
