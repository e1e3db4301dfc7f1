"""The reward that a policy is trained on: what was learnt, with what the user gives outright laid on top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rrm.control import ControlTask, Lived, StepReward, StepTerm, replay
from rrm.errors import PlanError
from rrm.records import Feedback, Item, TermEdit
from rrm.roles import GivenTerm, RewardModel, RewardTerm, Scores, Task, Turn


class Objective(RewardModel):
    """A learnt reward plus weighted given terms (Leike et al. 2018, section 3: known parts need not be learnt)."""

    def __init__(self, learnt: RewardModel, terms: Sequence[tuple[RewardTerm, float]], task: Task) -> None:
        self._learnt, self._task = learnt, task
        self._of_steps = _of_steps(terms) if isinstance(task, ControlTask) else []
        self._others = [(term, weight) for term, weight in terms if (term, weight) not in self._of_steps]

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        learnt = self._learnt.score(items, candidates)
        given = np.zeros(learnt.mean.shape)
        if self._of_steps and isinstance(self._task, ControlTask):  # lived again once for all of them
            given += (
                _given(self._of_steps, _lived(self._task, items, candidates, self._of_steps))
                .sum(1)
                .reshape(given.shape)
            )
        for term, weight in self._others:
            given += [
                [weight * term.value(i, text) for text in texts] for i, texts in zip(items, candidates, strict=True)
            ]
        return Scores(learnt.mean + given, learnt.spread)

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
        return Scores(learnt.mean + _given(self._terms, lived), learnt.spread)

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        learnt = self._learnt.score(items, candidates)
        given = _given(self._terms, _lived(self._task, items, candidates, self._terms)).sum(1)
        return Scores(learnt.mean + given.reshape(learnt.mean.shape), learnt.spread)

    def save(self, folder: Path) -> None:
        self._learnt.save(folder)


def edited(terms: Sequence[GivenTerm], said: Iterable[Feedback], task: Task) -> list[GivenTerm]:
    """The given terms as a person edited them. Raises PlanError if an edit fits no term, or makes an impossible one."""
    found = list(terms)
    for edit in said:
        if not isinstance(edit, TermEdit):
            continue
        given = found[edit.term] if edit.term < len(found) else None
        if given is None or given.term.name() != edit.use:
            raise PlanError(
                f"a recorded edit is of the term {edit.use!r}, number {edit.term}, and there is no such here"
            )
        term = given.term
        if edit.settings:
            try:
                settings = type(term).Settings(**{**term.settings.model_dump(), **edit.settings})
            except ValueError as error:
                raise PlanError(f"a recorded edit of the term {edit.use!r} cannot be followed: {error}") from None
            term = type(term)(settings).of(task)
        found[edit.term] = given._replace(term=term, weight=edit.weight)
    return found


def objective(learnt: RewardModel, terms: Sequence[GivenTerm], turn: Turn, task: Task) -> RewardModel:
    """`learnt` itself where nothing is given; a reward of steps where all of it values steps."""
    weighed = [(given.term, weight) for given in terms if (weight := given.weight_at(turn))]
    of_steps = _of_steps(weighed)
    if not terms:
        return learnt
    if isinstance(learnt, StepReward) and isinstance(task, ControlTask) and len(of_steps) == len(weighed):
        return StepObjective(learnt, of_steps, task)
    return Objective(learnt, weighed, task)


def _of_steps(terms: Sequence[tuple[RewardTerm, float]]) -> list[tuple[StepTerm, float]]:
    return [(term, weight) for term, weight in terms if isinstance(term, StepTerm)]


def _lived(
    task: ControlTask,
    items: Sequence[Item],
    candidates: Sequence[Sequence[str]],
    terms: Sequence[tuple[StepTerm, float]],
) -> Lived:
    many = [item for item, texts in zip(items, candidates, strict=True) for _ in texts]
    hints = any(term.asks_hints for term, _ in terms)
    return replay(task, many, [text for texts in candidates for text in texts], hints=hints)


def _given(terms: Sequence[tuple[StepTerm, float]], lived: Lived) -> NDArray[np.float64]:
    """(answers, T) what the terms make of each step."""
    none = np.zeros(lived.visible.shape)
    return sum((weight * term.steps(lived).astype(np.float64) for term, weight in terms), none)
