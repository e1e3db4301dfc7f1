"""Pure numbers: accuracy with intervals, what a user got right, gap recovered, error growth, calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import NormalDist, fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rrm.records import Approval, Feedback, Preference, Ranking, Rating

CONFIDENCE = 0.95
"""Every interval that `rrm` prints is a 95 % interval, unless it says that it is wider."""

MIN_GAP = 0.05
"""The least gap between the oracle arm and the unassisted one of which a recovered share is still a number: below it
the division blows the noise of a few hundred exam items up to any size."""

TEMPERATURES = (0.01, 100.0)
"""Where `calibration` looks for a temperature; a bound comes back when the best lies outside."""


class Figure(NamedTuple):
    """A number with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    """None where there is no interval: one seed and nothing else to judge the spread by."""
    n: int
    """What the interval counts as independent: items, cases, or seeds."""


class Share(Figure):
    """A part of a whole, which neither it nor its interval can leave. A worth between 0 and 1 is none."""


class Trio(NamedTuple):
    """The truths that a gap is computed from, of one seed and setting."""

    recursive: Figure
    unassisted: Figure
    oracle: Figure


class Calibration(NamedTuple):
    """How far a reward model's preferences can be taken at their word. All None: there was nothing to compare."""

    log_loss: float | None
    error: float | None
    temperature: float | None


def wilson(right: float, n: int) -> Share | None:
    """The share `right / n` with Wilson's score interval (1927), which stays inside [0, 1]; None for n = 0.

    `right` may be fractional: a tie counts one half.
    """
    if n == 0:
        return None
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is no share")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    p, shrink = right / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Share(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), n)


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Figure | None:
    """The mean of independent values with Student's t-interval; no bounds for one value, None for no values."""
    if not values:
        return None
    mean, n = fmean(values), len(values)
    if n == 1:
        return Figure(mean, None, None, 1)
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # lazily: half of a second of CPU time

    spread = float(np.std(np.asarray(values, dtype=float), ddof=1))
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * spread / math.sqrt(n)
    return Figure(mean, mean - half, mean + half, n)


def over_seeds(runs: Sequence[Figure]) -> Figure | None:
    """The mean over seeds, with its interval, which of shares stays inside [0, 1].

    Two seeds or more: Student's interval over the seeds' means, widened where the items alone leave more doubt: three
    seeds that are all 1.000 do not show that the truth is 1 exactly. One seed: that run's own interval, over its items.
    """
    if len(runs) < 2:
        return runs[0] if runs else None
    means = [run.mean for run in runs]
    bounds = [b for f in (t_interval(means), _pool(runs)) if (b := _bounds(f))]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if all(isinstance(run, Share) for run in runs):
        return Share(fmean(means), max(0.0, low), min(1.0, high), len(runs))
    return Figure(fmean(means), low, high, len(runs))


def difference(ones: Sequence[Figure], others: Sequence[Figure]) -> Figure | None:
    """How much larger `ones` are than `others`, paired by position (the same seed); None without pairs.

    Two pairs or more: Student's interval of the paired differences, never narrower than the one that the items give.
    One pair: the items' alone (of shares Newcombe 1998, method 10: the square-and-add of two Wilson intervals).
    """
    if len(ones) != len(others):
        raise ValueError(f"{len(ones)} runs cannot be paired with {len(others)}")
    paired = t_interval([a.mean - b.mean for a, b in zip(ones, others, strict=True)])
    if paired is None:
        return None
    bounds = [b for b in (_bounds(paired), _newcombe(_pool(ones), _pool(others))) if b]
    if not bounds:
        return paired
    return Figure(paired.mean, min(b[0] for b in bounds), max(b[1] for b in bounds), paired.n)


def _bounds(figure: Figure | None) -> tuple[float, float] | None:
    if figure is None or figure.low is None or figure.high is None:
        return None
    return figure.low, figure.high


def _pool(runs: Sequence[Figure]) -> Figure | None:
    """The mean with the doubt that the items of all runs leave: of shares Wilson's, of worths the square-and-add."""
    if len(runs) == 1:
        return runs[0]
    n, mean = sum(run.n for run in runs), fmean(run.mean for run in runs)
    if all(isinstance(run, Share) for run in runs):
        return wilson(mean * n, n)
    sides = [(run.mean - b[0], b[1] - run.mean) for run in runs if (b := _bounds(run))]
    if len(sides) < len(runs):
        return None
    below, above = (math.hypot(*side) / len(runs) for side in zip(*sides, strict=True))
    return Figure(mean, mean - below, mean + above, n)


def _newcombe(one: Figure | None, other: Figure | None) -> tuple[float, float] | None:
    if one is None or other is None or (a := _bounds(one)) is None or (b := _bounds(other)) is None:
        return None
    p, q = one.mean, other.mean
    return p - q - math.hypot(p - a[0], b[1] - q), p - q + math.hypot(a[1] - p, q - b[0])


