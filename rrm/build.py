"""Trains what is stale, as `make` would: level by level, as many nodes at once as there are workers.

Arms and seeds that agree up to a node share it; change one node, and only it and what it helps is trained again.
"""

from __future__ import annotations

import fcntl
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path

from rrm.errors import GateFailed, RrmError, StoreError, Unfinished
from rrm.inert import inert
from rrm.job import Job, assemble_node, is_published, jobs
from rrm.plan import Study
from rrm.records import Arm, GateResult, SpotResult, slots
from rrm.spot import rejudged, told
from rrm.store import Store
from rrm.trial.record import ASKED, NODE, TrialAsked
from rrm.worker import Progress, cores, pool, train


def run(study: Study, store: Store, *, progress: Progress | None = None, workers: int | None = None) -> None:
    """Train whatever is stale, level by level, as many nodes at once as there are workers (default: cores).

    Raises Unfinished where cases wait for a person (nodes that do not need them are trained first), GateFailed where
    a plan says to stop there, StoreError if another run holds the folder, or another study stands in it.
    """
    wanted, arms = jobs(study)
    with alone(store.folder):
        # of an arm that is recorded with several plans, the last one counts
        before = refuse_another(store, arms)
        latest = {slot[-1].slot: slot[-1] for slot in slots(before)}
        new = [a for a in arms if a.slot not in latest or not _holds(latest[a.slot], a, partly=study.partly)]
        store.append("study", "arms", new)
        if not study.left_out:
            asked = TrialAsked(plan=None, folder="") if study.trial is None else study.trial.asked()
            known = list(store.read(NODE, ASKED, TrialAsked).values())
            if asked != (known[-1] if known else TrialAsked()):
                store.append(NODE, ASKED, [asked])
        for job in wanted:
            if is_published(store, job.key):
                store.tidy_agents(job.key, "published")
                store.check_agent(job.key, "published")
        stale = [job for job in wanted if not is_published(store, job.key)]
        interactive = any(user.interactive for job in stale for user in assemble_node(job).users())
        count = 1 if interactive else min(workers or cores(), len(stale))
        scheduler = _Scheduler(wanted, store, progress)
        if count <= 1:
            scheduler.in_this_process()
        else:
            scheduler.in_processes(count)


def _holds(recorded: Arm, arm: Arm, *, partly: bool) -> bool:
    """Whether an arm is recorded as it is now: of one that is run in part, these nodes among others."""
    return recorded.id == arm.id or (partly and arm.nodes.items() <= recorded.nodes.items())


def refuse_another(store: Store, arms: Sequence[Arm]) -> list[Arm]:
    """The recorded arms. Raises StoreError where another study stands in the folder: their reports would be one, and
    mean nothing.

    A study that was changed is the same as long as its title is, or its nodes and one of its arms are: nodes alone do
    not tell, for many a study is of the same two.
    """
    before = list(store.read("study", "arms", Arm).values())
    titles, parts = ({a.title for a in before if a.title}, {(a.name, frozenset(a.nodes)) for a in before})
    if before and not any(a.title in titles or (a.name, frozenset(a.nodes)) in parts for a in arms):
        other = inert(before[-1].title or ", ".join(before[-1].nodes), 100)
        raise StoreError(
            f"{store.folder}: another study stands in this folder ({other}). Give another --out; "
            "a plan that was changed counts as the same study while its title (its first comment line), or the names "
            "of its nodes and of an arm, stay"
        )
    return before


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder: one `rrm run` at a time, and none while workers of a killed one are still ending."""
    try:
        locks = (folder / "run.lock").open("a"), (folder / "workers.lock").open("a")
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written to: {error.strerror or error}. Give another --out.") from error
    with locks[0] as lock, locks[1] as workers:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{folder}: another `rrm run` is using this folder; wait for it, or give another --out"
            ) from None
        fcntl.flock(workers, fcntl.LOCK_EX)
        fcntl.flock(workers, fcntl.LOCK_UN)
        yield


class _Scheduler:
    """Hands out jobs whose needs are published, and gathers what stopped the others."""

    def __init__(self, wanted: Sequence[Job], store: Store, progress: Progress | None) -> None:
        self._store, self._progress = store, progress or (lambda key, stage, done, of, words: None)
        self._done = {j.key for j in wanted if is_published(store, j.key)}
        self._waiting = [j for j in wanted if j.key not in self._done]
        self._stopped: list[RrmError] = []
        self._barred: set[tuple[str, str]] = set()  # (arm, key): what that arm does not rely on
        for job in wanted:
            if job.key in self._done:
                self._check_gate(job)
                self._check_spots(job)

    def _ready(self) -> Iterator[Job]:
        for job in list(self._waiting):
            barred = {arm for arm in job.arms if any((arm, need) in self._barred for need in job.needs)}
            self._barred |= {(arm, job.key) for arm in barred}
            if set(job.needs) <= self._done and barred != set(job.arms):
                self._waiting.remove(job)
                yield job

    def _check_gate(self, job: Job) -> None:
        """A failed gate stops what the node would have helped, in the arms that say so; the node itself stays
        published, for reports."""
        results = list(self._store.read(job.key, "gate", GateResult).values())
        if job.stops and results and not results[-1].passed:
            last = results[-1]
            self._barred |= {(arm, job.key) for arm in job.stops}
            self._stopped.append(
                GateFailed(
                    f"{job.name} ({job.stops[0]}) did not pass its gate: the user agreed with its answer on "
                    f"{last.agreed} of {last.checked} items ({last.agreement_needed:.0%} needed), and it found "
                    f"{last.found} of {last.faults} uncommon answers ({last.recall_needed:.0%} needed). Give it more "
                    'rounds, cases or gate.extra_rounds, or set gate = "warn" to go on regardless.'
                )
            )

    def _check_spots(self, job: Job) -> None:
        """Of a node that arms share, some of which go on where a helper cannot be trusted, the others do not."""
        results = list(self._store.read(job.key, "spot", SpotResult).values()) if job.spot_stops else []
        for arm, needed in job.spot_stops:
            for subtask in dict.fromkeys(r.subtask for r in results):
                held = rejudged([r for r in results if r.subtask == subtask], needed)
                if failed := [r for r in held if not r.trusted]:
                    if not any((one, job.key) in self._barred for one, _ in job.spot_stops):  # told once
                        self._stopped.append(GateFailed(f"{job.name} ({arm}): {told(failed[0])}"))
                    self._barred.add((arm, job.key))

    def _finish(self, job: Job, error: RrmError | None) -> None:
        if error is not None:
            self._stopped.append(error)
            return
        self._done.add(job.key)
        self._check_gate(job)
        self._check_spots(job)
        self._progress(job.key, "done", 1, 1, "")

    def _raise(self) -> None:
        for kind in (RrmError, Unfinished):
            for error in self._stopped:
                if kind is Unfinished or not isinstance(error, Unfinished):
                    raise error

    def in_this_process(self) -> None:
        while batch := list(self._ready()):
            for job in batch:
                try:
                    train(job, self._store, functools.partial(self._progress, job.key))
                except RrmError as error:
                    self._finish(job, error)
                else:
                    self._finish(job, None)
        self._raise()

    def in_processes(self, count: int) -> None:
        with pool(count, self._store.folder, self._progress) as submit:
            running: dict[Future[None], Job] = {}
            while True:
                running |= {submit(job): job for job in self._ready()}
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    job, error = running.pop(future), future.exception()
                    if error is not None and not isinstance(error, RrmError):
                        raise error
                    self._finish(job, error)
        self._raise()
