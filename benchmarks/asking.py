"""What asking costs: a case with two sequential sub-questions, put to an instant helper (bars: 60 µs, recorded 200 µs).

    python -m benchmarks.asking [--json]                         20 000 cases, median of 5
    python -m benchmarks.asking --growth --out asking.svg        10^3 to 10^6 cases: it should cost as much a case

Every case asks questions of its own, the second one made of the first one's answer, so nothing is answered from
memory. "asked" is all that lies between the cases and their exhibits: generators, queries, batches, exhibits.
"recorded" adds what `Level.assist` does: each wave durable in a Store on disk (ext4, tmpfs: see --folder) before it is
used, then the cases with their exhibits. "sampled" helpers draw from a seed for every question, "fixed" ones do not.
CPU time of this process, with the few garbage collections of a worker of `rrm run`; the growth is measured with
Python's usual ones too, each size in a process of its own, and with the most memory that the process ever held.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.machine import give, parser, verdict
from rrm import build
from rrm.asking import Helper, Helpers, Wave, ask_all
from rrm.measure import Figure
from rrm.picture import Series, line_chart_svg
from rrm.records import Case, Item, Query, Response
from rrm.roles import Asking, Assistant
from rrm.seed import Seed
from rrm.store import Store

BARS = {"asked": 60.0, "recorded": 200.0}


class Instant(Assistant):
    """Answers at once."""

    deterministic = False

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [["7"] * n] * len(items)


class Fixed(Instant):
    """The same, and says that its answers never change."""

    deterministic = True


def two_questions(number: int) -> Asking:
    """The second question depends on the first one's answer."""
    first = yield Query(subtask="half", item=Item(task="number", prompt=f"half of {number}"))
    yield Query(subtask="half", item=Item(task="number", prompt=f"half of {number} after {first and first.text}"))


def microseconds(cases: int, *, sampled: bool, folder: Path | None = None) -> float:
    """CPU-microseconds a case; recorded in `folder`, if it is given."""
    helper = Helper("below", Instant() if sampled else Fixed(), "What is it?")
    store = Store(folder) if folder else None
    bare = [_case(i) for i in range(cases)] if store else []

    def record(number: int, wave: Wave) -> None:
        if store:
            store.write("node", f"0/answers/{number}", ((i, e) for i, e in enumerate(wave) if e is not None))

    gc.collect()
    before = process_time()
    asked = ask_all([two_questions(i) for i in range(cases)], Helpers({"half": helper}, seed=Seed(0)), record=record)
    if store:
        whole = (
            Case(item=c.item, responses=c.responses, exhibits=e, place=f"0/{i}")
            for i, (c, e) in enumerate(zip(bare, asked, strict=True))
        )
        store.append("node", "0/cases", whole, first=0)
    spent = process_time() - before
    assert len(asked) == cases and all(len(exhibits) == 2 for exhibits in asked)
    return 1e6 * spent / cases


def _case(number: int) -> Case:
    item = Item(task="number", prompt=f"number {number}")
    return Case(item=item, responses=tuple(Response(item=item.id, text=t, agent="above") for t in ("1", "2")))


def growth(largest: int) -> Iterator[dict[str, Any]]:
    """Each size by itself, with both settings of the garbage collector."""
    for cases in [10**power for power in range(3, 10) if 10**power <= largest]:
        for collector in ("few", "usual"):
            command = [sys.executable, "-m", "benchmarks.asking", "--one", str(cases), "--collections", collector]
            yield json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _one(cases: int, collections: str) -> dict[str, Any]:
    if collections == "few":
        build._few_collections()
    repeats = 5 if cases <= 10**4 else 1
    spent = statistics.median(microseconds(cases, sampled=True) for _ in range(repeats))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cases": cases, "collections": collections, "microseconds": spent, "peak_MiB": peak}


def chart(points: Sequence[dict[str, Any]]) -> str:
    """CPU-milliseconds a case (a level line is linear growth); the chart's scale ends at 1."""
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
    command.add_argument("--cases", type=int, default=20_000)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--folder", type=Path, help="Where to record (default: the folder for temporary files).")
    command.add_argument("--growth", action="store_true")
    command.add_argument("--largest", type=int, default=10**6)
    command.add_argument("--out", type=Path, help="With --growth: the plot, as SVG.")
    command.add_argument("--one", type=int, help="One size of the growth, as JSON.")
    command.add_argument("--collections", choices=("few", "usual"), default="few")
    given = command.parse_args()
    if given.one:
        print(json.dumps(_one(given.one, given.collections)))
        return
    if given.growth:
        points = list(growth(given.largest))
        if given.out:
            given.out.write_text(chart(points), encoding="utf-8")
        rows = [list(points[0]), *(list(p.values()) for p in points)]
        give({"bar": BARS["asked"], "growth": points}, rows, as_json=given.json)
        return
    build._few_collections()
    found: dict[str, Any] = {}
    for kind in ("asked", "recorded"):
        for helper in ("sampled", "fixed"):
            times = []
            for _ in range(given.repeats):
                with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                    place = Path(folder) if kind == "recorded" else None
                    times.append(microseconds(given.cases, sampled=helper == "sampled", folder=place))
            middle = statistics.median(times)
            found[f"{kind}, {helper}"] = {"median": middle, "each": times, "bar": BARS[kind], "passed": middle <= BARS[kind]}
    rows = [["CPU-µs a case", "median", "least", "most", "bar", ""]]
    rows += [[k, f["median"], min(f["each"]), max(f["each"]), f["bar"], verdict(f["passed"])] for k, f in found.items()]
    give({"cases": given.cases, "microseconds": found}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
