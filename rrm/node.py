"""A node with its cast, ready to be trained; and what a finished one leaves behind, to be read by those above."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from rrm.exchange.imported import Source
from rrm.plan import Effort, Gate, Spot
from rrm.records import FEEDBACK, Exhibit, Feedback, Query
from rrm.roles import (
    Assistant,
    Evaluator,
    GivenTerm,
    OversightProtocol,
    PolicyTrainer,
    RewardModel,
    RewardTrainer,
    Selection,
    Task,
    Turn,
)
from rrm.seed import Seed
from rrm.store import Store
from rrm.training.objective import edited, objective


@dataclass(frozen=True)
class Node:
    """A node of the graph with its cast, ready to be trained or loaded."""

    name: str
    key: str
    """Content address of all that its result depends on: where its records and weights stand."""
    seed: Seed
    task: Task
    assistant: Assistant
    protocol: OversightProtocol
    evaluator: Evaluator
    selection: Selection
    reward: RewardTrainer
    policy: PolicyTrainer
    effort: Effort
    gate: Gate
    spot: Spot = field(default_factory=Spot)
    terms: Sequence[GivenTerm] = ()
    helpers: Mapping[str, tuple[Node, Callable[[Assistant], Assistant]]] = field(default_factory=dict)
    """Subtask to the node that serves it, and what wraps its agent on the way."""
    start: Node | None = None
    judged: Sequence[Source] = ()
    """Files of what was judged elsewhere."""

    @property
    def level(self) -> int:
        """How many nodes stand below it, one upon the other."""
        return 1 + max((helper.level for helper, _ in self.helpers.values()), default=-1)

    def users(self) -> list[Evaluator]:
        """Who is asked while it is trained: its evaluator, and those of helpers whose answers it checks."""
        return [self.evaluator, *(h.evaluator for h, _ in self.helpers.values() if self.spot.on)]

    def needs(self) -> list[Node]:
        """The nodes that must be published before: its helpers, and the one that it starts from."""
        return [helper for helper, _ in self.helpers.values()] + ([self.start] if self.start else [])

    def might_say(self, query: Query) -> Exhibit | None:
        """Something that the helper might answer, to see what is asked next; None where nobody serves the subtask."""
        if query.subtask not in self.helpers:
            return None
        helper, _ = self.helpers[query.subtask]
        texts = helper.task.answers(query.item) or ("0",)
        return Exhibit(text=texts[0], agent=helper.name, about=query.about, query=query)


@dataclass(frozen=True)
class Published:
    """What a finished node leaves behind. It never changes."""

    assistant: Assistant
    reward: RewardModel


_READ: WeakKeyDictionary[Store, dict[str, Published]] = WeakKeyDictionary()
"""Published agents never change, so a process reads each once."""


def prepared(node: Node, store: Store) -> Assistant:
    """A node's agent as it is before training."""
    start = published(node.start, store).assistant if node.start else None
    return node.assistant.kept_in(store.folder).prepare(node.task, start=start, seed=node.seed.at("prepare"))


def published(node: Node, store: Store) -> Published:
    """A finished node's agent and reward model, read once. Raises MissingWeights if their files are gone or damaged."""
    known = _READ.setdefault(store, {})
    if node.key not in known:
        blank = node.assistant.kept_in(store.folder).prepare(node.task, seed=node.seed.at("prepare"))
        known[node.key] = load(node, store, "published", blank, Turn(0, 1))
    return known[node.key]


def load(node: Node, store: Store, moment: str, blank: Assistant, turn: Turn) -> Published:
    """What was saved of a node at that moment, read into an agent that is prepared."""
    folder = store.check_agent(node.key, moment)
    reward = node.reward.load(folder / "reward", task=node.task, assistant=blank)
    rounds = int(moment.removeprefix("round-")) + 1 if moment.startswith("round-") else None
    aim = objective(reward, terms_of(node, store, rounds), turn, node.task)
    agent = node.policy.load(folder / "assistant", task=node.task, assistant=blank, reward=aim)
    return Published(agent, reward)


def terms_of(node: Node, store: Store, rounds: int | None = None) -> Sequence[GivenTerm]:
    """The given terms as they stand after so many rounds (None: after all that are recorded): with a person's edits."""
    if not node.terms:
        return ()
    done = sorted(int(s.partition("/")[0]) for s in store.streams(node.key) if re.fullmatch(r"[0-9]+/feedback", s))
    said: list[Feedback] = []
    for number in done:
        if rounds is None or number < rounds:
            heard: dict[int, Feedback] = store.read(node.key, f"{number}/feedback", FEEDBACK)
            said += [heard[place] for place in sorted(heard)]
    return edited(node.terms, said, node.task)


def save(what: Published, folder: Path) -> None:
    """Write both into an empty folder."""
    for name, part in (("assistant", what.assistant), ("reward", what.reward)):
        place = folder / name
        place.mkdir()
        part.save(place)
