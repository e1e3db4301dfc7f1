"""Judges by the task's own estimate, and says the first of the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rrm import Abstention, Case, Evaluator, Feedback, Ranking, Seed, Task


class FirstPick(Evaluator):
    """Marks one answer, or none where all seem alike."""

    reproducible = True

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in cases:
            values = task.estimate(case, budget=1)
            if values is None or max(values) == min(values):
                yield Abstention(case=case.id, evaluator=self.name(), reason="they seem alike")
                continue
            best = max(range(len(values)), key=values.__getitem__)
            rest = tuple(i for i in range(len(values)) if i != best)
            yield Ranking(case=case.id, evaluator=self.name(), tiers=((best,), rest))
