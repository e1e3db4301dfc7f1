"""Trains a node on one torch thread: in this process, or in worker processes that do nothing else."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from rrm.errors import GateFailed, RrmError
from rrm.faults import blamed
from rrm.hearing import Watch
from rrm.job import Job, assemble_node
from rrm.level import Level
from rrm.store import Store

Progress = Callable[[str, str, int, int, str], None]
"""Told of a node (by key): what it does, how much of it is done, out of how much, and what there is to say of it: at
"spot" how its helpers stand, at "alarm" that one cannot be trusted."""

_DIED = (
    "a worker process ended without a word (killed, or out of memory?). Run the same command again, perhaps with fewer "
    "--workers: it goes on from what was recorded."
)

_worker: dict[str, Any] = {}


def train(job: Job, store: Store, watch: Watch) -> None:
    """Train one node, everything that it needs being published.

    Raises ComponentError for whatever goes wrong in a component, saying in which file: plug-ins are not ours to trust.
    """
    node = assemble_node(job)
    if node.key != job.key:
        raise RrmError(
            f"{job.name} ({job.arms[0]}): the code of a component, or a file that one reads, was changed after the "
            "run began. Run the same command again: what is trained under the old code stays as it is."
        )
    who = f"{job.name} ({job.arms[0]})"
    with blamed(who), one_thread():
        try:
            stops = [needed for _, needed in job.spot_stops] if len(job.spot_stops) == len(job.arms) else []
            Level(node, store, watch, stops=stops).train()
        except GateFailed as error:
            raise GateFailed(f"{who}: {error}") from None


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch, if it is used, to one thread: more lose on small models, and vary by machine.

    Afterwards the process has as many as before; a torch that is loaded only here keeps to one.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # for a component that loads torch later
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def few_collections() -> None:
    """For the rest of a process that only trains: records form no cycles, yet making thousands keeps waking a
    collector that walks all of torch, and of what was recorded so far."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)


@contextmanager
def pool(count: int, folder: Path, progress: Progress) -> Iterator[Callable[[Job], Future[None]]]:
    """`count` processes that train whatever is handed to what this gives; whoever leaves early ends them.

    Raises RrmError if one of them dies.
    """
    context = multiprocessing.get_context("spawn")
    _quiet_tracker()
    events: Any = context.Queue()
    listener = threading.Thread(target=_listen, args=(events, progress), daemon=True)
    listener.start()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _start, (str(folder), events)) as executor:
        try:
            yield lambda job: executor.submit(_work, job)
        except BaseException as error:
            # what is recorded is whole wherever a worker stops, so nobody need wait for the others
            executor.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RrmError(_DIED) from None
            raise
        finally:
            events.put(None)
    listener.join()


def _quiet_tracker() -> None:
    """Start the process that cleans up after this one; where this one is killed, it does so without a warning."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker:UserWarning"]))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _listen(events: Any, progress: Progress) -> None:
    while (event := events.get()) is not None:
        progress(*event)


def _start(folder: str, events: Any) -> None:
    """Set up a worker, and an end to it when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    handle = (Path(folder) / "workers.lock").open("a")
    fcntl.flock(handle, fcntl.LOCK_SH)
    _worker.update(store=Store(Path(folder)), events=events, lock=handle)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()


def _work(job: Job) -> None:
    last: list[object] = []
    if not _worker.get("settled"):
        assemble_node(job)  # so that what its components import is there
        few_collections()
        _worker["settled"] = True

    def watch(stage: str, done: int, of: int, words: str) -> None:
        mark = [stage, done * 50 // max(of, 1), words]
        if mark != last:  # a message for every case would cost more than the case
            last[:] = mark
            _worker["events"].put((job.key, stage, done, of, words))

    train(job, _worker["store"], watch)
