"""What is learnt: runs the configs that the project's bars speak of, and holds the reports' figures against them.

    python -m benchmarks.bars [NAME …] [--seeds 0-4] [--out runs/bars] [--workers N] [--fast] [--json]
    NAME: glossary glossary-3000 minimax helper-errors letters handwriting gridworlds gridworlds-arms
    (default: all, some hours)

Trains by `rrm.build.run`, as `rrm run` does (the command that does the same is printed; the same --out resumes), and
takes every figure from `Report.to_json`. A line is one figure of one node over the seeds: it passes by its *middle*
(median seed) or its *worst* seed, as the line says; "CPU-s" is the median over seeds of the dearest node of the line.
--fast uses the configs' smallest sizes: it shows that everything runs, and fails most bars.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning import RUNS, Bar, Run
from benchmarks.machine import give, parser, verdict
from rrm import build
from rrm.errors import GateFailed
from rrm.plan import Study
from rrm.report import Report
from rrm.store import Store


def train(run: Run, folder: Path, seeds: Sequence[int], *, fast: bool, workers: int | None) -> dict[str, Any]:
    """Run the config (or what is left of it) and report."""
    sets = [f"vary.seed={list(seeds)}", *run.sets]
    study = Study.load(Path(f"configs/{run.config}.toml"), fast=fast, sets=[] if fast else sets, arms=run.arms)
    store = Store(folder)
    try:
        build.run(study, store, workers=workers)
    except GateFailed as stopped:  # what it would have helped has no figure: not measured is not reached
        print(stopped, file=sys.stderr)
    return Report.from_store(store).to_json()


def command(run: Run, folder: Path, seeds: Sequence[int], *, fast: bool) -> str:
    """The same by hand."""
    if fast:
        return f"rrm run configs/{run.config}.toml --out {folder} --fast"
    sets = [f"--set 'vary.seed={list(seeds)}'", *(f"--set {s}" for s in run.sets), *(f"--arm {a}" for a in run.arms)]
    return f"rrm run configs/{run.config}.toml --out {folder} {' '.join(sets)}"


def hold(report: dict[str, Any], bar: Bar, *, settled: bool = True) -> Iterator[dict[str, Any]]:
    """A line for each node: the figure at every seed, and whether the bar is reached. Not measured is not reached."""
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in report["arms"]:
        if not settled or all(entry["arm"].get(k) == v for k, v in bar.setting.items()):
            arms.setdefault(entry["arm"]["name"], {})[entry["seed"]] = entry["nodes"]
    for name, limit in zip(bar.nodes, bar.bars, strict=True):
        gaps = {each["seed"]: each["value"] for each in (report["gap_recovered"].get(name) or {}).get("each", ())}
        values: dict[int, float | None] = {}
        for seed, nodes in arms.get(bar.arm, {}).items():
            value = values[seed] = bar.get(_known(nodes, name) | {"gap": gaps.get(seed)})
            if value is not None and bar.minus:
                other = bar.get(_known(arms[bar.minus][seed], name))
                values[seed] = None if other is None else abs(value - other)
            elif value is not None and bar.over:
                other = (bar.by or bar.get)(_known(arms[bar.over][seed], name))
                values[seed] = value / other if other else None
        known = [v for v in values.values() if v is not None]
        middle = statistics.median(known) if known else None
        worst = (max(known) if bar.most else min(known)) if known else None
        counts = worst if bar.worst else middle
        cpu = [nodes[name]["cpu_seconds"] for nodes in arms.get(bar.arm, {}).values() if nodes[name]["cpu_seconds"]]
        passed: bool | None = None
        if limit is not None:
            reached = counts is not None and (counts <= limit if bar.most else counts >= limit)
            passed = reached and len(known) == len(values)
        yield {
            "what": bar.what, "arm": bar.arm, "node": name, "bar": limit, "at": "most" if bar.most else "least",
            "by": "worst" if bar.worst else "middle", "seeds": values, "median": middle, "worst": worst,
            "cpu_seconds": statistics.median(cpu) if cpu else None, "passed": passed,
        }  # fmt: skip


def _known(nodes: dict[str, Any], name: str) -> dict[str, Any]:
    return {**nodes[name], "name": name, "nodes": nodes}


def numbers(text: str) -> list[int]:
    """ "0-4" or "0,2,5"."""
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]


def main() -> None:
    given_as = parser(__doc__)
    given_as.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(RUNS)}.")
    given_as.add_argument("--seeds", type=numbers, default=numbers("0-4"))
    given_as.add_argument("--out", type=Path, default=Path("runs/bars"))
    given_as.add_argument("--workers", type=int, default=None)
    given_as.add_argument("--fast", action="store_true")
    given = given_as.parse_args()
    if unknown := set(given.names) - set(RUNS):
        given_as.error(f"there is no {sorted(unknown)[0]!r}; there are {', '.join(RUNS)}")
    rows: list[list[object]] = [["figure", "arm", "node", "bar", "by", "median", "worst", "CPU-s", "", "seeds"]]
    found: dict[str, Any] = {}
    for name in given.names or RUNS:
        run, folder = RUNS[name], given.out / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        report = train(run, folder, given.seeds, fast=given.fast, workers=given.workers)
        lines = [line for bar in run.bars for line in hold(report, bar, settled=not given.fast)]
        found[name] = {"command": command(run, folder, given.seeds, fast=given.fast), "lines": lines}
        rows.append([f"{name}:"])
        for r in lines:
            each = " ".join("-" if v is None else f"{v:.3f}" for v in r["seeds"].values())
            sign = "≤" if r["at"] == "most" else "≥"
            rows.append(
                [
                    f"  {r['what']}",
                    r["arm"],
                    r["node"],
                    "–" if r["bar"] is None else f"{sign} {r['bar']:g}",
                    r["by"],
                    r["median"],
                    r["worst"],
                    r["cpu_seconds"],
                    "–" if r["passed"] is None else verdict(r["passed"]),
                    each,
                ]
            )
    give({"seeds": given.seeds, "fast": given.fast, "bars": found}, rows, as_json=given.json)
    if not given.json:
        print("\n".join(entry["command"] for entry in found.values()))


if __name__ == "__main__":
    main()
