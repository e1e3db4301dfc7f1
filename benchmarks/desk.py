"""How soon a rater has the next case, with 100 000 waiting (bar: half within 30 ms, 99 of 100 within 150 ms).

    python -m benchmarks.desk [--json] [--cases 100000] [--turns 500] [--url postgresql+psycopg://…]

Milliseconds at the desk, without HTTP: `next` finds a case and keeps it for the rater, `say` writes a verdict to the
disk, `progress` counts for the page's heading. Twenty raters take turns; each case is for two of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from benchmarks.machine import give, parser, verdict
from rrm.desk import Desk
from rrm.desk.sheet import Sheet, ShownAnswer
from rrm.records import Preference

MEDIAN, LATE = 30.0, 150.0
PEOPLE, EACH = 20, 2
KEY = "0123456789abcdef"

T = TypeVar("T")


def sheet(number: int) -> Sheet:
    """A case of about a kilobyte."""
    answers = tuple(ShownAnswer(name=n, blocks=({"type": "text", "text": "so it is " * 40},), text="so") for n in "AB")
    item = ({"type": "text", "text": f"which is better? {number}"},)
    case, place = f"{number:016x}", f"0/{number}"
    return Sheet(case=case, place=place, node="n", level=0, item=item, answers=answers, kinds=("preference",))


def measured(desk: Desk, turns: int) -> dict[str, list[float]]:
    """Milliseconds of each act, in the order in which they were done."""
    people = [rater.id for rater in desk.register.invite([f"rater-{i}" for i in range(PEOPLE)])]
    found: dict[str, list[float]] = {"next": [], "say": [], "progress": []}

    def timed(what: str, act: Callable[[], T]) -> T:
        before = perf_counter()
        result = act()
        found[what].append(1000 * (perf_counter() - before))
        return result

    for turn in range(turns):
        who = people[turn % PEOPLE]
        handed = timed("next", lambda who=who: desk.next(who))
        if handed is None:
            break
        said = Preference(case=handed.sheet.case, evaluator="rater", first_better=1.0)
        timed("say", lambda who=who, id=handed.id, said=said: desk.say(who, id, said))
        timed("progress", lambda who=who: desk.register.of_rater(who))
    return found


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--cases", type=int, default=100_000)
    command.add_argument("--turns", type=int, default=500)
    command.add_argument("--url", default="", help="an empty database; without, SQLite in a folder of its own")
    given = command.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(given.url or Path(folder) / "desk.sqlite")
        desk.tray.put(KEY, "0", (sheet(i) for i in range(given.cases)), wanted=EACH)
        times = measured(desk, given.turns)
        desk.close()
    rows: list[list[object]] = [["what", "median ms", "99 % within", f"bars {MEDIAN:g}, {LATE:g}"]]
    acts = {}
    for what, each in times.items():
        ordered = sorted(each)
        median, late = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
        acts[what] = {"median": median, "late": late, "passed": median < MEDIAN and late < LATE}
        rows.append([what, median, late, verdict(acts[what]["passed"])])
    passed = all(act["passed"] for act in acts.values())
    give({"cases": given.cases, "passed": passed, "milliseconds": acts}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
