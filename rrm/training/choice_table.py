"""All choices of a level as tensors, merged by item: what the one likelihood is computed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rrm.records import Item, Ranking
from rrm.roles import Judged, Task
from rrm.training.feedback import Choice, choices, ranked

ROW = 64
"""Choices that one row holds at most; an item with more gets several rows."""


@dataclass(frozen=True)
class ChoiceTable:
    """One row an item: its candidates, and the choices that were made among them.

    P choices a row and K options a choice, padded with weight 0. Option K of a row's scores, beyond its candidates,
    is the outside option, whose reward is 0.
    """

    items: list[Item]
    candidates: list[list[str]]
    options: Tensor
    """(rows, P, K) candidate numbers; the number after the last candidate is the outside option; -1: no option."""
    target: Tensor
    """(rows, P, K) how likely each option was."""
    weight: Tensor
    """(rows, P)"""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, judged: Sequence[Judged], task: Task, *, tie_weight: float) -> ChoiceTable:
        """Merge all judgements: the same choice on the same item stands once, with the sum of its weights."""
        merged: dict[str, dict[tuple[str | None, ...], list[float]]] = {}
        items: dict[str, Item] = {}
        for case, feedback in judged:
            if isinstance(feedback, Ranking):
                found = _ranked(tuple([r.text for r in case.responses]), feedback.tiers, tie_weight)
            else:
                alternatives = (task.answers(case.item) or ()) if feedback.kind == "demonstration" else ()
                found = _masses(choices(case, feedback, alternatives=alternatives, tie_weight=tie_weight))
            if not found:
                continue
            here = merged.setdefault(case.item.prompt, {})
            items.setdefault(case.item.prompt, case.item)
            for options, new in found:
                masses = here.get(options)
                if masses is None:
                    here[options] = list(new)
                elif len(new) == 2:  # nearly all are, and this is the one loop over every choice ever made
                    masses[0] += new[0]
                    masses[1] += new[1]
                else:
                    here[options] = [old + more for old, more in zip(masses, new, strict=True)]
        rows = [
            (items[prompt], part)
            for prompt, made in merged.items()
            for listed in [list(made.items())]
            for part in (listed[i : i + ROW] for i in range(0, len(listed), ROW))
        ]
        return cls._of_rows(rows)

    @classmethod
    def _of_rows(cls, rows: Sequence[tuple[Item, list[tuple[tuple[str | None, ...], list[float]]]]]) -> ChoiceTable:
        named = [sorted({t for options, _ in made for t in options if t is not None}) for _, made in rows]
        many = max(map(len, named), default=1)
        high = max((len(made) for _, made in rows), default=1)
        wide = max((len(options) for _, made in rows for options, _ in made), default=2)
        options = np.zeros((len(rows), high, wide), dtype=np.int64)
        masses = np.zeros((len(rows), high, wide))
        for row, ((_, made), texts) in enumerate(zip(rows, named, strict=True)):
            place: dict[str | None, int] = {t: i for i, t in enumerate(texts)}
            place[None] = many
            if wide == 2:
                options[row, : len(made)] = [(place[first], place[second]) for (first, second), _ in made]
                masses[row, : len(made)] = [w for _, w in made]
            else:
                options[row, : len(made)] = [[place[t] for t in o] + [-1] * (wide - len(o)) for o, _ in made]
                masses[row, : len(made)] = [w + [0.0] * (wide - len(w)) for _, w in made]
        weight = masses.sum(-1)
        target = np.divide(masses, weight[..., None], out=masses, where=weight[..., None] > 0)
        return cls(
            [item for item, _ in rows],
            [texts + [texts[0]] * (many - len(texts)) for texts in named],
            torch.from_numpy(options),
            torch.from_numpy(target).float(),
            torch.from_numpy(weight).float(),
        )

    def loss(self, scores: Tensor, rows: Tensor | slice) -> Tensor:
        """Mean negative log-likelihood of the choices in these rows, given the (rows, candidates) scores."""
        options, target, weight = self.options[rows], self.target[rows], self.weight[rows]
        padded = torch.cat([scores, scores.new_zeros(len(scores), 1)], 1)
        values = padded.gather(1, options.clamp(min=0).flatten(1)).view(options.shape)
        likely = torch.log_softmax(values.masked_fill(options < 0, -1e9), -1)
        return -((target * likely).sum(-1) * weight).sum() / weight.sum()


Masses = tuple[tuple[str | None, ...], tuple[float, ...]]
"""The options of a choice in sorted order, so that swapping what was shown changes nothing; and what each weighs."""


def _masses(said: Sequence[Choice]) -> list[Masses]:
    found = []
    for options, target, weight in said:
        if weight > 0:
            order = sorted(range(len(options)), key=lambda i: (options[i] is None, options[i] or ""))
            found.append((tuple([options[i] for i in order]), tuple([weight * target[i] for i in order])))
    return found


@lru_cache(maxsize=1 << 14)
def _ranked(texts: tuple[str, ...], tiers: tuple[tuple[int, ...], ...], tie_weight: float) -> list[Masses]:
    """Each round reads all rankings before it again, and few differ where answers come from a small set."""
    return _masses(ranked(texts, tiers, tie_weight))
