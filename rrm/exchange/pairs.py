"""Judgements as pairs of a chosen and a rejected answer, the form in which others train on preferences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from rrm.records import Case, Correction, Feedback, Preference, Ranking

PAIR = ("prompt", "chosen", "rejected")
"""The columns of a preference data set with explicit prompts, as TRL's trainers name them."""


class Pair(NamedTuple):
    """One answer above another."""

    prompt: str
    chosen: str
    rejected: str


def pairs(judged: Iterable[tuple[Case, Feedback]], left_out: Counter[str]) -> Iterator[Pair]:
    """The pairs that preferences, rankings (each better with each worse) and corrections stand for.

    What makes none is counted in `left_out`, by what it was: "tie", "abstention", or another kind of feedback.
    """
    for case, feedback in judged:
        found = [pair for pair in _pairs(case, feedback) if pair.chosen != pair.rejected]
        yield from found
        if not found:
            compares = isinstance(feedback, Preference | Ranking | Correction)
            left_out["tie" if compares else feedback.kind] += 1


def _pairs(case: Case, feedback: Feedback) -> list[Pair]:
    prompt, texts = case.item.prompt, [r.text for r in case.responses]
    match feedback:
        case Preference(first_better=p) if p != 0.5 and len(texts) == 2:
            return [Pair(prompt, *(texts if p > 0.5 else texts[::-1]))]
        case Ranking(tiers=tiers):
            above = combinations(tiers, 2)
            return [Pair(prompt, texts[i], texts[j]) for high, low in above for i in high for j in low]
        case Correction(text=mended, response=at):
            return [Pair(prompt, mended, texts[at])]
    return []
