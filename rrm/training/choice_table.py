"""All choices of a level as tensors, merged by item: what the one likelihood is computed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rrm.records import Case, Item, Ranking
from rrm.roles import Judged, Task
from rrm.training.feedback import Choice, choices, ranked

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Tiers: TypeAlias = tuple[tuple[int, ...], ...]

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
        said = Said()
        for case, feedback in judged:
            if isinstance(feedback, Ranking):  # nearly all are, so they are not taken apart one by one
                said.ranking(case, feedback.tiers)
                continue
            alternatives = (task.answers(case.item) or ()) if feedback.kind == "demonstration" else ()
            moves = task.moves(case.item)
            for choice in choices(case, feedback, alternatives=alternatives, moves=moves, tie_weight=tie_weight):
                said.choice(case.item, choice)
        return cls._merged(said, *said.arrays(tie_weight))

    @classmethod
    def _merged(cls, said: Said, item: Ints, options: Ints, masses: Floats) -> ChoiceTable:
        """From (choices,) item numbers, (choices, K) numbers of texts in alphabetical order, and their weights."""
        texts, outside = sorted(said.texts), len(said.texts)
        order = np.argsort(options, axis=1, kind="stable")  # so that swapping what was shown changes nothing
        options, masses = np.take_along_axis(options, order, 1), np.take_along_axis(masses, order, 1)
        first, same = _alike(np.column_stack([item, options]), outside + 2)
        wide = options.shape[1]
        summed = [np.bincount(same, masses[:, k], len(first)) for k in range(wide)]
        item, options = item[first], options[first]
        masses = np.stack(summed, 1).astype(np.float64).reshape(-1, wide)

        place = np.arange(len(item)) - np.searchsorted(item, item)  # within its item, as items come sorted
        slot = place % ROW
        row = np.cumsum(slot == 0) - 1
        rows, high = int(row[-1]) + 1 if len(row) else 0, int(slot.max(initial=0)) + 1

        named = options < outside
        known = np.unique((row[:, None] * outside + options)[named]) if outside else np.empty(0, np.int64)
        begins = np.searchsorted(known, np.arange(rows + 1) * max(outside, 1))
        many = int(np.diff(begins).max(initial=1))
        found = np.searchsorted(known, row[:, None] * outside + options) - begins[row][:, None]
        local = np.where(named, found, np.where(options == outside, many, -1))

        table = np.zeros((rows, high, wide), dtype=np.int64)
        weighed = np.zeros((rows, high, wide))
        table[row, slot], weighed[row, slot] = local, masses
        weight = weighed.sum(-1)
        target = np.divide(weighed, weight[..., None], out=weighed, where=weight[..., None] > 0)
        shown = [[texts[k % outside] for k in known[b:e]] for b, e in pairwise(begins.tolist())]
        return cls(
            [said.items[i] for i in item[slot == 0].tolist()],
            [names + [names[0]] * (many - len(names)) for names in shown],
            torch.from_numpy(table),
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


def _alike(rows: Ints, base: int) -> tuple[Ints, Ints]:
    """Where each different row first stands, in sorted order, and which of them every row is."""
    digits = rows.shape[1] - 1
    if (int(rows[:, 0].max(initial=0)) + 1) * base**digits < 2**62:  # one number says it all, and sorts much faster
        codes = rows @ base ** np.arange(digits, -1, -1)
        _, first, same = np.unique(codes, return_index=True, return_inverse=True)
    else:
        _, first, same = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, same.ravel()


class Said:
    """Choices as they were made, items and texts numbered as they first came up."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.texts: dict[str, int] = {}
        self._place: dict[str, int] = {}
        self._rankings: dict[Tiers, tuple[list[int], list[list[int]]]] = {}
        self._others: list[tuple[int, Choice]] = []

    def ranking(self, case: Case, tiers: Tiers) -> None:
        """Rankings of one form are kept together."""
        texts = self.texts
        item, shown = self._rankings.setdefault(tiers, ([], []))
        item.append(self._number(case.item))
        row = [texts.setdefault(r.text, len(texts)) for r in case.responses]
        shown.append([row[i] for tier in tiers for i in tier])

    def choice(self, item: Item, choice: Choice) -> None:
        """A choice of any other kind."""
        if choice.weight > 0:
            for text in choice.options:
                if text is not None:
                    self.texts.setdefault(text, len(self.texts))
            self._others.append((self._number(item), choice))

    def arrays(self, tie_weight: float) -> tuple[Ints, Ints, Floats]:
        """Item, options and weights of every choice. A text's number is its place in the alphabet; after the last come
        the outside option, and the sign for no option."""
        outside = len(self.texts)
        alphabet = np.empty(outside + 2, dtype=np.int64)
        alphabet[[self.texts[t] for t in sorted(self.texts)]] = np.arange(outside)
        alphabet[outside:] = outside, outside + 1
        wide = max((len(c.options) for _, c in self._others), default=2)
        parts = [self._pairs(tiers, *said, tie_weight, wide) for tiers, said in self._rankings.items()]
        number: dict[str | None, int] = {None: outside}
        number.update(self.texts.items())
        if self._others:
            short = [wide - len(c.options) for _, c in self._others]
            options = [
                [number[t] for t in c.options] + [outside + 1] * n
                for (_, c), n in zip(self._others, short, strict=True)
            ]
            masses = [
                [c.weight * x for x in c.target] + [0.0] * n for (_, c), n in zip(self._others, short, strict=True)
            ]
            parts.append((np.array([i for i, _ in self._others]), np.array(options), np.array(masses)))
        if not parts:
            return np.empty(0, np.int64), np.empty((0, wide), np.int64), np.empty((0, wide))
        item, given, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
        return item, alphabet[given], weights

    def _pairs(
        self, tiers: Tiers, item: list[int], shown: list[list[int]], tie_weight: float, wide: int
    ) -> tuple[Ints, Ints, Floats]:
        size = sum(map(len, tiers))
        at = iter(range(size))
        made = ranked([str(i) for i in range(size)], [[next(at) for _ in tier] for tier in tiers], tie_weight)
        made = [c for c in made if c.weight > 0]
        first, second = ([int(c.options[k] or 0) for c in made] for k in (0, 1))
        options = np.full((len(item), len(made), wide), len(self.texts) + 1)
        masses = np.zeros((len(item), len(made), wide))
        texts = np.array(shown).reshape(len(item), size)
        options[:, :, 0], options[:, :, 1] = texts[:, first], texts[:, second]
        masses[:, :, :2] = [[c.weight * x for x in c.target] for c in made] if made else 0.0
        return np.repeat(item, len(made)), options.reshape(-1, wide), masses.reshape(-1, wide)

    def _number(self, item: Item) -> int:
        found = self._place.get(item.prompt)
        if found is None:
            found = self._place[item.prompt] = len(self.items)
            self.items.append(item)
        return found
