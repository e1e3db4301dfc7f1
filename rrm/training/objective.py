"""The reward that a policy is trained on: what was learnt, with what the user gives outright laid on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rrm.control import ControlTask, Lived, StepReward, StepTerm, replay
from rrm.records import Item
from rrm.roles import GivenTerm, RewardModel, RewardTerm, Scores, Task, Turn


class Objective(RewardModel):
    """A learnt reward plus weighted given terms (Leike et al. 2018, section 3: known parts need not be learnt)."""

    def __init__(self, learnt: RewardModel, terms: Sequence[tuple[RewardTerm, float]]) -> None:
        self._learnt, self._terms = learnt, terms

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        learnt = self._learnt.score(items, candidates)
        given = [
            [sum(weight * term.value(item, text) for term, weight in self._terms) for text in texts]
            for item, texts in zip(items, candidates, strict=True)
        ]
        return Scores(learnt.mean + np.asarray(given), learnt.spread)

    def save(self, folder: Path) -> None:
        self._learnt.save(folder)


class StepObjective(StepReward):
    """The same of a reward that values steps, and of terms that do."""

    def __init__(self, learnt: StepReward, terms: Sequence[tuple[StepTerm, float]], task: ControlTask) -> None:
        self._learnt, self._terms, self._task = learnt, terms, task
        self.asks_truth = learnt.asks_truth
        self.asks_hints = learnt.asks_hints or any(term.asks_hints for term, _ in terms)

    def steps(self, lived: Lived) -> Scores:
        learnt = self._learnt.steps(lived)
        return Scores(learnt.mean + self._given(lived), learnt.spread)

    def _given(self, lived: Lived) -> NDArray[np.float64]:
        none = np.zeros(lived.visible.shape)
        return sum((weight * term.steps(lived).astype(np.float64) for term, weight in self._terms), none)

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        learnt = self._learnt.score(items, candidates)
        many = [item for item, texts in zip(items, candidates, strict=True) for _ in texts]
        lived = replay(self._task, many, [text for texts in candidates for text in texts], hints=self.asks_hints)
        return Scores(learnt.mean + self._given(lived).sum(1).reshape(learnt.mean.shape), learnt.spread)

    def save(self, folder: Path) -> None:
        self._learnt.save(folder)


def objective(learnt: RewardModel, terms: Sequence[GivenTerm], turn: Turn, task: Task) -> RewardModel:
    """`learnt` itself where nothing is given; a reward of steps where all of it values steps."""
    weighed = [(given.term, weight) for given in terms if (weight := given.weight_at(turn))]
    of_steps = [(term, weight) for term, weight in weighed if isinstance(term, StepTerm)]
    if not terms:
        return learnt
    if isinstance(learnt, StepReward) and isinstance(task, ControlTask) and len(of_steps) == len(weighed):
        return StepObjective(learnt, of_steps, task)
    return Objective(learnt, weighed)
