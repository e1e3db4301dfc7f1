"""The reward–result gap: what a reward model believed its agent's answers to be worth, round by round, and the truth.

A learnt reward has no zero and no unit of its own, so that both sides are told as gains over what the agent of round 0
answered to the same items. Where the belief rises while the truth falls, the reward is overoptimised (Gao et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import NamedTuple

import numpy as np

from rrm.measure import CONFIDENCE, Figure, t_interval
from rrm.records import Exam


class Point(NamedTuple):
    """One round."""

    round: int
    believed: Figure
    """How much more the reward model gives the answers than those of round 0, in its own unit."""
    true: Figure
    """How much more they are worth."""
    correlation: Figure | None
    """Of what the model says with what is true, over the answers of this round; None where either is all the same."""


class Overoptimised(NamedTuple):
    """From the round that was truly best to the last one: the belief rose, the truth fell."""

    since: int
    until: int
    believed: Figure
    true: Figure
    """Paired by item; both intervals are wide enough for the best of so many rounds having been picked."""


@dataclass(frozen=True)
class RewardGap:
    """Of one node at one seed of one arm."""

    points: Sequence[Point]
    correlation: float | None
    """Of the mean belief with the mean truth, over rounds: it says little where rounds are few."""
    over: Overoptimised | None


class _Round(NamedTuple):
    number: int
    gains: Sequence[float]
    worth: Sequence[float]
    point: Point


def reward_gap(exams: Mapping[int, Exam], truths: Mapping[int, Sequence[float | None]]) -> RewardGap | None:
    """From the exams by round, and what their answers are worth; None where no belief was recorded."""
    first = truths.get(0)
    if first is None:
        return None
    rounds = [r for n, e in sorted(exams.items()) if e.believed and (r := _round(n, e, truths[n], first))]
    if not rounds:
        return None
    points = [r.point for r in rounds]
    over = correlation([p.believed.mean for p in points], [p.true.mean for p in points])
    return RewardGap(points, None if over is None else over.mean, _overoptimised(rounds))


def _round(number: int, exam: Exam, truths: Sequence[float | None], first: Sequence[float | None]) -> _Round | None:
    """Only items whose two answers have a truth count; where any has none, rounds could not be paired: None."""
    n = len(exam.believed)
    now, then = [x for x in truths[:n] if x is not None], [x for x in first[:n] if x is not None]
    if not n or len(now) != n or len(then) != n:
        return None
    gains = [a - b for a, b in zip(exam.believed, exam.believed_first, strict=True)]
    believed, true = t_interval(gains), t_interval([a - b for a, b in zip(now, then, strict=True)])
    if believed is None or true is None:
        return None
    return _Round(number, gains, now, Point(number, believed, true, correlation(exam.believed, now)))


def correlation(xs: Sequence[float], ys: Sequence[float]) -> Figure | None:
    """Pearson's, with Fisher's interval; None of fewer than three pairs, or where one side is all the same."""
    n = len(xs)
    if n < 3 or np.ptp(xs) == 0 or np.ptp(ys) == 0:
        return None
    r = min(max(float(np.corrcoef(xs, ys)[0, 1]), -1.0), 1.0)
    if n == 3 or abs(r) == 1:
        return Figure(r, None, None, n)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) / math.sqrt(n - 3)
    return Figure(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), n)


def _overoptimised(rounds: Sequence[_Round]) -> Overoptimised | None:
    best, last = max(rounds, key=lambda r: fmean(r.worth)), rounds[-1]
    if best is last or len(best.gains) != len(last.gains):
        return None
    sure = 1 - (1 - CONFIDENCE) / (len(rounds) - 1)
    rise, fall = (
        t_interval([b - a for a, b in zip(one, other, strict=True)], sure)
        for one, other in ((best.gains, last.gains), (best.worth, last.worth))
    )
    if rise is None or fall is None or rise.low is None or fall.high is None:
        return None
    return Overoptimised(best.number, last.number, rise, fall) if rise.low > 0 > fall.high else None
