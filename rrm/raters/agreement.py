"""How far raters agree beyond chance: Krippendorff's alpha, with an interval over cases.

Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability" (his letters are kept: o is the matrix of coincidences,
n its margins). Raters may have judged different cases, and any number of them; who said what does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm.measure import CONFIDENCE, Figure

Scale: TypeAlias = Literal["nominal", "ordinal", "interval"]
"""What two ratings say of each other: alike or not; which is more; how much more."""

Rows: TypeAlias = NDArray[np.float64]

RESAMPLES = 2000


def alpha(
    ratings: ArrayLike | Sequence[Sequence[float | None]],
    scale: Scale = "nominal",
    *,
    groups: Sequence[int] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figure | None:
    """Krippendorff's alpha of (raters, cases) ratings, `nan` or None where a rater was not asked.

    1: they always agree; 0: as often as by chance; below: less. `n` counts the cases that two raters or more judged.
    The interval is a percentile bootstrap over cases, for cases are what agreement should carry over to; with fewer
    than two such cases there is none. Where columns are parts of cases, as the pairs of a ranking, `groups` says of
    which case each is: parts of one are drawn together, and `n` counts cases. None where nothing can be said: no case
    has two ratings, or all ratings are alike, of which chance would make the same.
    """
    units = _units(ratings)
    several = np.isfinite(units).sum(axis=0) > 1
    if not several.any():
        return None
    units = units[:, several]
    parts = _moments(units) if scale == "interval" else _coincidences(units)
    if groups is not None:
        parts = _grouped(parts, np.asarray(groups), several)
    n = len(parts)
    of = {"nominal": _nominal, "ordinal": _ordinal, "interval": _interval}[scale]
    (value,) = of(parts, np.ones((1, n)))
    if not np.isfinite(value):
        return None
    if n < 2:
        return Figure(float(value), None, None, n)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    known = (again := of(parts, drawn))[np.isfinite(again)]  # a draw without variation says nothing
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if known.size else (value, value)
    return Figure(float(value), float(min(low, value)), float(max(high, value)), n)


def _grouped(parts: Rows, groups: NDArray[np.int64], several: NDArray[np.bool_]) -> Rows:
    """What the columns of each group come to: all that alpha is made of adds up. Raises ValueError if they differ."""
    if groups.shape != several.shape:
        raise ValueError(f"groups should be one for each of the {len(several)} columns, and are {groups.shape}")
    _, group = np.unique(groups[several], return_inverse=True)
    total = np.zeros((int(group.max()) + 1, *parts.shape[1:]))
    np.add.at(total, group, parts)
    return total


def _units(ratings: ArrayLike | Sequence[Sequence[float | None]]) -> Rows:
    """Raises ValueError for what is not one row a rater, all of one length."""
    try:
        units = np.asarray(ratings, dtype=float)
    except (TypeError, ValueError):
        raise ValueError("ratings should be rows of numbers of one length, a row for each rater") from None
    if units.ndim != 2:
        raise ValueError(f"ratings should be (raters, cases), and these are of shape {units.shape}")
    return units


def _coincidences(units: Rows) -> Rows:
    """(cases, values, values) of how many pairs of ratings a case has of two values, each rating counting once."""
    values = np.unique(units[np.isfinite(units)])
    counts = np.stack([(units == v).sum(axis=0) for v in values], axis=1).astype(float)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(len(values)), np.arange(len(values))] -= counts
    return np.asarray(pairs / (counts.sum(axis=1) - 1)[:, None, None])


def _summed(o: Rows, weights: Rows) -> tuple[Rows, Rows]:
    """(draws, values, values) coincidences of the cases drawn, and their margins."""
    total = (weights @ o.reshape(len(o), -1)).reshape(len(weights), *o.shape[1:])
    return total, total.sum(axis=2)


def _nominal(o: Rows, weights: Rows) -> Rows:
    total, n = _summed(o, weights)
    observed = total.sum(axis=(1, 2)) - np.einsum("dvv->d", total)
    return _one_minus(observed, n.sum(axis=1) ** 2 - (n**2).sum(axis=1), n.sum(axis=1))


def _ordinal(o: Rows, weights: Rows) -> Rows:
    total, n = _summed(o, weights)
    rank = n.cumsum(axis=1) - n / 2  # the distance of two values is how many ratings lie between their middles
    far = (rank[:, :, None] - rank[:, None, :]) ** 2
    return _one_minus((total * far).sum(axis=(1, 2)), (n[:, :, None] * n[:, None, :] * far).sum(axis=(1, 2)), n.sum(1))


def _moments(units: Rows) -> Rows:
    """(cases, 4): ratings, their sum, the sum of their squares, and that of the squared distances of pairs; values may
    be as many as there are ratings, so that a matrix of values by values would be too large."""
    m = np.isfinite(units).sum(axis=0)
    units = units - np.nanmean(units)  # for the sake of digits
    first, second = np.nansum(units, axis=0), np.nansum(units**2, axis=0)
    return np.stack([m, first, second, 2 * (m * second - first**2) / (m - 1)], axis=1)


def _interval(parts: Rows, weights: Rows) -> Rows:
    n, first, second, observed = (weights @ parts).T
    return _one_minus(observed, 2 * (n * second - first**2), n)


def _one_minus(observed: Rows, expected: Rows, n: Rows) -> Rows:
    """1 - D_o / D_e, both over as many pairs; nan where nothing varies."""
    there = expected > 1e-12 * n**2
    return np.asarray(np.where(there, 1 - (n - 1) * observed / np.where(there, expected, 1.0), np.nan))
