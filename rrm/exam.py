"""Exams: agents answer held-out items, for reports; nothing that is trained depends on it, and no truth is asked."""

from __future__ import annotations

from collections.abc import Sequence

from rrm.control import StepReward
from rrm.node import Node, prepared, published
from rrm.records import Exam, Item
from rrm.roles import Assistant, RewardModel, Task
from rrm.seed import Seed
from rrm.store import Store
from rrm.tree import Tree

SCORED = 500
"""Exam items for which the reward model's scores of all answers are recorded."""
BELIEVED = 250
"""Exam items for which its score of the answer given is recorded, each round, where there is no finite answer set."""


def baselines(node: Node, store: Store) -> list[Exam]:
    """What a node is compared with: who was trained on lower levels alone, and the tree where there is one."""
    below = _below(node, store)
    drawn = tuple(node.task.sample(node.seed.at("drawn", i).rng()).prompt for i in range(node.effort.exam))
    nobody = Exam(moment="zero-shot", prompts=(), answers=())
    exams = [(exam(node, "zero-shot", below) if below else nobody).model_copy(update={"trained_on": drawn})]
    if node.helpers and Tree.stands(node):
        tree = exam(node, "tree", Tree.of(node, store))
        exams += [tree] if any(tree.answers) else []  # a user who never marks a best has no tree
    return exams


def exam(
    node: Node,
    moment: str,
    agent: Assistant,
    reward: RewardModel | None = None,
    *,
    first: Exam | None = None,
    last: bool = True,
) -> Exam:
    """An agent's answers to the exam of a node. With `reward`, also what that says: in the `last` round of every answer
    that there is; where there is no finite set of them, in each round of the answer given, and of the one in the exam
    `first` (None: this one). Of a reward that knows the truth (a control) nothing is told: a record holds no truth."""
    items = _items(node.task, node.effort.exam, node.seed.at("exam"))
    if node.effort.curve is not None:  # so that fewer of them are a fair draw, and the first of them
        node.seed.at("exam", "order").shuffle(items)
        items = items[: node.effort.examined(last=last)]
    if isinstance(agent, Tree):
        items = items[:SCORED]
    texts = agent.respond(items, n=1, seeds=[node.seed.at("exam", i) for i in range(len(items))]) if items else []
    given = tuple(t[0] for t in texts)
    taken = Exam(moment=moment, prompts=tuple(i.prompt for i in items), answers=given)
    if reward is None or not items or (isinstance(reward, StepReward) and reward.asks_truth):
        return taken
    answers = node.task.answers(items[0])
    if answers is not None:
        scores = _scored(reward, items[:SCORED], [answers] * len(items[:SCORED])) if last else ()
        return taken.model_copy(update={"scores": scores})
    pairs = [[now, before] for now, before in zip(given, (first or taken).answers[:BELIEVED], strict=False)]
    if not pairs:  # no exam was held after the first round
        return taken
    now, before = zip(*_scored(reward, items[: len(pairs)], pairs), strict=True)
    return taken.model_copy(update={"believed": now, "believed_first": before})


def _scored(
    reward: RewardModel, items: Sequence[Item], texts: Sequence[Sequence[str]]
) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(x), 5) for x in row) for row in reward.score(items, texts).mean)


def _below(node: Node, store: Store) -> Assistant | None:
    """Who could answer this level's items without having been trained on them."""
    alike = [h for h, _ in node.helpers.values() if h.task.name() == node.task.name()]
    if node.start:
        return prepared(node, store)
    return published(alike[0], store).assistant if alike else None


def _items(task: Task, count: int, seed: Seed) -> list[Item]:
    """The held-out items of an exam: all where they are few enough, else a draw that every arm shares."""
    every = task.items(held_out=True)
    if every is not None and len(every) <= count:
        return list(every)
    return [task.sample(seed.at(i).rng(), held_out=True) for i in range(count)]