def gap_recovered(recursive: float, unassisted: float, oracle: float) -> float | None:
    """The share of the gap between the same user alone and the oracle that help recovered, of one seed.

    Burns et al. 2023 call it PGR. None where the gap is under `MIN_GAP`; above 1 where help beats the oracle's labels.
    """
    gap = oracle - unassisted
    return (recursive - unassisted) / gap if gap >= MIN_GAP else None


def mean_gap(seeds: Sequence[Sequence[Trio]]) -> Figure | None:
    """The mean gap recovered, where each seed counts once, with the mean of its settings; None without any.

    Two seeds or more: Student's interval over seeds, never narrower than the one that the items give: the deviations of
    the three truths that lower the share, squared and added (Zou and Donner 2008), and those that raise it. One seed:
    no interval.
    """
    each = [[g for trio in seed if (g := gap_recovered(*(f.mean for f in trio))) is not None] for seed in seeds]
    over = t_interval([fmean(gaps) for gaps in each if gaps])
    if over is None or over.low is None or over.high is None:
        return over
    told = [trio for seed in seeds for trio in seed if gap_recovered(*(f.mean for f in trio)) is not None]
    pooled = [_pool(arm) for arm in zip(*told, strict=True)]
    deviations = [(f.mean - b[0], b[1] - f.mean) for f in pooled if f is not None and (b := _bounds(f))]
    if len(deviations) < 3:
        return over
    gap = fmean(t.oracle.mean - t.unassisted.mean for t in told)
    slopes = 1.0, over.mean - 1, -over.mean  # of gap times share, by each truth
    sides = [d if slope > 0 else d[::-1] for d, slope in zip(deviations, slopes, strict=True)]
    below, above = (math.hypot(*(s * d[i] for s, d in zip(slopes, sides, strict=True))) / gap for i in (0, 1))
    return Figure(over.mean, min(over.low, over.mean - below), max(over.high, over.mean + above), over.n)


def error_growth(node: Sequence[Figure], helpers: Sequence[Sequence[Figure]]) -> Figure | None:
    """How much larger a node's error (1 - truth) is than its worst helper's, paired by seed, as any `difference` is.

    `node[i]` and every `helpers[j][i]` are truths of seed i. A difference, for a ratio of errors near 0 says nothing.
    """
    worst = [min(below, key=lambda f: f.mean) for below in zip(*helpers, strict=True)]
    return difference(worst, node) if helpers else None


# -- the user and the reward model, held against the truth ------------------------------------------------------------


def agreement(feedback: Feedback, truths: Sequence[float | None]) -> tuple[float, int]:
    """(agreeing, asked) over the pairs of one case's responses that both the truth tells apart and the user judged.

    A tie agrees by half; a preference of .8 by .8. Of a ranking, pairs across tiers count, and ties inside a tier; but
    not inside the last of several, for "this one is best" says nothing about the rest. Other kinds of feedback judge
    no pair: (0, 0); `rated` makes pairs of ratings.
    """
    if isinstance(feedback, Preference):
        said = [(0, 1, feedback.first_better)]
    elif isinstance(feedback, Ranking):
        said = pairs_of(feedback)
    else:
        return 0.0, 0
    right, asked = 0.0, 0
    for i, j, first_better in said:
        a, b = truths[i], truths[j]
        if a is None or b is None or a == b:
            continue
        right += first_better if a > b else 1 - first_better
        asked += 1
    return right, asked


def pairs_of(ranking: Ranking) -> list[tuple[int, int, float]]:
    """(i, j, P(i is better)) of the pairs that a ranking judges: ties inside the last of several tiers are none."""
    across = [(i, j, 1.0) for above, below in combinations(ranking.tiers, 2) for i in above for j in below]
    tied = ranking.tiers[:-1] if len(ranking.tiers) > 1 else ranking.tiers
    return across + [(i, j, 0.5) for tier in tied for i, j in combinations(tier, 2)]


def rated(feedback: Feedback) -> tuple[int, float] | None:
    """(response, score) where the feedback rates or approves one response; else None."""
    if isinstance(feedback, Rating):
        return feedback.response, feedback.score
    if isinstance(feedback, Approval):
        return feedback.response, float(feedback.approved)
    return None


def rated_agreement(ratings: Iterable[tuple[float | None, float]]) -> tuple[float, int]:
    """(agreeing, asked) over pairs of one item's rated answers, given as (truth, score), that the truth tells apart."""
    right, asked = 0.0, 0
    for (a, said_a), (b, said_b) in combinations(ratings, 2):
        if a is None or b is None or a == b:
            continue
        right += 0.5 if said_a == said_b else float((said_a > said_b) == (a > b))
        asked += 1
    return right, asked


