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
    return Model(values, np.ones((len(values), 1)), (rater, case)).figure()


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
    if found is None:
        return None
    bounds = [(found.low, found.high)]
    sides = [right[helped], right[~helped]]
    if any(np.ptp(side) == 0 for side in sides):
        shares = [s for s in (wilson(float(side.sum()), len(side)) for side in sides) if s]
        plain = difference(shares[:1], shares[1:])
        bounds += [(plain.low, plain.high)] if plain else []
    known = [(low, high) for low, high in bounds if low is not None and high is not None]
    if not known:
        return found
    return found._replace(low=max(min(b[0] for b in known), -1.0), high=min(max(b[1] for b in known), 1.0))


def contrast(values: Floats, helped: NDArray[np.bool_], rater: Whole, case: Whole) -> Figure | None:
    """The same of values of any scale."""
    if not helped.any() or helped.all():
        return None
    x = np.stack([np.ones(len(values)), np.where(helped, 0.5, -0.5)], axis=1)
    return Model(values, x, (rater, case)).figure()


class Model:
    """y = X b + Z u + e: each column of X also has a random effect for each rater, and one for each case, of which each
    kind has its own variance. Of b, the last is wanted.

    Cases are many, and what is random of one does not touch another: they are taken out one by one, so that the time
    of a fit grows with the cube of the raters alone (or of the cases, where these are fewer).
    """

    def __init__(self, y: Floats, x: Floats, groups: Sequence[Whole], varies: int | None = None) -> None:
        """`varies`: only so many columns of X, the first ones, have random effects (default: all)."""
        self.n, self.p = x.shape
        self.k = self.p if varies is None else varies
        levels = sorted((np.unique(g, return_inverse=True)[1] for g in groups), key=lambda g: int(g.max()))
        known = [g for g in levels if 0 < g.max() < self.n - 1]
        self._many = [int(g.max()) + 1 for g in known]
        z, fixed = x[:, : self.k], np.column_stack([x, y])
        rows = [z[:, [c]] * (known[0][:, None] == np.arange(self._many[0])) for c in range(self.k)] if known[1:] else []
        rest = np.concatenate([*rows, fixed], axis=1)
        self._outer, self._rest = rest.shape[1] - fixed.shape[1], rest.T @ rest
        place, size = (known[-1], self._many[-1]) if known else (np.zeros(self.n, dtype=np.int64), 0)
        self._own, self._across = np.zeros((size, self.k, self.k)), np.zeros((size, self.k, rest.shape[1]))
        if size:
            np.add.at(self._own, place, z[:, :, None] * z[:, None, :])
            np.add.at(self._across, place, z[:, :, None] * rest[:, None, :])
        self._kinds = self.k * len(known)

    def figure(self) -> Figure:
        """The last coefficient with its 95 % interval; no bounds where nothing is left to judge the spread by."""
        if self.n <= self.p:
            return Figure(float(self._solved(np.zeros(self._kinds))[2][-1]), None, None, self.n)
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
        """log |V| + log |X'V^-1 X|, the inverse of the latter, b, and the weighted residual sum of squares. `ratios`:
        variances against that of e, of the smaller group's effects (if there are two), then of the larger one's."""
        root, logs, rest = np.sqrt(ratios), 0.0, self._rest
        if self._kinds:
            own = root[-self.k :]
            factor = np.linalg.cholesky(own[:, None] * self._own * own + np.eye(self.k))
            taken = np.linalg.solve(factor, own[:, None] * self._across).reshape(-1, rest.shape[1])
            rest = rest - taken.T @ taken
            logs += 2 * float(np.log(np.diagonal(factor, axis1=1, axis2=2)).sum())
        if m := self._outer:
            scale = np.repeat(root[: self.k], self._many[0])
            factor = np.linalg.cholesky(scale[:, None] * rest[:m, :m] * scale + np.eye(m))
            taken = np.linalg.solve(factor, scale[:, None] * rest[:m, m:])
            rest = rest[m:, m:] - taken.T @ taken
            logs += 2 * float(np.log(np.diag(factor)).sum())
        inverse = np.asarray(np.linalg.pinv(rest[: self.p, : self.p]), dtype=float)
        b = inverse @ rest[: self.p, self.p]
        logs -= float(np.log(np.linalg.eigvalsh(inverse)).sum())
        return logs, inverse, b, max(float(rest[self.p, self.p] - rest[self.p, : self.p] @ b), 0.0)

    def _ratios(self) -> Floats:
        """Where the restricted likelihood is largest. Square roots are searched, in which it has no edge at 0."""
        if not self._kinds:
            return np.zeros(0)
        from scipy.optimize import minimize  # type: ignore[import-untyped]

        def loss(roots: Floats) -> float:
            logs, _, _, rss = self._solved(roots**2)
            return float(logs + (self.n - self.p) * np.log(max(rss, 1e-300)))

        found = minimize(loss, np.full(self._kinds, 0.3), method="L-BFGS-B", bounds=[(0, 30)] * self._kinds)
        return np.asarray(found.x) ** 2

    def _freedom(self, variances: Floats, noise: float, spread: float) -> float:
        """2 s^2 / Var(s) for the spread s of the coefficient: how well the variances that it is made of are known."""
        most = max(self.n - self.p - sum(many - 1 for many in self._many), 1)
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
