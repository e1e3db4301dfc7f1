"""All choices of a level as tensors, merged by item: what the one likelihood is computed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rrm.records import Item
from rrm.roles import Judged, Task
from rrm.training.feedback import Choice, choices

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
            alternatives = (task.answers(case.item) or ()) if feedback.kind == "demonstration" else ()
            said = choices(case, feedback, alternatives=alternatives, tie_weight=tie_weight)
            found = [choice for choice in said if choice.weight > 0]
            if not any(choice.weight > 0 for choice in found):
                continue
            here = merged.setdefault(case.item.prompt, {})
            items.setdefault(case.item.prompt, case.item)
            for choice in found:
                if choice.weight > 0:
                    _add(here, choice)
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
        options, target, weight = [], [], []
        for (_, made), texts in zip(rows, named, strict=True):
            place: dict[str | None, int] = {t: i for i, t in enumerate(texts)}
            place[None] = many
            option_rows = [[place[t] for t in o] + [-1] * (wide - len(o)) for o, _ in made]
            totals = [sum(w) for _, w in made]
            target_rows = [[x / s for x in w] + [0.0] * (wide - len(w)) for (_, w), s in zip(made, totals, strict=True)]
            short = high - len(made)
            options.append(option_rows + [[0] * wide] * short)
            target.append(target_rows + [[0.0] * wide] * short)
            weight.append(totals + [0.0] * short)
        return cls(
            [item for item, _ in rows],
            [texts + [texts[0]] * (many - len(texts)) for texts in named],
            torch.tensor(options, dtype=torch.long).view(len(rows), high, wide),
            torch.tensor(target).view(len(rows), high, wide),
            torch.tensor(weight).view(len(rows), high),
        )

    def loss(self, scores: Tensor, rows: Tensor | slice) -> Tensor:
        """Mean negative log-likelihood of the choices in these rows, given the (rows, candidates) scores."""
        options, target, weight = self.options[rows], self.target[rows], self.weight[rows]
        padded = torch.cat([scores, scores.new_zeros(len(scores), 1)], 1)
        values = padded.gather(1, options.clamp(min=0).flatten(1)).view(options.shape)
        likely = torch.log_softmax(values.masked_fill(options < 0, -1e9), -1)
        return -((target * likely).sum(-1) * weight).sum() / weight.sum()


def _add(made: dict[tuple[str | None, ...], list[float]], choice: Choice) -> None:
    """Add a choice under its options in sorted order, so that swapping what was shown changes nothing."""
    options, target = choice.options, choice.target
    if len(options) == 2:  # nearly all are, and this is the one loop over every choice ever made
        first, second = options
        if second is not None and (first is None or first > second):
            options, target = (second, first), (target[1], target[0])
    else:
        order = sorted(range(len(options)), key=lambda i: (options[i] is None, options[i] or ""))
        options, target = tuple(options[i] for i in order), tuple(target[i] for i in order)
    masses = made.get(options)
    if masses is None:
        masses = made[options] = [0.0] * len(options)
    for at, likely in enumerate(target):
        masses[at] += choice.weight * likely
