"""The reward that a policy is trained on: what was learnt, with what the user gives outright laid on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rrm.records import Item
from rrm.roles import GivenTerm, RewardModel, Scores, Turn


class Objective(RewardModel):
    """A learnt reward plus weighted given terms (Leike et al. 2018, section 3: known parts need not be learnt)."""

    def __init__(self, learnt: RewardModel, terms: Sequence[GivenTerm], turn: Turn) -> None:
        self._learnt = learnt
        self._terms = [(t.term, weight) for t in terms if (weight := t.weight_at(turn))]

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        learnt = self._learnt.score(items, candidates)
        given = [
            [sum(weight * term.value(item, text) for term, weight in self._terms) for text in texts]
            for item, texts in zip(items, candidates, strict=True)
        ]
        return Scores(learnt.mean + np.asarray(given), learnt.spread)

    def save(self, folder: Path) -> None:
        self._learnt.save(folder)


def objective(learnt: RewardModel, terms: Sequence[GivenTerm], turn: Turn) -> RewardModel:
    """`learnt` itself where nothing is given."""
    return Objective(learnt, terms, turn) if terms else learnt