def judge_accuracy(cases: Iterable[tuple[float, int]]) -> Figure | None:
    """P(the user agrees with the truth) over all pairs of (agreeing, asked) cases; None where there are none.

    The interval counts cases, not pairs, as independent: one mark for the best of four is three pairs of one mind.
    """
    right, pairs, n = 0.0, 0, 0
    for agreeing, asked in cases:
        right, pairs, n = right + agreeing, pairs + asked, n + (asked > 0)
    return wilson(right / pairs * n, n) if pairs else None


def nearest_wrong(truths: Sequence[float | None], scores: Sequence[float]) -> float | None:
    """1 if the reward puts the true answer above the nearest wrong one, .5 for a tie, 0 if not; None if undefined.

    `truths` and `scores` run over the finite answer set. Of the wrong answers, those with the highest truth are the
    nearest; of several, the one that the reward likes best counts. Of several right ones, the one that it likes best.
    Random wrong answers would flatter: .99 beside a policy of .6 has been seen (RECIPES, pitfalls).
    """
    known = [(t, s) for t, s in zip(truths, scores, strict=True) if t is not None]
    right = [s for t, s in known if t == 1]
    wrong = [(t, s) for t, s in known if t != 1]
    if not right or not wrong:
        return None
    best, rival = max(right), max(wrong)[1]
    return 0.5 if best == rival else float(best > rival)


def majority(right_answers: Iterable[Iterable[str]]) -> str | None:
    """The answer that is right most often, given the right ones of each prompt; the first in sort order of several."""
    counts: dict[str, int] = {}
    for answers in right_answers:
        for answer in answers:
            counts[answer] = counts.get(answer, 0) + 1
    return min(counts, key=lambda a: (-counts[a], a)) if counts else None


def coverage(shown: Mapping[str, bool]) -> Figure | None:
    """The share of asked items among whose shown answers, in any round, the right one stood."""
    return wilson(sum(shown.values()), len(shown))


# -- two users held against each other --------------------------------------------------------------------------------


def kappa(said: Iterable[tuple[int, int]]) -> float | None:
    """How far two users agree beyond chance, given what each said of the same things: -1, 0 (a tie) or 1.

    Scott's pi (1955), of which Krippendorff's alpha is the form for many: chance is that two draws from what both said
    are the same. 1: always the same; 0: as chance has it; None: there is nothing to compare, or all that both ever say
    is one thing.
    """
    pairs = list(said)
    counts = Counter(mark for pair in pairs for mark in pair)
    chance = sum((n / counts.total()) ** 2 for n in counts.values())
    if len(counts) < 2:
        return None
    return (sum(a == b for a, b in pairs) / len(pairs) - chance) / (1 - chance)


# -- calibration ------------------------------------------------------------------------------------------------------


def calibration(margins: ArrayLike, outcomes: ArrayLike) -> Calibration:
    """How well reward differences predict judgements.

    `margins[i]`: reward of the first answer less that of the second, so that P(first better) = sigmoid(margin).
    `outcomes[i]` in [0, 1]: 1 if the first was preferred, .5 for a tie. Raises ValueError for anything else.

    - log_loss: the mean of -log P(what was said), in nats.
    - error: expected calibration error (Naeini et al. 2015) over ten bins of P, made symmetric: which answer stood
      first cannot matter, so P and 1 - P share a bin.
    - temperature: what margins would have to be divided by for the least log loss (Guo et al. 2017), in `TEMPERATURES`;
      None where all margins are 0, which no temperature changes.
    """
    m, y = np.asarray(margins, dtype=float), np.asarray(outcomes, dtype=float)
    if m.shape != y.shape or m.ndim != 1:
        raise ValueError(f"margins {m.shape} and outcomes {y.shape} should be two rows of one length")
    if not np.isfinite(m).all() or not ((y >= 0) & (y <= 1)).all():
        raise ValueError("margins should be finite, and outcomes between 0 and 1")
    if not m.size:
        return Calibration(None, None, None)
    y = np.where(m < 0, 1 - y, np.where(m == 0, 0.5, y))
    m = np.abs(m)
    log_loss = float(np.mean(np.logaddexp(0.0, -m) + (1 - y) * m))
    p = _sigmoid(m)
    bins = np.minimum((p * 10).astype(int), 9)
    gap = np.bincount(bins, weights=y - p, minlength=10)
    return Calibration(log_loss, float(np.abs(gap).sum() / m.size), _temperature(m, y))


def temperature_at_bound(temperature: float | None) -> int:
    """-1 where what `calibration` found is the least that it looks at, 1 where the largest, else 0."""
    if temperature is None:
        return 0
    return next((sign for sign, t in zip((-1, 1), TEMPERATURES, strict=True) if math.isclose(t, temperature)), 0)


def _temperature(m: np.ndarray, y: np.ndarray) -> float | None:
    """The loss is convex in 1 / temperature: halve the interval until its slope is 0."""
    if not m.any():
        return None
    low, high = (math.log(1 / t) for t in reversed(TEMPERATURES))
    for _ in range(60):
        middle = (low + high) / 2
        slope = float(np.mean(m * (_sigmoid(m * math.exp(middle)) - y)))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
