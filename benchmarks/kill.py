"""Kill a run at random moments, run it again, and compare what it left with a run that was never stopped.

    python benchmarks/kill.py                   # 50 kills of a small glossary study, with torch weights
    python benchmarks/kill.py --kills 5 --plan configs/column_sum.toml

Prints one JSON object. Exit code 1 if a single byte of the exported record (timings apart) or of the weights differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SMALL = [
    "effort.rounds=3",
    "effort.cases=60",
    "effort.exam=40",
    "gate.items=10",
    "vary.seed=[0]",
    "cast.reward.steps=6",
    "cast.reward.last_steps=6",
    "cast.policy.steps=6",
    "cast.policy.last_steps=6",
]


def start(plan: Path, out: Path, options: list[str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tasks"), str(ROOT / "assistants")])
    command = [sys.executable, "-c", "from rrm.cli import main; main()", "run", str(plan), "--out", str(out), "-q"]
    return subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(plan: Path, out: Path, options: list[str]) -> float:
    """Run to the end; the seconds that it took."""
    began = time.monotonic()
    process = start(plan, out, options)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {said.decode()}")
    return time.monotonic() - began


def kill(process: subprocess.Popen[bytes], *, whole_group: bool) -> bool:
    """SIGKILL, to the run alone (its workers then end themselves) or to all of its processes; False: it was done."""
    if process.poll() is not None:
        process.communicate()
        return False
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def contents(out: Path) -> dict[str, bytes]:
    """All that has to be the same: the exported record, and every file under agents/."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tasks"), str(ROOT / "assistants")]
    from rrm.store import Store

    lines = [json.dumps(entry, sort_keys=True) for entry in Store(out, create=False).export()]
    found = {"record": "\n".join(lines).encode()}
    agents = out / "agents"
    return found | {str(p.relative_to(out)): p.read_bytes() if p.is_file() else b"" for p in sorted(agents.rglob("*"))}


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=ROOT / "configs" / "glossary.toml")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--per-run", type=int, default=5, help="how often one run is killed before it may end")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=None, help="in place of the small size of glossary")
    arguments = parser.parse_args()
    sets = arguments.set if arguments.set is not None else SMALL if arguments.plan.stem == "glossary" else []
    arms = ["--arm", "recursive"] if sets is SMALL else []
    options = ["--workers", arguments.workers, *arms, *(part for s in sets for part in ("--set", s))]
    rng, killed, late, lost, differing = random.Random(arguments.seed), 0, 0, 0, []
    moments: list[float] = []
    with tempfile.TemporaryDirectory(prefix="rrm-kill-") as place:
        whole = Path(place) / "whole"
        length = finish(arguments.plan, whole, options)
        idle = finish(arguments.plan, whole, options)  # starting up and reporting, with nothing left to train
        wanted, run = contents(whole), 0
        records = wanted["record"].count(b"\n")
        while killed < arguments.kills:
            out, seen = Path(place) / f"run-{run}", 0
            for _ in range(min(arguments.per_run, arguments.kills - killed)):
                process = start(arguments.plan, out, options)
                wait = 0.4 * idle + rng.random() * max(length - idle, 0.2 * length) * 0.7
                time.sleep(wait)
                if not kill(process, whole_group=rng.random() < 0.5):
                    late += 1
                    break
                killed += 1
                moments.append(round(wait / length, 3))
                here = _recorded(out)
                lost += max(seen - here, 0)
                seen = here
            finish(arguments.plan, out, options)
            differing += [f"run {run}: {name}" for name in differences(contents(out), wanted)]
            shutil.rmtree(out)
            run += 1
            print(f"{killed} kills, {len(differing)} differences", file=sys.stderr)
    summary = {
        "plan": str(arguments.plan),
        "kills": killed,
        "runs": run,
        "too_late": late,
        "records": records,
        "seconds_uninterrupted": round(length, 1),
        "seconds_idle": round(idle, 1),
        "records_lost": lost,
        "differences": differing,
        "moments": moments,
    }
    print(json.dumps(summary, indent=1))
    raise SystemExit(1 if differing or lost else 0)


def _recorded(out: Path) -> int:
    """How many records a killed run left."""
    if not (out / "record.sqlite").is_file():
        return 0
    import sqlite3

    try:
        with sqlite3.connect(out / "record.sqlite") as db:
            return int(db.execute("select count(*) from records").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


if __name__ == "__main__":
    main()
