"""Recursive reward modeling: the questions that judging raises are put to the agents of the levels below."""

from __future__ import annotations

from rrm.records import Case
from rrm.roles import Asking, OversightProtocol, Task


class Recursive(OversightProtocol):
    """Asks what the task itself says would help to judge a case (Leike et al. 2018, section 3.2)."""

    def assist(self, task: Task, case: Case) -> Asking:
        return task.queries(case)
