"""What a level costs beside learning: its share of CPU time outside the torch kernels of reward and policy training.

    python -m benchmarks.level [--json] [--profile] [--sets effort.cases=100 …]          bar: at most 10 %

Trains glossary levels 0, 1 and 2 (configs/glossary.toml, arm `recursive`, seed 0) one after the other in this process,
set up as a worker of `rrm run` is: one torch thread, few garbage collections. Level 2 is measured: both kinds of help
exist by then, and nothing is imported or compiled for the first time.

Counted as *kernels*: CPU time within `Optimizer.run`, called by the reward and the policy trainer: drawing a batch,
forward, loss, backward, clipping and the optimiser's step; the interpreter's work between two kernels is in it. Counted
as *outside*: everything else, so also the agent's and the reward model's forward passes to propose answers, choose
items, fill exams and stand at the gate. (`benchmarks.kernels` splits the loops further.) The table's lines are the
level's own clock (`Store.spent`), with the loops taken out of "reward" and "policy". CPU time hardly depends on what
else runs; still, take the median of a few runs.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.machine import give, parser, verdict
from rrm.job import Job, jobs
from rrm.plan import Study
from rrm.store import Store
from rrm.worker import few_collections, train

CONFIG, NODES, BAR = Path("configs/glossary.toml"), ("word-0", "word-1", "word-2"), 0.10


class Loops:
    """Counts the CPU time that trainers spend in optimisation loops, while it is entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"reward": 0.0, "policy": 0.0}

    def __enter__(self) -> Loops:
        from rrm.models.optimizer import Optimizer

        self._run = run = Optimizer.run

        def counted(optimizer: Optimizer, *given: Any) -> float:
            trainer = "reward" if "ridge" in type(optimizer.schedule).model_fields else "policy"
            before = process_time()
            try:
                return run(optimizer, *given)
            finally:
                self.seconds[trainer] += process_time() - before

        Optimizer.run = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        from rrm.models.optimizer import Optimizer

        Optimizer.run = self._run  # type: ignore[method-assign]


def measure(folder: Path, sets: list[str], profile: cProfile.Profile | None = None) -> dict[str, Any]:
    """CPU-seconds of the last node: in all, in the loops, and by stage."""
    study = Study.load(CONFIG, arms=["recursive"], sets=["seed=0", *sets])
    wanted = {job.name: job for job in jobs(study)[0]}
    store = Store(folder)
    few_collections()
    *below, last = [wanted[name] for name in NODES]
    for job in below:
        train(job, store, lambda *_: None)
    with Loops() as loops:
        if profile:
            profile.enable()
        before = process_time()
        measured_level(last, store)
        spent = process_time() - before
        if profile:
            profile.disable()
    stages = store.spent(last.key)
    for trainer, seconds in loops.seconds.items():
        stages[trainer] = stages.get(trainer, 0.0) - seconds
    stages["between stages"] = spent - sum(loops.seconds.values()) - sum(stages.values())
    return {"cpu": spent, "loops": loops.seconds, "outside": stages, "share": 1 - sum(loops.seconds.values()) / spent}


def measured_level(job: Job, store: Store) -> None:
    """The level that counts: a function of its own, so that a profile can tell it from those below."""
    train(job, store, lambda *_: None)


MEASURED = measured_level.__name__


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=1)
    command.add_argument("--sets", nargs="*", default=[], help="Changes of the plan, to try a smaller one.")
    command.add_argument("--profile", action="store_true", help="Also the dearest functions (the figures then lie).")
    given = command.parse_args()
    profile = cProfile.Profile() if given.profile else None
    runs = []
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(Path(folder), given.sets, profile))
    runs.sort(key=lambda run: run["share"])
    middle, share = runs[len(runs) // 2], statistics.median(run["share"] for run in runs)
    rows: list[list[object]] = [["stage", "CPU-s", "share"]]
    rows += [[f"{name} (kernels)", s, f"{s / middle['cpu']:.1%}"] for name, s in middle["loops"].items()]
    outside = sorted(middle["outside"].items(), key=lambda stage: -stage[1])
    rows += [[name, s, f"{s / middle['cpu']:.1%}"] for name, s in outside]
    rows.append(["outside the kernels", sum(middle["outside"].values()), f"{share:.1%}", f"bar {BAR:.0%}"])
    rows.append(["in all", middle["cpu"], "", verdict(share <= BAR)])
    found = {"bar": BAR, "share": share, "passed": share <= BAR, "shares": [r["share"] for r in runs], "run": middle}
    give(found, rows, as_json=given.json)
    if profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
