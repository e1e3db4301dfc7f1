"""Goes on with the run as soon as what it waited for is judged, in a process of its own: the page never waits."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence

from rrm.desk import Desk
from rrm.errors import RrmError, Unfinished
from rrm.inert import inert

GRACE = 4.0
"""Seconds for which the last verdict of a round can still be undone."""


RETRY = 60.0
"""Seconds after which a run that failed is tried again: somebody may mend it, or another `rrm run` was at work."""


class GoingOn:
    """Watches a desk, and runs `command` whenever all that waited of some node is judged."""

    def __init__(self, desk: Desk, command: Sequence[str] | None, *, grace: float = GRACE, every: float = 0.5) -> None:
        """Without a command nothing is run: somebody else does."""
        self._desk, self._command, self._grace, self._every = desk, command, grace, every
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name="going-on", daemon=True)
        self.state = "waiting for verdicts"

    def start(self) -> None:
        """Begin to watch."""
        if self._command is not None:
            self._thread.start()

    def stop(self) -> None:
        """End, and with it the run, which keeps all that it has recorded."""
        self._stop.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.state == "finished"

    def _watch(self) -> None:
        due_since: float | None = None
        while not self._stop.is_set() and not self.finished:
            try:
                due = self._desk.tray.is_empty() or self._desk.tray.is_due()
            except RrmError as error:  # a database that is away for a while
                due, self.state = False, inert(str(error), 300)
            due_since = (due_since or time.monotonic()) if due else None
            if due_since is not None and time.monotonic() - due_since >= self._grace:
                self._run()
                due_since = None
            self._stop.wait(self._every)

    def _run(self) -> None:
        self.state = "training"
        self._process = subprocess.Popen(
            list(self._command or ()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        _, said = self._process.communicate()
        code = self._process.returncode
        if code == 0:
            self.state = "finished"
        elif code == Unfinished.exit_code:
            self.state = "waiting for verdicts"
        elif not self._stop.is_set():
            last = (said.strip().splitlines() or [f"it ended with exit code {code}"])[-1]
            self.state = f"stopped: {inert(last, 500)}"
            self._stop.wait(RETRY)
