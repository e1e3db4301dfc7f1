"""Goes on with the run as soon as what it waited for is judged, in a process of its own: the page never waits."""

from __future__ import annotations

import math
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from rrm.desk import Desk
from rrm.errors import RrmError, Unfinished
from rrm.inert import inert

GRACE = 4.0
"""Seconds for which the last verdict of a round can still be undone."""

RETRY, SELDOM = 60.0, 3600.0
"""Seconds after which a run that failed is tried again, for somebody may mend it, or another `rrm run` was at work.
Each time that nothing has changed at the desk, it is twice as many, up to the second."""

LAST = 10.0
"""Seconds that a run has to end when it is told to."""

REJUDGE = "what `rrm rejudge` asked is judged: run the same `rrm rejudge` again, which takes it"


class Waits(NamedTuple):
    """Under which keys of a record cases may wait at a desk."""

    keys: Collection[str]
    apart: Collection[str]
    """Those of them that no run takes: `rrm rejudge` does."""


class GoingOn:
    """Watches a desk, and runs `command` whenever all that waited of some node is judged."""

    def __init__(
        self,
        desk: Desk,
        command: Sequence[str] | None,
        *,
        waits: Callable[[], Waits] | None = None,
        grace: float = GRACE,
        every: float = 0.5,
    ) -> None:
        """Without a command nothing is run: somebody else does. `waits` is asked after each run, and before one; it
        may raise RrmError where nothing waits. Without it, whatever lies on the desk is the run's."""
        self._desk, self._command, self._grace, self._every = desk, command, grace, every
        self._asked, self._apart = waits, frozenset[str]()
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name="going-on", daemon=True)
        self._held: tuple[int, ...] | None = None
        self._pause, self._again = RETRY, math.inf
        self._state, self._judged_apart = "waiting for verdicts", False

    def start(self) -> None:
        """Begin to watch, and close the cases that are no longer needed."""
        self._look()
        if self._command is not None or self._asked is not None:
            self._thread.start()

    def stop(self) -> None:
        """End, and with it the run, which keeps all that it has recorded."""
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        if self._thread.is_alive():
            self._thread.join(timeout=LAST)
        if self._process is not None and self._process.poll() is None:  # it heeds no such word, and would outlive us
            self._process.kill()
            self._process.wait()

    @property
    def state(self) -> str:
        """What the run is doing, or what its owner is to do."""
        return REJUDGE if self._judged_apart and self._state != "training" else self._state

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self._state == "finished"

    def _watch(self) -> None:
        due_since: float | None = None
        while not self._stop.is_set():
            try:
                due = self._is_due()
                due_since = (due_since or time.monotonic()) if due else None
                if due_since is not None and time.monotonic() - due_since >= self._grace:
                    due_since = None
                    self._look()  # another command may have laid something down meanwhile
                    if self._is_due():
                        self._run()
            except RrmError as error:  # a database that is away for a while
                due_since, self._state = None, inert(str(error), 300)
            self._stop.wait(self._every)

    def _is_due(self) -> bool:
        """Whether the run can go on, and could not when it was run last."""
        waits = self._desk.tray.waits()
        apart = [judged for key, judged in waits.items() if key in self._apart]
        self._judged_apart = bool(apart) and all(apart)
        own = [judged for key, judged in waits.items() if key not in self._apart]
        if self._command is None or self.finished or (own and not any(own)):
            return False
        if self._held is None or time.monotonic() >= self._again:
            return True
        if self._desk.tray.stands() == self._held:
            return False
        self._pause = RETRY
        return True

    def _look(self) -> None:
        try:
            waits = self._asked() if self._asked else None
        except RrmError:  # nothing waits, or the record is away
            return
        if waits is not None:
            self._apart = frozenset(waits.apart)
            self._desk.tray.put_away(waits.keys)

    def _run(self) -> None:
        self._state, self._held, self._again = "training", self._desk.tray.stands(), math.inf
        self._process = subprocess.Popen(
            list(self._command or ()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        _, said = self._process.communicate()
        code = self._process.returncode
        if code == 0:
            self._state = "finished"
        elif code == Unfinished.exit_code:
            self._state, self._pause = "waiting for verdicts", RETRY
        elif not self._stop.is_set():
            last = (said.strip().splitlines() or [f"it ended with exit code {code}"])[-1]
            self._state = f"stopped: {inert(last, 500)}"
            self._again, self._pause = time.monotonic() + self._pause, min(2 * self._pause, SELDOM)
            self._held = self._desk.tray.stands()
        self._look()
