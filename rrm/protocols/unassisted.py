"""No help: the evaluator sees the item and the answers, which is plain reward modeling."""

from __future__ import annotations

from rrm.records import Case
from rrm.roles import Asking, OversightProtocol, Task


class Unassisted(OversightProtocol):
    """Asks nobody anything: the control arm that shows what help is worth."""

    def assist(self, task: Task, case: Case) -> Asking:
        yield from ()
