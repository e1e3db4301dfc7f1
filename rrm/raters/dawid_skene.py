"""What several fallible raters together say of each case, and how good each of them is.

Dawid & Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", with a prior on each
rater's errors, without which a rater of five cases would be perfect or worthless.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm.measure import Share, wilson

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Crowd(NamedTuple):
    """What is believed of cases and raters."""

    posterior: Floats
    """(cases, classes) probability of each class; of a case that nobody judged, how common the classes are."""
    confusion: Floats
    """(raters, classes, classes): how probably a rater says the second where the first is right."""
    prevalence: Floats
    """(classes,) how common each class is."""
    accuracy: list[Share | None]
    """By rater, the share of judgements that are probably right. What they rest on is as sure as the crowd is: with no
    overlap between raters it says no more than the prior. None: the rater judged nothing."""
    weights: Floats
    """By rater, what a judgement should count for, at least 0: log odds of being right over those of a guess."""
    log_likelihood: float
    rounds: int
    converged: bool


def dawid_skene(
    cases: ArrayLike,
    raters: ArrayLike,
    labels: ArrayLike,
    *,
    classes: int | None = None,
    right: float = 4.0,
    wrong: float = 1.0,
    most: int = 500,
    tolerance: float = 1e-7,
) -> Crowd:
    """Fit to judgements given as three rows of whole numbers from 0: the case, the rater, what was said of it.

    `right` and `wrong` are what the prior adds to a rater's count of right answers, and to that of all wrong ones
    together: a rater of whom nothing is known is right in `right / (right + wrong)` of the cases, and better than a
    guess, which keeps the classes from being swapped. Raises ValueError for rows that do not fit.
    """
    case, rater, label = (_whole(x, name) for x, name in ((cases, "cases"), (raters, "raters"), (labels, "labels")))
    if not len(case) == len(rater) == len(label):
        raise ValueError(f"{len(case)} cases, {len(rater)} raters and {len(label)} labels should be as many")
    if not len(case):
        raise ValueError("there is no judgement to learn from")
    k = max(int(label.max()) + 1, classes or 2)
    if classes is not None and k > classes:
        raise ValueError(f"label {int(label.max())} is none of {classes} classes, which are counted from 0")
    if right <= 0 or wrong <= 0:
        raise ValueError("the prior's counts are above 0")
    prior = np.full((k, k), wrong / (k - 1)) + np.eye(k) * (right - wrong / (k - 1))
    said = np.zeros((len(case), k))
    said[np.arange(len(case)), label] = 1
    many = int(case.max()) + 1, int(rater.max()) + 1
    told = np.bincount(case, minlength=many[0]) > 0
    posterior = _added(case, said, many[0]) + 1 / k  # the first guess is the vote
    posterior /= posterior.sum(axis=1, keepdims=True)
    before, rounds, settled = -np.inf, 0, False
    while rounds < most and not settled:
        rounds += 1
        prevalence, confusion = _maximise(posterior, told, case, rater, said, prior, many[1])
        posterior, fit = _expect(prevalence, confusion, told, case, rater, label)
        aim = fit + float((prior * np.log(confusion)).sum()) + float(np.log(prevalence).sum())
        before, settled = aim, aim - before < tolerance * (1 + abs(aim))
    hits = posterior[case, label]
    judged, good = np.bincount(rater, minlength=many[1]), np.bincount(rater, weights=hits, minlength=many[1])
    share = (good + right) / (judged + right + wrong)
    return Crowd(
        posterior=posterior,
        confusion=confusion,
        prevalence=prevalence,
        accuracy=[wilson(min(float(g), float(n)), int(n)) for g, n in zip(good, judged, strict=True)],
        weights=np.maximum(np.log(share * (k - 1) / (1 - share)), 0.0),
        log_likelihood=fit,
        rounds=rounds,
        converged=settled,
    )


def _maximise(
    posterior: Floats, told: NDArray[np.bool_], case: Rows, rater: Rows, said: Floats, prior: Floats, raters: int
) -> tuple[Floats, Floats]:
    """How common classes are, and what raters say of each, given what is believed of the cases."""
    prevalence = posterior[told].sum(axis=0) + 1
    confusion = _added(rater, posterior[case][:, :, None] * said[:, None, :], raters) + prior
    return prevalence / prevalence.sum(), confusion / confusion.sum(axis=2, keepdims=True)


def _expect(
    prevalence: Floats, confusion: Floats, told: NDArray[np.bool_], case: Rows, rater: Rows, label: Rows
) -> tuple[Floats, float]:
    """What is believed of the cases, given that; and the log-likelihood of all that was said."""
    logs = np.log(prevalence) + _added(case, np.log(confusion)[rater, :, label], len(told))
    top = logs.max(axis=1, keepdims=True)
    each = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
    return np.exp(logs - each[:, None]), float(each[told].sum())


def _whole(values: ArrayLike, name: str) -> Rows:
    row = np.asarray(values)
    if row.ndim != 1 or (row.size and (not np.issubdtype(row.dtype, np.integer) or row.min() < 0)):
        raise ValueError(f"{name} should be one row of whole numbers from 0")
    return row.astype(np.int64)


def _added(place: Rows, rows: Floats, size: int) -> Floats:
    """Rows summed by place."""
    total = np.zeros((size, *rows.shape[1:]))
    np.add.at(total, place, rows)
    return total
