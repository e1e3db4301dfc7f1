"""The baseline that keeps recursion honest: level-0 agents asked everything, combined by the user's own rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from rrm.asking import Helper, Helpers, ask_all
from rrm.node import Node, published
from rrm.records import Case, Exam, Item, Response
from rrm.roles import Assistant, Evaluator, Task
from rrm.seed import Seed
from rrm.store import Store
from rrm.training.feedback import favourite


class Tree(Assistant):
    """Answers an item as the user would with all answers before them and, for help, trees like this one below.

    Costs 2^k questions where a trained level costs one; where it is as right, training bought speed alone.
    """

    def __init__(
        self, task: Task, evaluator: Evaluator, serving: Mapping[str, Helper], known: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._task, self._evaluator, self._serving = task, evaluator, serving
        self._known = dict(known or {}) if self.deterministic else {}

    @classmethod
    def stands(cls, node: Node) -> bool:
        """Whether there is one under a node: only where, all the way down, the user has a finite answer set to pick
        from, costs nothing to ask, and does not know the truth."""
        if not node.helpers:
            return True
        user, answers = node.evaluator, node.task.answers(node.task.sample(Seed(0).rng()))
        fit = user.reproducible and not user.asks_truth and answers is not None
        return fit and all(cls.stands(helper) for helper, _ in node.helpers.values())

    @classmethod
    def of(cls, node: Node, store: Store) -> Self:
        """The tree under a node: its leaves are published agents, its inner nodes the user."""
        serving = {}
        for subtask, (helper, wrap) in node.helpers.items():
            if helper.helpers:
                below: Assistant = cls.of(helper, store)
            else:
                below = published(helper, store).assistant
            serving[subtask] = Helper(helper.name, wrap(below))
        exams = store.read(node.key, "exam", Exam).values()
        known = {p: a for e in exams if e.moment == "tree" for p, a in zip(e.prompts, e.answers, strict=True)}
        return cls(node.task, node.evaluator, serving, known)

    @property
    def deterministic(self) -> bool:
        return all(h.assistant.deterministic for h in self._serving.values())

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        """The user's favourite of all answers, given the trees' answers below; "" where there is none."""
        new = [i for i, item in enumerate(items) if item.prompt not in self._known]
        fresh = dict(zip(new, self._ask([items[i] for i in new], n, [seeds[i] for i in new]), strict=True))
        return [fresh[i] if i in fresh else [self._known[item.prompt]] * n for i, item in enumerate(items)]

    def _ask(self, items: Sequence[Item], n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        cases = []
        for item in items:
            answers = self._task.answers(item) or ()
            responses = tuple(Response(item="", text=text, sample=i) for i, text in enumerate(answers))
            cases.append(Case(item=item, responses=responses or (Response(item="", text=""),)))
        results: list[list[str]] = [[] for _ in items]
        for number in range(n):
            # Every draw is addressed by the item's own seed, so that it does not matter what else stands in the batch.
            here, at = Seed(number).at("tree"), [str(seed.at(number).value) for seed in seeds]
            asked = [self._task.queries(case) for case in cases]
            exhibits = ask_all(asked, Helpers(self._serving, seed=here.at("help")), cases=at)
            helped = [
                Case(item=c.item, responses=c.responses, exhibits=e, place=p)
                for c, e, p in zip(cases, exhibits, at, strict=True)
            ]
            judged = {f.case: f for f in self._evaluator.judge(self._task, helped, seed=here.at("judge"))}
            for result, case in zip(results, helped, strict=True):
                best = favourite(case, judged[case.id]) if case.id in judged else None
                result.append(best or "")
        return results
