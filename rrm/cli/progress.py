"""How far a run is, on standard error: bars in a terminal, a line for each finished node anywhere else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from rrm.inert import inert
from rrm.job import Job, is_published
from rrm.registry import EVALUATORS
from rrm.store import Store
from rrm.worker import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_BEGINS = {"baselines": 0.0, "answer": 0.0, "ask": 0.05, "judge": 0.15, "reward": 0.3, "policy": 0.65, "gate": 0.95}
"""How far a round is when a stage of it begins: a guess, for a bar that moves."""

ALARM = "! "


@contextmanager
def telling(wanted: Sequence[Job], store: Store, *, quiet: bool) -> Iterator[Progress]:
    """What to hand to `rrm.build.run` while it trains `wanted`."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)
    stale = [job for job in wanted if not is_published(store, job.key)]
    if kept := len(wanted) - len(stale):
        console.print(Text(f"{kept} of {len(wanted)} nodes are trained already"))
    # a person at the terminal is asked on standard error too: bars would draw over the questions
    asked = any(user.kind(EVALUATORS).interactive for job in stale for user in job.plan.users(job.name))
    if quiet or asked or not stale or not console.is_terminal:
        yield _Lines(stale, console)
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        yield _Bars(stale, bars, _Lines(stale, bars.console))


@contextmanager
def judging(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """What to hand to `rrm.conduct.conduct`: at its beginning and end, it says how many judgements are made."""
    console, last = Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet), [0, 0]

    def told(done: int, of: int) -> None:
        if of and last[1] == 0:
            console.print(Text(f"trial: {done} of {of} judgements are made"))
        last[:] = done, of

    yield told
    if last[1]:
        console.print(Text(f"trial: {last[0]} of {last[1]} judgements"))


def described(job: Job) -> str:
    """A node and who shares it, in a few words, safe to show."""
    more = f" and {len(job.arms) - 1} more" if len(job.arms) > 1 else ""
    return inert(f"{job.name} ({job.arms[0]}{more})", 90)


class _Lines:
    def __init__(self, stale: Sequence[Job], console: Console) -> None:
        self._jobs, self._console, self._done = {job.key: job for job in stale}, console, 0
        self._found: dict[str, dict[str, str]] = {}  # of a node, what spot checks came to, by which they are

    def __call__(self, key: str, stage: str, done: int, of: int, words: str = "") -> None:
        if key not in self._jobs:
            return
        if stage in ("spot", "alarm") and words:
            self._spot(key, words, alarm=stage == "alarm")
        if stage == "done":
            self._done += 1
            self._say(f"[{self._done}/{len(self._jobs)}] trained {described(self._jobs[key])}")
            for told in self._found.get(key, {}).values():
                self._say(f"  {told}")

    def _spot(self, key: str, words: str, *, alarm: bool) -> None:
        """An alarm is told as it comes, and once; how all else stands, when the node is done."""
        found, which = self._found.setdefault(key, {}), words.partition(":")[0]
        if alarm and not found.get(which, "").startswith(ALARM):
            self._say(f"{ALARM}{described(self._jobs[key])}: {inert(words, 300)}", style="bold red")
        found[which] = f"{ALARM if alarm else ''}{inert(words, 300)}"

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)
        sys.stderr.flush()


class _Bars:
    """One bar for each node that is being trained, and one for all of them."""

    def __init__(self, stale: Sequence[Job], bars: Bars, lines: _Lines) -> None:
        self._jobs, self._bars, self._lines = {job.key: job for job in stale}, bars, lines
        self._all = bars.add_task("all nodes", total=len(stale))
        self._running: dict[str, TaskID] = {}
        self._round: dict[str, int] = {}
        self._last: dict[str, tuple[str, int, str]] = {}
        self._spots: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, key: str, stage: str, done: int, of: int, words: str = "") -> None:
        with self._lock:
            if key not in self._jobs or self._last.get(key) == (mark := (stage, done * 50 // max(of, 1), words)):
                return
            self._last[key] = mark
            if stage in ("spot", "alarm"):
                self._lines(key, stage, done, of, words)
                self._spots[key] = words or self._spots.get(key, "")
            self._advance(key, stage, done, of)

    def _advance(self, key: str, stage: str, done: int, of: int) -> None:
        job, bars = self._jobs[key], self._bars
        rounds = job.plan.node[job.name].effort.rounds
        if stage == "done":
            if key in self._running:
                bars.remove_task(self._running.pop(key))
            bars.advance(self._all)
            self._lines(key, stage, done, of)
            return
        if key not in self._running:
            self._running[key] = bars.add_task(described(job), total=rounds)
        if stage in ("answer", "ask", "reward", "policy"):
            self._round[key] = done
        at = self._round.get(key, 0)
        share = 0.15 * done / max(of, 1) if stage == "judge" else 0.0
        words = f"{described(job)}: round {at} ({rounds} in all), {stage}"
        if spots := self._spots.get(key):
            words += f"\n  {inert(spots, 120)}"
        part = self._running[key]
        bars.update(part, description=words, completed=min(at + _BEGINS.get(stage, 0.0) + share, rounds))
