"""How asking grows: 10^3 to 10^6 cases of two sequential questions; it should cost as much a case everywhere.

    python -m benchmarks.growth [--json] [--largest 1000000] [--out asking.svg]          (10^6: 5 GB and two minutes)

As "asked, sampled" of `benchmarks.asking`. Each size is measured in a process of its own, with the few garbage
collections of a worker of `rrm run` and with Python's usual ones, and with the most memory that the process ever held.
The plot shows CPU-milliseconds a case (bar: 0.06): a level line is linear growth.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.asking import BARS, microseconds
from benchmarks.machine import give, parser
from rrm.measure import Figure
from rrm.picture import Series, line_chart_svg
from rrm.worker import few_collections


def growth(largest: int) -> Iterator[dict[str, Any]]:
    """Each size by itself, with both settings of the garbage collector."""
    for cases in [10**power for power in range(3, 10) if 10**power <= largest]:
        for collector in ("few", "usual"):
            command = [sys.executable, "-m", "benchmarks.growth", "--one", str(cases), "--collections", collector]
            yield json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _one(cases: int, collections: str) -> dict[str, Any]:
    if collections == "few":
        few_collections()
    repeats = 5 if cases <= 10**4 else 1
    spent = statistics.median(microseconds(cases, sampled=True) for _ in range(repeats))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cases": cases, "collections": collections, "microseconds": spent, "peak_MiB": peak}


def chart(points: Sequence[dict[str, Any]]) -> str:
    """The plot, as SVG."""
    sizes = sorted({p["cases"] for p in points})
    series = [
        Series(
            f"{kind} collections (bar: 0.06)",
            [
                (float(sizes.index(p["cases"])), Figure(p["microseconds"] / 1000, None, None, 1))
                for p in points
                if p["collections"] == kind
            ],
            colour,
        )
        for colour, kind in enumerate(("few", "usual"))
    ]
    ticks = {float(i): f"{size:,}" for i, size in enumerate(sizes)}
    return line_chart_svg(series, title="Asking", x_label="cases", y_label="CPU-ms a case", x_ticks=ticks)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--largest", type=int, default=10**6)
    command.add_argument("--out", type=Path, help="The plot, as SVG.")
    command.add_argument("--one", type=int, help="One size, in this process.")
    command.add_argument("--collections", choices=("few", "usual"), default="few", help="With --one.")
    given = command.parse_args()
    if given.one:
        print(json.dumps(_one(given.one, given.collections)))
        return
    points = list(growth(given.largest))
    if given.out:
        given.out.write_text(chart(points), encoding="utf-8")
    rows = [["cases", "collections", "CPU-µs a case", "peak MiB"], *(list(p.values()) for p in points)]
    give({"bar": BARS["asked"], "growth": points}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
