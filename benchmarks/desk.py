"""How soon a rater has the next case, with so many waiting: `python benchmarks/desk.py [--cases N] [--url URL]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("", "tasks", "assistants", "tests")]

from desks import sheets

from rrm import Preference
from rrm.desk import Desk

KEY = "0123456789abcdef"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--raters", type=int, default=2, help="how many judge each case")
    parser.add_argument("--url", default="", help="a database; empty: SQLite in a new folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(given.url or Path(folder) / "desk.sqlite")
        (one,) = sheets(1)
        began = time.perf_counter()
        many = (one.model_copy(update={"case": f"{i:016x}"}) for i in range(given.cases))
        desk.tray.put(KEY, "0", many, wanted=given.raters)
        print(f"{given.cases} cases laid down in {time.perf_counter() - began:.1f} s")
        people = [r.id for r in desk.register.invite([f"r{i}" for i in range(20)])]
        found: dict[str, list[float]] = {"next": [], "say": [], "progress": []}
        for turn in range(given.turns):
            who = people[turn % len(people)]
            handed = timed(found["next"], lambda who=who: desk.next(who))
            said = Preference(case=handed.sheet.case, evaluator="r", first_better=1.0)
            timed(found["say"], lambda who=who, id=handed.id, said=said: desk.say(who, id, said))
            timed(found["progress"], lambda who=who: desk.register.of_rater(who))
        for what, times in found.items():
            ordered = sorted(times)
            median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
            print(f"{what:9} median {1000 * median:6.1f} ms, 99 % below {1000 * late:6.1f} ms")
        for what, act in (("is_due", desk.tray.is_due), ("owner's progress", desk.register.progress)):
            began = time.perf_counter()
            act()
            print(f"{what}: {1000 * (time.perf_counter() - began):.1f} ms")
        desk.close()


def timed(times: list[float], act):
    began = time.perf_counter()
    found = act()
    times.append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    main()
