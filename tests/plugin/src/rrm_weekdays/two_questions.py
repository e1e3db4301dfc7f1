"""Puts the first two questions of a task to its helpers, and no more."""

from __future__ import annotations

from rrm import Asking, Case, OversightProtocol, Task


class TwoQuestions(OversightProtocol):
    """Follows the task's own decomposition for two steps."""

    def assist(self, task: Task, case: Case) -> Asking:
        raised, answer = task.queries(case), None
        for _ in range(2):
            try:
                answer = yield raised.send(answer)
            except StopIteration:
                return
