"""What a verdict says, as numbers on which raters may agree or not: one for each thing that it speaks of."""

from __future__ import annotations

from rrm.measure import pairs_of
from rrm.records import ActionValues, Advantages, Approval, Feedback, Mask, Preference, Ranking, Rating, StepLabels


def opinions(feedback: Feedback) -> dict[str, float]:
    """By what is spoken of, a number from 0 to 1: how sure the first of two answers is better, how good an answer is,
    or a step. Words, and who cannot tell, say nothing of the kind."""
    match feedback:
        case Preference(first_better=p):
            return {"0>1": p}
        case Ranking():
            pairs = ((min(i, j), max(i, j), p if i < j else 1 - p) for i, j, p in pairs_of(feedback))
            return {f"{i}>{j}": p for i, j, p in pairs}
        case Rating(response=at, score=score):
            return {f"{at}": score}
        case Approval(response=at, approved=approved):
            return {f"{at}": float(approved)}
        case StepLabels(labels=labels):
            return {f"step {t}": float(label) for t, label in enumerate(labels) if label is not None}
        case ActionValues(values=values) | Advantages(values=values):
            return {f"step {t}": 0.5 + 0.5 * ((v > 0) - (v < 0)) for t, v in enumerate(values) if v is not None}
        case Mask(marks=marks):
            return {f"part {t}": float(mark) for t, mark in enumerate(marks) if mark is not None}
    return {}
