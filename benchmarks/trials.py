"""Whether a trial's analysis keeps its word: simulated people with a planted uplift, many trials, several sizes.

    python -m benchmarks.trials [--json] [--trials 500]            (two minutes; with --candidates ten)
    python -m benchmarks.trials --candidates                       (what else was tried)
    python -m benchmarks.trials --power                            (the formula for the power, held against trials)

`covered` is how often the 95 % interval holds the uplift that was planted (bar: .93 where it is 12 points), `false` how
often it leaves out 0 where none was planted (bar: .07), `seen` how often it does where 12 points were; each with
Wilson's interval. `length` is the interval's, as a share. People are `rrm.trial.People`: "alike" gain the same from
help, "usual" differ in it by 5 points (a standard deviation) and cases by 10, "far" by 10 and 20. (Where help gives
nothing, its effect still differs: 0 is the mean.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import stdtrit

from benchmarks.machine import give, parser
from rrm.figures import bounds, number
from rrm.measure import Figure, t_interval, wilson
from rrm.seed import Seed
from rrm.trial import Judgements, People, Size, assign
from rrm.trial.mixed import Model, uplift
from rrm.trial.power import half_width, needed, power

BARS = {"covered": 0.93, "false": 0.07}
PLANTED = 0.12
SIZES = (Size(8, 40, 40), Size(4, 60, 60), Size(20, 20, 20), Size(20, 20, 100))
PEOPLE = {
    "usual": People(uplift=PLANTED),
    "alike": People(uplift=PLANTED, uplift_rater_sd=0.0, uplift_case_sd=0.0),
    "far": People(uplift=PLANTED, rater_sd=0.1, case_sd=0.2, uplift_rater_sd=0.1, uplift_case_sd=0.2),
}

Candidate = Callable[[Judgements], Figure | None]


# -- what was tried ---------------------------------------------------------------------------------------------------


def chosen(j: Judgements) -> Figure | None:
    """Crossed random effects of raters and cases, on the level and on the uplift, by REML."""
    return uplift(j.right, j.arm == 1, j.rater, j.case)


def levels_alone(j: Judgements) -> Figure | None:
    """The same, without effects on the uplift."""
    x = np.stack([np.ones(len(j)), np.where(j.arm == 1, 0.5, -0.5)], axis=1)
    return Model(j.right, x, (j.rater, j.case), varies=1).figure()


def by_groups(j: Judgements, *, groups: str) -> Figure | None:
    """Student's t over the differences within each rater, or each case."""
    place, told = getattr(j, groups), []
    for one in np.unique(place):
        helped, alone = (j.right[(place == one) & (j.arm == a)] for a in (1, 0))
        told += [float(helped.mean() - alone.mean())] if len(helped) and len(alone) else []
    return t_interval(told)


def two_way(j: Judgements) -> Figure | None:
    """Cameron, Gelbach & Miller 2011: robust to clusters of raters and of cases, both taken out as fixed effects;
    t with the degrees of freedom of the smaller number of clusters."""
    dummies = np.concatenate([np.eye(int(g.max()) + 1)[g] for g in (j.rater, j.case)], axis=1)
    q, _ = np.linalg.qr(dummies[:, :-1])
    x, y = (v - q @ (q.T @ v) for v in ((j.arm == 1).astype(float), j.right))
    b = float(x @ y / (x @ x))
    scores, n = x * (y - b * x), len(j)
    sizes = [len(np.unique(g)) for g in (j.rater, j.case)]
    parts = [
        float((np.bincount(g, weights=scores) ** 2).sum()) * m / (m - 1)
        for g, m in zip((j.rater, j.case), sizes, strict=True)
    ]
    each = float((scores**2).sum()) * n / (n - sum(sizes))
    half = stdtrit(min(sizes) - 1, 0.975) * np.sqrt(max(parts[0] + parts[1] - each, *parts, each)) / (x @ x)
    return Figure(b, float(b - half), float(b + half), n)


