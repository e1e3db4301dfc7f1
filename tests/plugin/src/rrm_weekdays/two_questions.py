"""Puts the first two questions of a task to its helpers, and no more."""

from __future__ import annotations

from rrm import Asking, Case, OversightProtocol, Task


class TwoQuestions(OversightProtocol):
    """Follows the task's own decomposition for two steps."""

    def assist(self, task: Task, case: Case) -> Asking:
        raised = task.queries(case)
        query = next(raised, None)
        for _ in range(2):
            if query is None:
                return
            answer = yield query
            try:
                query = raised.send(answer)
            except StopIteration:
                return
