"""What asking costs: a case with two sequential sub-questions, put to an instant helper (bars: 60 µs, recorded 200 µs).

    python -m benchmarks.asking [--json] [--cases 20000] [--repeats 5] [--folder DIR]

Every case asks questions of its own, the second one made of the first one's answer, so nothing is answered from
memory. "asked" is all that lies between the cases and their exhibits: generators, queries, batches, exhibits.
"recorded" adds what `Level.assist` does: each wave durable in a Store on disk (in --folder) before it is used, then
the cases with their exhibits. "sampled" helpers draw from a seed for every question, "fixed" ones do not.
CPU time of this process, with the few garbage collections of a worker of `rrm run`; the median of a few runs.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.machine import give, parser, verdict
from rrm.asking import Helper, Helpers, Wave, ask_all
from rrm.records import Case, Item, Query, Response
from rrm.roles import Asking, Assistant
from rrm.seed import Seed
from rrm.store import Store
from rrm.worker import few_collections

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
    asked = ask_all((two_questions(i) for i in range(cases)), Helpers({"half": helper}, seed=Seed(0)), record=record)
    if store:
        whole = (
            Case(item=c.item, responses=c.responses, exhibits=e, place=f"0/{i}")
            for i, (c, e) in enumerate(zip(bare, asked, strict=True))
        )
        store.append("node", "0/cases", whole, first=0)
    spent = process_time() - before
    assert [len(exhibits) for exhibits in asked] == [2] * cases
    return 1e6 * spent / cases


def _case(number: int) -> Case:
    item = Item(task="number", prompt=f"number {number}")
    return Case(item=item, responses=tuple(Response(item=item.id, text=t, agent="above") for t in ("1", "2")))


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--cases", type=int, default=20_000)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--folder", type=Path, help="Where to record (default: the folder for temporary files).")
    given = command.parse_args()
    few_collections()
    found: dict[str, Any] = {}
    for kind in ("asked", "recorded"):
        for helper in ("sampled", "fixed"):
            times = []
            for _ in range(given.repeats):
                with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                    place = Path(folder) if kind == "recorded" else None
                    times.append(microseconds(given.cases, sampled=helper == "sampled", folder=place))
            middle = statistics.median(times)
            found[f"{kind}, {helper}"] = {
                "median": middle,
                "each": times,
                "bar": BARS[kind],
                "passed": middle <= BARS[kind],
            }
    rows = [["CPU-µs a case", "median", "least", "most", "bar", ""]]
    rows += [[k, f["median"], min(f["each"]), max(f["each"]), f["bar"], verdict(f["passed"])] for k, f in found.items()]
    give({"cases": given.cases, "microseconds": found}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
