"""Simulated people with planted effects: to test a trial's analysis, and its size, against what is known to be so.

A person is right where a latent value is above 0 (a probit model with crossed random effects): the person's skill, the
case's difficulty, what help adds, and how much more or less than that it adds to this person and on this case. Effects
are given in points of accuracy, as a researcher thinks of them, and hold exactly, over all people and cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm.trial.design import Assigned
from rrm.trial.judgements import Judgements

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class Latent(NamedTuple):
    """The same in the units of the latent value, in which noise has variance 1."""

    control: float
    helped: float
    skill: float
    difficulty: float
    help_by_rater: float
    help_by_case: float


@dataclass(frozen=True)
class People:
    """What is planted. All are shares, so that .12 is 12 points."""

    baseline: float = 0.65
    """How often they are right alone."""
    uplift: float = 0.12
    """How much oftener with help."""
    rater_sd: float = 0.06
    """How far people differ in that, alone (a standard deviation over people)."""
    case_sd: float = 0.15
    """How far cases differ."""
    uplift_rater_sd: float = 0.05
    """How far people differ in what help gives them. Never less than comes of the skilled having less to gain."""
    uplift_case_sd: float = 0.10
    """How far cases do."""
    trust: float = 1.0
    """How sure they feel against how sure they could be: above 1, too sure."""

    @cached_property
    def latent(self) -> Latent:
        """Exact: what two judgements of one person have in common is a correlation of two latent values."""
        z0, z1 = _quantile(self.baseline), _quantile(self.baseline + self.uplift)
        shared = [_solve(lambda c: _both(z0, z0, c) - self.baseline**2, sd**2) for sd in (self.rater_sd, self.case_sd)]
        if sum(shared) >= 0.98:
            raise ValueError(f"people and cases cannot differ so much at a baseline of {self.baseline}: lower both")
        whole = 1 / (1 - sum(shared))
        skill, difficulty = (whole * c for c in shared)
        slopes = [0.0, 0.0]
        for _turn in range(12):  # each changes the whole a little, and with it the other
            for place, (own, sd) in enumerate(((skill, self.uplift_rater_sd), (difficulty, self.uplift_case_sd))):

                def variance(slope: float, own: float = own, place: int = place) -> float:
                    helped = whole + slope + slopes[1 - place]
                    alone = _both(z0, z0, own / whole) - self.baseline**2
                    with_help = _both(z1, z1, (own + slope) / helped) - (self.baseline + self.uplift) ** 2
                    across = _both(z0, z1, own / np.sqrt(whole * helped)) - self.baseline * (
                        self.baseline + self.uplift
                    )
                    return alone + with_help - 2 * across

                slopes[place] = _solve(variance, sd**2, most=8.0)
        helped = whole + sum(slopes)
        return Latent(
            z0 * np.sqrt(whole), z1 * np.sqrt(helped), *(float(np.sqrt(v)) for v in (skill, difficulty, *slopes))
        )

    def judge(self, design: Sequence[Assigned], *, control: int = 0, seed: int = 0) -> Judgements:
        """What they make of a trial: in arm `control` alone, in all others helped."""
        rng, latent = np.random.default_rng(seed), self.latent
        rater, case, arm = (np.array([getattr(a, n) for a in design], dtype=np.int64) for n in ("rater", "case", "arm"))
        raters, cases = int(rater.max()) + 1, int(case.max()) + 1
        helped = arm != control
        felt = np.where(helped, latent.helped, latent.control)
        felt = felt + (latent.skill * rng.standard_normal(raters))[rater]
        felt = felt + (latent.difficulty * rng.standard_normal(cases))[case]
        felt = felt + helped * (latent.help_by_rater * rng.standard_normal(raters))[rater]
        felt = felt + helped * (latent.help_by_case * rng.standard_normal(cases))[case]
        right = (felt + rng.standard_normal(len(felt)) > 0).astype(float)
        pace = np.exp(0.3 * rng.standard_normal(raters))[rater]
        return Judgements(
            rater=rater,
            case=case,
            arm=arm,
            right=right,
            abstained=np.zeros(len(right)),
            seconds=pace * np.exp(3 + 0.25 * helped + 0.5 * rng.standard_normal(len(right))),
            confidence=_normal(np.abs(self.trust * felt)),
            opened=np.where(helped, (rng.random(len(right)) < 0.7).astype(float), np.nan),
        )


def _normal(x: Floats) -> Floats:
    from scipy.special import ndtr  # type: ignore[import-untyped]

    return np.asarray(ndtr(x))


def _quantile(p: float) -> float:
    from scipy.special import ndtri

    if not 0.01 <= p <= 0.99:
        raise ValueError(f"an accuracy of {p} leaves no room: write one between .01 and .99, with help too")
    return float(ndtri(p))


def _both(a: float, b: float, shared: float) -> float:
    """P(X < a and Y < b) of two standard normal values with a correlation of 0 to 1."""
    x, rest = np.sqrt(shared) * _NODES, np.sqrt(max(1 - shared, 1e-9))
    return float((_normal((a - x) / rest) * _normal((b - x) / rest)) @ _WEIGHTS)


def _solve(rising: Callable[[float], float], wanted: float, most: float = 0.98) -> float:
    """Where a function that rises from 0 on reaches what is wanted; 0 if it is above that already."""
    low, high = 0.0, most
    if rising(low) >= wanted:
        return 0.0
    for _turn in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