def permuted(j: Judgements, draws: int = 400) -> Figure | None:
    """Arms shuffled within each rater, of judgements from which the uplift found was taken off: an interval for people
    and cases that all gain the same."""
    helped = j.arm == 1
    found = float(j.right[helped].mean() - j.right[~helped].mean())
    flat, rng = j.right - found * helped, np.random.default_rng(0)
    rows = [np.flatnonzero(j.rater == one) for one in np.unique(j.rater)]
    order = np.tile(np.arange(len(j)), (draws, 1))
    for own in rows:
        order[:, own] = rng.permuted(np.tile(own, (draws, 1)), axis=1)
    again = helped[order]
    spread = (flat * again).sum(axis=1) / helped.sum() - (flat * ~again).sum(axis=1) / (~helped).sum()
    half = float(np.quantile(np.abs(spread), 0.95))
    return Figure(found, found - half, found + half, len(j))


CANDIDATES: dict[str, Candidate] = {
    "mixed, uplift varies": chosen,
    "mixed, levels alone": levels_alone,
    "t over raters": partial(by_groups, groups="rater"),
    "t over cases": partial(by_groups, groups="case"),
    "two-way clusters": two_way,
    "permutation": permuted,
}


# -- trials -----------------------------------------------------------------------------------------------------------


def lines(
    people: Sequence[str], sizes: Sequence[Size], methods: Sequence[str], trials: int
) -> Iterator[dict[str, Any]]:
    """A line for each kind of people, each size, each analysis."""
    for name in people:
        for size in sizes:
            told = {m: {k: list[float]() for k in ("covered", "false", "seen", "length")} for m in methods}
            for planted in (PLANTED, 0.0):
                some = replace(PEOPLE[name], uplift=planted)
                for seed in range(trials):
                    judged = some.judge(assign(*size[:2], size.arms, of=size.of, seed=Seed(seed)), seed=seed)
                    for method in methods:
                        _count(told[method], CANDIDATES[method](judged), planted)
            for method in methods:
                shares = {k: wilson(sum(v), len(v)) for k, v in told[method].items() if k != "length"}
                length = float(np.mean(told[method]["length"]))
                yield {"people": name, "size": size, "method": method, "length": length, **shares}


def _count(told: dict[str, list[float]], found: Figure | None, planted: float) -> None:
    if found is None or found.low is None or found.high is None:
        raise ValueError("a trial of these sizes has an interval")
    told["length"].append(found.high - found.low)
    leaves_out_0 = float(found.low > 0 or found.high < 0)
    if planted:
        told["covered"].append(float(found.low <= planted <= found.high))
        told["seen"].append(leaves_out_0)
    else:
        told["false"].append(leaves_out_0)


def powers(people: Sequence[str], sizes: Sequence[Size], trials: int) -> Iterator[dict[str, Any]]:
    """What the formula says, and what trials do."""
    for line in lines(people, sizes, [next(iter(CANDIDATES))], trials):
        some, size = PEOPLE[line["people"]], line["size"]
        yield {
            "people": line["people"], "size": size, "formula": power(some, size), "trials": line["seen"],
            "needed": needed(some, size),
            "length": 2 * (half_width(some, size) or 0), "length in trials": line["length"],
        }  # fmt: skip


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=500)
    options.add_argument("--people", nargs="*", choices=PEOPLE, default=list(PEOPLE))
    options.add_argument("--candidates", action="store_true", help="also what was not chosen")
    options.add_argument("--power", action="store_true", help="the power, by the formula and in trials")
    options.add_argument("--small", action="store_true", help="one small size: to see that it runs")
    given = options.parse_args()
    sizes = (Size(4, 8, 8),) if given.small else SIZES
    if given.power:
        found = list(powers(given.people, sizes, given.trials))
    else:
        methods = list(CANDIDATES) if given.candidates else list(CANDIDATES)[:1]
        found = list(lines(given.people, sizes, methods, given.trials))
    head = list(found[0])
    rows = [head, *([_cell(line[name]) for name in head] for line in found)]
    told = {"bars": BARS, "trials": given.trials, "lines": [_plain(line) for line in found]}
    give(told, rows, as_json=given.json)


def _cell(value: object) -> str:
    if isinstance(value, Size):
        return f"{value.raters} x {value.cases} of {value.of}"
    if isinstance(value, Figure):
        return f"{number(value.mean)} {bounds(value)}"
    return number(value) if isinstance(value, float) else str(value or "–")


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v._asdict() if isinstance(v, Size | Figure) else v for k, v in line.items()}


if __name__ == "__main__":
    main()
