"""What is learnt: runs the configs that the project's bars speak of, and holds the reports' figures against them.

    python -m benchmarks.bars [NAME …] [--seeds 0-4] [--out runs/bars] [--workers N] [--fast] [--json]
    NAME: glossary glossary-3000 minimax helper-errors letters handwriting        (default: all, about an hour)

Trains by `rrm.build.run`, as `rrm run` does (the command that does the same is printed; the same --out resumes), and
takes every figure from `Report.to_json`. A line is one figure of one node over the seeds: it passes by its *middle*
(median seed) or its *worst* seed, as the line says; "CPU-s" is the median over seeds of the dearest node of the line.
--fast uses the configs' smallest sizes: it shows that everything runs, and fails most bars.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import give, parser, verdict
from rrm import build
from rrm.plan import Study
from rrm.report import Report
from rrm.store import Store

Get = Callable[[dict[str, Any]], float | None]
"""From a node's figures in a report to the one that is held against a bar."""


@dataclass(frozen=True)
class Bar:
    """A figure of some nodes in one arm, and what it should be at least (or at most)."""

    what: str
    nodes: Sequence[str]
    bars: Sequence[float]
    arm: str = "recursive"
    most: bool = False
    worst: bool = False
    get: Get = lambda node: node["truth"] and node["truth"]["mean"]
    minus: str = ""
    """Another arm, whose figure at the same seed is taken off; what is left counts without its sign."""
    setting: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A config, what is set in it, and the bars that it is for."""

    config: str
    bars: Sequence[Bar]
    sets: Sequence[str] = ()
    arms: Sequence[str] = ()


def _cpu(node: dict[str, Any]) -> float | None:
    return node["cpu_seconds"]


def _above_tree(node: dict[str, Any]) -> float | None:
    return abs(node["truth"]["mean"] - node["tree"]) if node["truth"] and node["tree"] is not None else None


WORDS = tuple(f"word-{k}" for k in range(5))
TREES = tuple(f"tree-{k}" for k in (1, 2, 3))
LETTERS = tuple(f"letters-{k}" for k in range(5))
SUMS = tuple(f"sum-{k}" for k in range(4))
MANY = {"node.word-1.effort.cases": 1600}

RUNS = {
    "glossary": Run(
        "glossary",
        [
            Bar("truth", WORDS, [0.99] * 5),
            Bar("truth", WORDS, [0.97] * 5, worst=True),
            Bar("CPU-s", WORDS, [12] * 5, most=True, get=_cpu),
            Bar("truth", WORDS[1:], [0.20] * 4, arm="unassisted", most=True),
            Bar("truth", WORDS, [0.99] * 5, arm="oracle"),
            Bar("gap recovered", WORDS[4:], [0.97], get=lambda node: node["gap"]),
        ],
    ),
    "glossary-3000": Run("glossary", [Bar("truth", WORDS[:3], [0.97] * 3)], ["effort.cases=200"], ["recursive"]),
    "minimax": Run(
        "minimax",
        [Bar("truth", TREES, [0.99, 0.99, 0.95]), Bar("CPU-s", TREES, [60] * 3, most=True, get=_cpu)],
        arms=["recursive"],
    ),
    "helper-errors": Run(
        "helper_errors",
        [
            Bar("truth, 24 000", WORDS[1:2], [0.98], arm="independent", setting=MANY),
            Bar("|truth - tree|, 24 000", WORDS[1:2], [0.02], "systematic", most=True, get=_above_tree, setting=MANY),
        ],
    ),
    "letters": Run(
        "letter_count",
        [
            Bar("truth", LETTERS, [0.97] * 5),
            Bar("truth", (*LETTERS[1:3], LETTERS[4]), [0.60, 0.60, 0.40], arm="unassisted", most=True),
            Bar("truth (no bar)", LETTERS, [0.0] * 5, arm="oracle"),
        ],
    ),
    "handwriting": Run(
        "handwriting",
        [
            Bar("truth", SUMS, [0.97, 0.94, 0.91, 0.87]),
            Bar("truth", SUMS[1:], [0.25] * 3, arm="unassisted", most=True),
            Bar("|oracle - truth|", SUMS, [0.03] * 4, arm="oracle", most=True, minus="recursive"),
        ],
    ),
}


def train(run: Run, folder: Path, seeds: Sequence[int], *, fast: bool, workers: int | None) -> dict[str, Any]:
    """Run the config (or what is left of it) and report."""
    sets = [f"vary.seed={list(seeds)}", *run.sets]
    study = Study.load(Path(f"configs/{run.config}.toml"), fast=fast, sets=[] if fast else sets, arms=run.arms)
    store = Store(folder)
    build.run(study, store, workers=workers)
    return Report.from_store(store).to_json()


def command(run: Run, folder: Path, seeds: Sequence[int]) -> str:
    """The same by hand."""
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
            values[seed] = bar.get({**nodes[name], "gap": gaps.get(seed)})
            if bar.minus:
                other = bar.get(arms[bar.minus][seed][name])
                values[seed] = None if other is None or values[seed] is None else abs(values[seed] - other)
        known = [v for v in values.values() if v is not None]
        middle = statistics.median(known) if known else None
        worst = (max(known) if bar.most else min(known)) if known else None
        counts = worst if bar.worst else middle
        cpu = [nodes[name]["cpu_seconds"] for nodes in arms.get(bar.arm, {}).values() if nodes[name]["cpu_seconds"]]
        passed = counts is not None and len(known) == len(values) and (counts <= limit if bar.most else counts >= limit)
        yield {
            "what": bar.what, "arm": bar.arm, "node": name, "bar": limit, "at": "most" if bar.most else "least",
            "by": "worst" if bar.worst else "middle", "seeds": values, "median": middle, "worst": worst,
            "cpu_seconds": statistics.median(cpu) if cpu else None, "passed": passed,
        }  # fmt: skip


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
        found[name] = {"command": command(run, folder, given.seeds), "lines": lines}
        rows.append([f"{name}:"])
        for r in lines:
            each = " ".join("-" if v is None else f"{v:.3f}" for v in r["seeds"].values())
            sign = "≤" if r["at"] == "most" else "≥"
            rows.append(
                [f"  {r['what']}", r["arm"], r["node"], f"{sign} {r['bar']:g}", r["by"], r["median"], r["worst"]]
                + [r["cpu_seconds"], verdict(r["passed"]), each]
            )
    give({"seeds": given.seeds, "fast": given.fast, "bars": found}, rows, as_json=given.json)
    if not given.json:
        print("\n".join(entry["command"] for entry in found.values()))


if __name__ == "__main__":
    main()
