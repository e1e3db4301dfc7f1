"""What kinds of feedback teach in the same seconds of a person, and whether it is as well to choose (bar: within 5 %).

    python -m benchmarks.kinds [kinds kinds_gridworld] [--seeds 0-4] [--seconds N] [--out runs/kinds] [--workers N]
                               [--fast] [--json]

Runs the configs by `rrm.build.run`, as `rrm run` does; the same --out resumes. "truth" is the mean over seeds with its
interval, of agents that act the hidden performance above that of standing still (on the same starts). "above best" and
"above preference" are differences paired by seed: from the single kind with the best mean on these very seeds, which
favours it, and from preference. "share" is the mean over that of the best single kind: the bar is .95 for the arm
`adaptive`. "seconds" are those that the record counts, "asked" how many cases of each kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.bars import numbers
from benchmarks.machine import give, parser, verdict
from rrm import build
from rrm.measure import Figure, t_interval
from rrm.plan import Study
from rrm.report import Report
from rrm.store import Store

CONFIGS = ("kinds", "kinds_gridworld")
CHOOSES, BASE = "adaptive", "preference"
BAR = 0.95


def train(
    config: str, folder: Path, seeds: Sequence[int], *, seconds: float | None, fast: bool, workers: int | None
) -> dict[str, Any]:
    """Run the config, and report."""
    sets = [f"vary.seed={list(seeds)}", *([f"effort.seconds={seconds:g}"] if seconds else [])]
    study = Study.load(Path(f"configs/{config}.toml"), fast=fast, sets=[] if fast else sets)
    store = Store(folder)
    build.run(study, store, workers=workers)
    return Report.from_store(store).to_json()


def worth(node: Mapping[str, Any]) -> float | None:
    """What an agent came to: its accuracy, or how much better it is than one that stands still."""
    if node["truth"] is None:
        return None
    idle = node.get("idle")
    return float(node["truth"]["mean"]) - (float(idle["mean"]) if idle else 0.0)


def table(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for each arm."""
    found: dict[str, dict[int, float]] = {}
    spent: dict[str, list[float]] = {}
    asked: dict[str, dict[str, int]] = {}
    for entry in report["arms"]:
        name = entry["arm"]["name"]
        (node,) = entry["nodes"].values()
        if (value := worth(node)) is not None:
            found.setdefault(name, {})[entry["seed"]] = value
        for kind, of in (node["asked_by_kind"] or {}).items():
            spent.setdefault(name, []).append(of["seconds"])
            kinds = asked.setdefault(name, {})
            kinds[kind] = kinds.get(kind, 0) + of["cases"]
    best = max((name for name in found if name != CHOOSES), key=lambda name: fmean(found[name].values()))
    lines = []
    for name, values in found.items():
        mean = fmean(values.values())
        share = mean / fmean(found[best].values())
        lines.append(
            {
                "arm": name,
                "truth": _figure(t_interval(list(values.values())), mean),
                "above_best": _above(values, found[best]),
                "above_preference": _above(values, found[BASE]),
                "share_of_best": share,
                "best_single": name == best,
                "seconds": sum(spent[name]) / len(values),
                "asked": {kind: n / len(values) for kind, n in sorted(asked[name].items(), key=lambda one: -one[1])},
                "each": values,
                "passed": share >= BAR if name == CHOOSES else None,
            }
        )
    return lines


def _above(values: Mapping[int, float], others: Mapping[int, float]) -> dict[str, Any]:
    apart = [values[seed] - others[seed] for seed in values if seed in others]
    return _figure(t_interval(apart), fmean(apart))


def _figure(f: Figure | None, mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": f.low if f else None, "high": f.high if f else None}


def _told(f: Mapping[str, Any], sign: str = "") -> str:
    bounds = "" if f["low"] is None else f" [{f['low']:{sign}.3f}, {f['high']:{sign}.3f}]"
    return f"{f['mean']:{sign}.3f}{bounds}"


def main() -> None:
    command = parser(__doc__)
    command.add_argument("configs", nargs="*", metavar="CONFIG", help=f"Of {', '.join(CONFIGS)}.")
    command.add_argument("--seeds", type=numbers, default=numbers("0-4"))
    command.add_argument("--seconds", type=float, help="Of a person's time, in place of the plan's.")
    command.add_argument("--out", type=Path, default=Path("runs/kinds"))
    command.add_argument("--workers", type=int, default=None)
    command.add_argument("--fast", action="store_true")
    given = command.parse_args()
    if unknown := set(given.configs) - set(CONFIGS):
        command.error(f"there is no {sorted(unknown)[0]!r}; there are {', '.join(CONFIGS)}")
    rows: list[list[object]] = [["arm", "truth", "above best", "above preference", "share", "seconds", "", "asked"]]
    found: dict[str, Any] = {}
    for config in given.configs or CONFIGS:
        folder = given.out / (f"{config}-{given.seconds:g}" if given.seconds else config)
        folder.parent.mkdir(parents=True, exist_ok=True)
        report = train(config, folder, given.seeds, seconds=given.seconds, fast=given.fast, workers=given.workers)
        found[config] = table(report)
        rows.append([f"{config}:"])
        for line in found[config]:
            mark = "best single" if line["best_single"] else ""
            rows.append(
                [
                    f"  {line['arm']}",
                    _told(line["truth"]),
                    _told(line["above_best"], "+"),
                    _told(line["above_preference"], "+"),
                    f"{line['share_of_best']:.3f}",
                    f"{line['seconds']:,.0f}",
                    mark if line["passed"] is None else verdict(line["passed"]),
                    ", ".join(f"{n:g} {kind}" for kind, n in line["asked"].items()),
                ]
            )
    give({"seeds": given.seeds, "fast": given.fast, "kinds": found}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
