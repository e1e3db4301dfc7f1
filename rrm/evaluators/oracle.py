"""A control arm that knows the answer key: what could be learnt if judging were not the difficulty."""

from __future__ import annotations

from collections.abc import Sequence

from rrm.evaluators._verdict import Valuing
from rrm.records import Case
from rrm.roles import Task
from rrm.seed import Seed


class Oracle(Valuing):
    """Judges by `Task.truth`. With a teacher's errors set, it is the teacher of B-Pref, who errs on the true reward."""

    class Settings(Valuing.Settings):
        """The errors of a teacher; by default it makes none."""

    settings: Settings

    asks_truth = True

    def values(self, task: Task, case: Case, seed: Seed) -> Sequence[float] | None:
        values = task.truths([case.item] * len(case.responses), [response.text for response in case.responses])
        known = [v for v in values if v is not None]
        return known if len(known) == len(values) else None
