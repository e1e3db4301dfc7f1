"""What a trial found: accuracy by arm, what help was worth, whom it misled, how sure people were, and their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm.measure import CONFIDENCE, Figure, Share, wilson
from rrm.trial.judgements import Judgements
from rrm.trial.mixed import contrast, mean, share, uplift

Floats = NDArray[np.float64]

BINS = 10
RESAMPLES = 1000


class Turned(NamedTuple):
    """Judgements of the same case by two raters, one in each arm: how often the two are not alike, and which way.

    Two raters differ without any help too: `by_chance` is how often two of the control arm do, each way. What is above
    it is the doing of help: mended where the helped one is right, spoiled (overreliance) where the other is.
    """

    mended: Figure
    spoiled: Figure
    """Both of so many cases that were judged in both arms."""
    by_chance: Figure | None
    """Of those that two raters of the control arm judged. None: there is no such case."""


class ArmResult(NamedTuple):
    """One arm of a trial. What was not measured is None."""

    name: str
    judgements: int
    raters: int
    cases: int
    accuracy: Share | None
    """The share that is as the truth has it; who cannot tell counts for a half."""
    uplift: Figure | None
    """How much more than in the control arm: with intervals that hold for other raters and cases of the kind."""
    abstained: Share | None
    seconds: float | None
    """The median of a judgement."""
    slower: Figure | None
    """How many times as long a judgement takes as in the control arm: a ratio of geometric means."""
    opened: Figure | None
    """Share of the exhibits shown that were opened."""
    confidence: Figure | None
    overconfidence: Figure | None
    """Mean confidence less accuracy, over judgements of which the rater said how sure they were."""
    calibration_error: float | None
    """Expected calibration error over ten bins of confidence. Of few judgements it is never 0."""
    turned: Turned | None
    help_right: Share | None
    """Accuracy where the truth confirms all exhibits that were shown."""
    help_wrong: Share | None
    """Accuracy where it does not confirm some: the reliance that nobody wants."""


class TrialResult(NamedTuple):
    """The arms of a trial, each held against its control arm."""

    arms: list[ArmResult]
    notes: list[str]
    """What a reader should know before trusting the figures."""


def analyse(judged: Judgements, names: Sequence[str], *, control: Sequence[int] | None = None) -> TrialResult:
    """All figures of a trial. `names[a]` names arm a; `control[a]` is the arm that it is held against, which for a
    control arm is itself (default: the first for all)."""
    against = list(control) if control is not None else [0] * len(names)
    arms = [_arm(judged, names[a], a, against[a]) for a in range(len(names))]
    return TrialResult(arms, _notes(judged))


def _arm(judged: Judgements, name: str, arm: int, control: int) -> ArmResult:
    own = judged.only(judged.arm == arm)
    both = judged.only((judged.arm == arm) | (judged.arm == control))
    helped, other = both.arm == arm, arm != control
    timed, sure = own.only(np.isfinite(own.seconds)), own.only(np.isfinite(own.confidence))
    clear, wrong = own.only(own.helped_right == 1), own.only(own.helped_right < 1)
    known = own.abstained[np.isfinite(own.abstained)]
    return ArmResult(
        name=name,
        judgements=len(own),
        raters=len(np.unique(own.rater)),
        cases=len(np.unique(own.case)),
        accuracy=share(own.right, own.rater, own.case),
        uplift=uplift(both.right, helped, both.rater, both.case) if other else None,
        abstained=wilson(float(known.sum()), len(known)),
        seconds=float(np.median(timed.seconds)) if len(timed) else None,
        slower=_slower(both, arm) if other else None,
        opened=_mean_of(own, own.opened),
        confidence=_mean_of(own, own.confidence),
        overconfidence=mean(sure.confidence - sure.right, sure.rater, sure.case),
        calibration_error=calibration_error(sure.confidence, sure.right),
        turned=turned(both, helped) if other else None,
        help_right=share(clear.right, clear.rater, clear.case),
        help_wrong=share(wrong.right, wrong.rater, wrong.case),
    )


def _mean_of(judged: Judgements, column: Floats) -> Figure | None:
    there = np.isfinite(column)
    return mean(column[there], judged.rater[there], judged.case[there])


def _slower(both: Judgements, arm: int) -> Figure | None:
    timed = both.only(np.isfinite(both.seconds) & (both.seconds > 0))
    found = contrast(np.log(timed.seconds), timed.arm == arm, timed.rater, timed.case)
    if found is None:
        return None
    low, high = (None if b is None else float(np.exp(min(b, 50.0))) for b in (found.low, found.high))
    return Figure(float(np.exp(found.mean)), low, high, found.n)


def calibration_error(confidence: Floats, right: Floats) -> float | None:
    """The mean distance of confidence from accuracy over ten bins (Naeini et al. 2015); None without any."""
    if not len(confidence):
        return None
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, weights=right - confidence, minlength=BINS)).sum() / len(confidence))


def turned(both: Judgements, helped: NDArray[np.bool_], *, seed: int = 0) -> Turned | None:
    """How judgements of the same case differ between two arms; None where no case was judged in both.

    Intervals by the pigeonhole bootstrap (Owen 2007): raters and cases are drawn again, each for themselves.
    """
    if not helped.any() or helped.all():
        return None
    raters, cases = int(both.rater.max()) + 1, int(both.case.max()) + 1
    rng = np.random.default_rng(seed)
    draws = [_turns(both, helped, np.ones(len(both)), cases)]
    there = [np.unique(both.rater), np.unique(both.case)]
    for _again in range(RESAMPLES):
        weights = []
        for ids, size in zip(there, (raters, cases), strict=True):
            weights.append(np.bincount(rng.choice(ids, len(ids)), minlength=size).astype(float))
        draws.append(_turns(both, helped, weights[0][both.rater] * weights[1][both.case], cases))
    if not np.isfinite(draws[0][0]):
        return None
    alone, aided = (np.bincount(both.case[rows], minlength=cases) for rows in (~helped, helped))
    matched, twice = int(((alone > 0) & (aided > 0)).sum()), int((alone > 1).sum())
    counts = matched, matched, twice
    mended, spoiled, chance = (_figure(np.array(c), n) for c, n in zip(zip(*draws, strict=True), counts, strict=True))
    if mended is None or spoiled is None:
        return None
    return Turned(mended, spoiled, chance)


def _turns(both: Judgements, helped: NDArray[np.bool_], weight: Floats, cases: int) -> tuple[float, float, float]:
    """(mended, spoiled, by chance) as shares of the pairs of judgements."""

    def summed(rows: NDArray[np.bool_], values: Floats) -> Floats:
        return np.bincount(both.case[rows], weights=(weight * values)[rows], minlength=cases).astype(float)

    good, bad = both.right, 1 - both.right
    alone, alone_right = summed(~helped, np.ones(len(both))), summed(~helped, good)
    aided, aided_right = summed(helped, np.ones(len(both))), summed(helped, good)
    pairs = float(alone @ aided)
    if not pairs:
        return np.nan, np.nan, np.nan
    mended, spoiled = (alone - alone_right) @ aided_right / pairs, alone_right @ (aided - aided_right) / pairs
    # of two different judgements of the control arm; a judgement drawn twice is not a pair of two raters
    same = np.bincount(both.case[~helped], weights=(weight**2)[~helped], minlength=cases)
    itself = np.bincount(both.case[~helped], weights=(weight**2 * good * bad)[~helped], minlength=cases)
    others = float((alone**2 - same).sum())
    chance = float((alone_right * (alone - alone_right) - itself).sum()) / others if others > 0 else np.nan
    return float(mended), float(spoiled), chance


def _figure(values: Floats, n: int) -> Figure | None:
    """The first value, with the interval that the others span."""
    again = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]):
        return None
    if not again.size:
        return Figure(float(values[0]), None, None, n)
    low, high = np.quantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(float(values[0]), float(min(low, values[0])), float(max(high, values[0])), n)


def _notes(judged: Judgements) -> list[str]:
    raters, cases = len(np.unique(judged.rater)), len(np.unique(judged.case))
    notes = []
    if not len(judged):
        return ["Nothing can be said: of no judged pair of answers the truth makes one better than the other."]
    if raters < 2:
        notes.append("One rater: the intervals say what this person would do on other cases, and nothing of others.")
    elif raters < 5:
        notes.append(f"{raters} raters are few to speak of people in general: the intervals are wide for that reason.")
    if 1 < cases < 10:
        notes.append(f"{cases} different cases are few: the intervals are wide for that reason.")
    return notes
