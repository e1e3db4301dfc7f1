"""How large a trial has to be: the power to see an uplift, before anybody is asked.

The uplift of a balanced trial of R raters and I cases has the variance 2 e / m + r / R + c / I: e is what is left of a
judgement's variance when rater and case are known, m the judgements of an arm, r and c the variances of the uplift
itself over raters and over cases. (How far these differ without help cancels, for all arms have all of them.)
`python -m benchmarks.trials --power` holds it against simulated trials.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import NamedTuple

from rrm.measure import CONFIDENCE
from rrm.trial.people import People

WANTED = 0.8
"""The power that is usually asked for: four of five such trials see the uplift."""

MOST = 100_000
"""Cases a rater; more are not thought of."""


class Size(NamedTuple):
    """How much is asked of whom."""

    raters: int
    cases: int
    """By each rater."""
    of: int
    """Different cases in all."""
    arms: int = 2

    @property
    def judgements(self) -> int:
        """Of all raters, in all arms."""
        return self.raters * self.cases


def power(people: People, size: Size) -> float:
    """The probability that a 95 % interval of the uplift leaves out 0."""
    from scipy.special import nctdtr, stdtrit  # type: ignore[import-untyped]

    known = _spread(people, size)
    if known is None:
        return 0.0
    spread, estimate, freedom = known
    edge, shift = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * estimate / spread, abs(people.uplift) / spread
    if shift > 30:  # where the distribution's series fails, and there is no doubt
        return 1.0
    return float(1 - nctdtr(freedom, shift, edge) + nctdtr(freedom, shift, -edge))


def half_width(people: People, size: Size) -> float | None:
    """Half of the expected length of the interval; None where a trial is too small to have one."""
    from scipy.special import stdtrit

    known = _spread(people, size)
    return None if known is None else float(stdtrit(known[2], (1 + CONFIDENCE) / 2)) * known[1]


def needed(people: People, size: Size, *, wanted: float = WANTED) -> Size | None:
    """The fewest cases by each of these raters that give the power; different cases grow with them.

    None: no number does, for the raters differ too much among themselves, or are too few.
    """

    def sized(cases: int) -> Size:
        return size._replace(cases=cases, of=max(cases, round(cases * size.of / size.cases)))

    low, high = 1, size.arms
    while power(people, sized(high)) < wanted:
        low, high = high, high * 2
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(people, sized(middle)) >= wanted else (middle, high)
    return sized(high)


def raters_needed(people: People, size: Size, *, wanted: float = WANTED, most: int = 2000) -> Size | None:
    """The fewest raters that give the power, each of whom judges as many cases as now, of the same ones."""
    for raters in range(2, most):
        if power(people, size._replace(raters=raters)) >= wanted:
            return size._replace(raters=raters)
    return None


def detectable(people: People, size: Size, *, wanted: float = WANTED) -> float | None:
    """The least uplift that such a trial would see with that power; None: none that there is room for."""
    low, high = 0.0, 0.98 - people.baseline
    if high <= 0 or power(replace(people, uplift=high), size) < wanted:
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(replace(people, uplift=middle), size) >= wanted else (middle, high)
    return high


def _spread(people: People, size: Size) -> tuple[float, float, float] | None:
    """The uplift's standard error, what it will be taken for on average, and the degrees of freedom of that
    (Satterthwaite 1946, of mean squares). It is taken for more, because no variance is estimated below 0."""
    by_arm = size.judgements / size.arms
    if size.raters < 2 or size.cases < size.arms or size.of < 2:
        return None
    # of a case that is judged in one of the two arms alone, how easy it is does not cancel
    crossed = min(1.0, max(size.judgements / size.of - 1, 0.0) / (size.arms - 1))
    noise = 2 * (1 - crossed) * people.case_sd**2
    for p, rater, case in (
        (people.baseline, people.rater_sd, people.case_sd),
        (people.baseline + people.uplift, *_helped(people)),
    ):
        noise += max(p * (1 - p) - rater**2 - case**2, 0.01)
    each = noise / by_arm
    parts = [people.uplift_rater_sd**2 / size.raters, people.uplift_case_sd**2 / size.of]
    whole = each + sum(parts)
    taken = each + sum(
        _above_zero(part, (each + part) * math.sqrt(2 / (many - 1)))
        for part, many in zip(parts, (size.raters, size.of), strict=True)
    )
    left = max(2 * by_arm - size.raters - crossed * size.of, 1)
    squares = zip((each + parts[0], each + parts[1], each), (size.raters - 1, size.of - 1, left), strict=True)
    return math.sqrt(whole), math.sqrt(taken), max(whole**2 / sum(s**2 / many for s, many in squares), 1.0)


def _above_zero(mean: float, sd: float) -> float:
    """The mean of a normal value that is cut off at 0."""
    z = NormalDist()
    return mean * z.cdf(mean / sd) + sd * z.pdf(mean / sd)


def _helped(people: People) -> tuple[float, float]:
    return math.hypot(people.rater_sd, people.uplift_rater_sd), math.hypot(people.case_sd, people.uplift_case_sd)
