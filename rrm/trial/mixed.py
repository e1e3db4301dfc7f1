"""A mean, or a difference of two, with an interval that holds for other raters and other cases too.

Judgements of one rater are alike, and so are judgements of one case: a linear mixed model with crossed random effects
(Baayen, Davidson & Bates 2008), fitted by restricted maximum likelihood. What differs between two arms may itself
differ by rater and by case, and has a random effect for each: without them an interval is too narrow (Barr et al. 2013;
docs/trials.md has our figures). Degrees of freedom after Satterthwaite (1946), as in Kuznetsova et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rrm.measure import CONFIDENCE, Figure, Share, difference, wilson

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_STEP = 1e-2
"""Of a variance, by how much it is moved to see how the likelihood bends."""


def mean(values: Floats, rater: Whole, case: Whole) -> Figure | None:
    """The mean over all raters and cases; None without values."""
    if not len(values):
        return None
    model = _Model(values, np.ones((len(values), 1)), _effects(rater, case))
    return model.figure()


def share(values: Floats, rater: Whole, case: Whole) -> Share | None:
    """The same of values between 0 and 1, which neither it nor its interval leaves."""
    found, plain = mean(values, rater, case), wilson(float(values.sum()), len(values))
    if found is None or plain is None:
        return None
    low, high = plain.low, plain.high
    if found.low is not None and found.high is not None and np.ptp(values) > 0:
        low, high = max(min(found.low, plain.mean), 0.0), min(max(found.high, plain.mean), 1.0)
    return Share(plain.mean, low, high, len(values))


def uplift(right: Floats, helped: NDArray[np.bool_], rater: Whole, case: Whole) -> Figure | None:
    """How much larger the mean is where `helped`; None if either side is empty.

    Where all of a side are alike, its spread is not 0 but unknown, and the interval is not narrower than that of two
    shares of independent judgements (Newcombe 1998).
    """
    found = contrast(right, helped, rater, case)
    if found is None or found.low is None or found.high is None:
        return found
    low, high = found.low, found.high
    sides = [right[helped], right[~helped]]
    if any(np.ptp(side) == 0 for side in sides):
        shares = [s for s in (wilson(float(side.sum()), len(side)) for side in sides) if s]
        plain = difference(shares[:1], shares[1:])
        if plain and plain.low is not None and plain.high is not None:
            low, high = min(low, plain.low), max(high, plain.high)
    return found._replace(low=max(low, -1.0), high=min(high, 1.0))


def contrast(values: Floats, helped: NDArray[np.bool_], rater: Whole, case: Whole) -> Figure | None:
    """The same of values of any scale."""
    if not helped.any() or helped.all():
        return None
    x = np.where(helped, 0.5, -0.5)
    both = [_indicators(rater), _indicators(case)]
    effects = [e for e in (*both, *(e * x[:, None] for e in both)) if e.shape[1] > 1]
    return _Model(values, np.stack([np.ones(len(values)), x], axis=1), effects).figure()


def _effects(rater: Whole, case: Whole) -> list[Floats]:
    return [e for e in (_indicators(rater), _indicators(case)) if 1 < e.shape[1] < len(rater)]


def _indicators(groups: Whole) -> Floats:
    _, place = np.unique(groups, return_inverse=True)
    found = np.zeros((len(groups), int(place.max()) + 1))
    found[np.arange(len(groups)), place] = 1
    return found


class _Model:
    """y = X b + sum of Z_k u_k + e, where u_k has variance `ratio_k` times that of e. Of b, the last is wanted."""

    def __init__(self, y: Floats, x: Floats, effects: Sequence[Floats]) -> None:
        z = np.concatenate(effects, axis=1) if effects else np.zeros((len(y), 0))
        self._sizes = [e.shape[1] for e in effects]
        fixed = np.column_stack([x, y])
        self._zz, self._zf, self._ff = z.T @ z, z.T @ fixed, fixed.T @ fixed
        self.n, self.p = len(y), x.shape[1]

    def figure(self) -> Figure:
        """The last coefficient with its 95 % interval; no bounds where nothing is left to judge the spread by."""
        if self.n <= self.p:
            return Figure(self._solved(np.zeros(len(self._sizes)))[2][-1], None, None, self.n)
        ratios = self._ratios()
        _, inverse, b, rss = self._solved(ratios)
        noise = rss / (self.n - self.p)
        if noise < 1e-12:
            return Figure(float(b[-1]), None, None, self.n)
        spread = noise * inverse[-1, -1]
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        half = float(stdtrit(self._freedom(ratios * noise, noise, spread), (1 + CONFIDENCE) / 2)) * np.sqrt(spread)
        return Figure(float(b[-1]), float(b[-1] - half), float(b[-1] + half), self.n)

    def _solved(self, ratios: Floats) -> tuple[float, Floats, Floats, float]:
        """log |V| + log |X'V^-1 X|, the inverse of the latter, b, and the weighted residual sum of squares."""
        scale = np.repeat(np.sqrt(ratios), self._sizes)
        inner = scale[:, None] * self._zz * scale + np.eye(len(scale))
        factor = np.linalg.cholesky(inner)
        rows = np.linalg.solve(factor, scale[:, None] * self._zf)
        whole = self._ff - rows.T @ rows
        inverse = np.linalg.pinv(whole[: self.p, : self.p])
        b = inverse @ whole[: self.p, self.p]
        logs = 2 * float(np.log(np.diag(factor)).sum()) - float(np.log(np.linalg.eigvalsh(inverse)).sum())
        return (
            logs,
            np.asarray(inverse, dtype=float),
            b,
            max(float(whole[self.p, self.p] - whole[self.p, : self.p] @ b), 0.0),
        )

    def _ratios(self) -> Floats:
        """Where the restricted likelihood is largest. Square roots are searched, in which it has no edge at 0."""
        if not self._sizes:
            return np.zeros(0)
        from scipy.optimize import minimize  # type: ignore[import-untyped]

        def loss(roots: Floats) -> float:
            logs, _, _, rss = self._solved(roots**2)
            return float(logs + (self.n - self.p) * np.log(max(rss, 1e-300)))

        found = minimize(loss, np.full(len(self._sizes), 0.3), method="L-BFGS-B", bounds=[(0, 30)] * len(self._sizes))
        return np.asarray(found.x) ** 2

    def _freedom(self, variances: Floats, noise: float, spread: float) -> float:
        """2 s^2 / Var(s) for the spread s of the coefficient: how well the variances that it is made of are known."""
        most = max(self.n - self.p - sum(s - 1 for s in self._sizes[:2]), 1)
        at = np.append(variances, noise)
        moved = np.flatnonzero(at > 1e-6 * noise)  # those at 0 stand at the edge, where nothing bends

        def deviance(v: Floats) -> float:
            logs, _, _, rss = self._solved(v[:-1] / v[-1])
            return float(logs + (self.n - self.p) * np.log(v[-1]) + rss / v[-1])

        def spread_at(v: Floats) -> float:
            return float(v[-1] * self._solved(v[:-1] / v[-1])[1][-1, -1])

        slope, bend = _derivatives(spread_at, deviance, at, moved)
        try:
            doubt = float(slope @ np.linalg.solve(bend, slope)) * 2
        except np.linalg.LinAlgError:
            return 1.0
        return float(np.clip(2 * spread**2 / doubt, 1, most)) if doubt > 0 else float(most)


def _derivatives(
    sloping: Callable[[Floats], float], bending: Callable[[Floats], float], at: Floats, moved: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """The gradient of one function and the Hessian of another, by central differences, in some of the coordinates."""
    steps = [np.eye(len(at))[i] * at[i] * _STEP for i in moved]
    slope = np.array([(sloping(at + s) - sloping(at - s)) / (2 * s.sum()) for s in steps])
    bend, middle = np.zeros((len(steps), len(steps))), bending(at)
    for i, a in enumerate(steps):
        bend[i, i] = (bending(at + a) - 2 * middle + bending(at - a)) / a.sum() ** 2
        for j, b in enumerate(steps[:i]):
            corners = bending(at + a + b) - bending(at + a - b) - bending(at - a + b) + bending(at - a - b)
            bend[i, j] = bend[j, i] = corners / (4 * a.sum() * b.sum())
    return slope, bend
