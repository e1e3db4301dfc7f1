"""Counts which answers won. It generalises to nothing: for scripted agents, and for tests."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rrm.errors import MissingWeights
from rrm.records import Item
from rrm.roles import Assistant, Judged, RewardModel, RewardTrainer, Scores, Task, Turn
from rrm.seed import Seed
from rrm.training.feedback import choices


class Tally(RewardTrainer):
    """An answer's reward is how often it was chosen above what would be chance."""

    carries_over = False

    def fit(
        self,
        judged: Sequence[Judged],
        *,
        task: Task,
        assistant: Assistant,
        start: RewardModel | None,
        turn: Turn,
        seed: Seed,
    ) -> RewardModel:
        wins: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for case, feedback in judged:
            alternatives, moves = task.answers(case.item) or (), task.moves(case.item)
            for choice in choices(case, feedback, alternatives=alternatives, moves=moves):
                for option, p in zip(choice.options, choice.target, strict=True):
                    if option is not None:
                        wins[case.item.prompt][option] += choice.weight * (p - 1 / len(choice.options))
        return Wins({prompt: dict(texts) for prompt, texts in wins.items()})

    def load(self, folder: Path, *, task: Task, assistant: Assistant) -> RewardModel:
        try:
            return Wins(json.loads((folder / "wins.json").read_text()))
        except (OSError, ValueError) as error:
            raise MissingWeights(f"{folder / 'wins.json'}: {error}. Delete the node's folder and run again.") from None


class Wins(RewardModel):
    """Wins by prompt and answer; 0 for what was never judged."""

    def __init__(self, wins: Mapping[str, Mapping[str, float]]) -> None:
        self._wins = wins

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        rows = [
            [self._wins.get(i.prompt, {}).get(t, 0.0) for t in texts]
            for i, texts in zip(items, candidates, strict=True)
        ]
        mean = np.asarray(rows, dtype=np.float64)
        return Scores(mean, np.zeros_like(mean))

    def save(self, folder: Path) -> None:
        (folder / "wins.json").write_text(json.dumps(self._wins, indent=0, sort_keys=True) + "\n")
