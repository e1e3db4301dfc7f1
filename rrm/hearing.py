"""Puts cases before a node's user: help is gathered, then verdicts are taken, each recorded before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rrm.asking import Helper, Helpers, Wave, ask_all
from rrm.errors import ComponentError, Unfinished
from rrm.node import Node, published, terms_of
from rrm.records import FEEDBACK, Case, Exhibit, Feedback, GateResult
from rrm.roles import Judged, Known, Room, Task
from rrm.seed import Seed
from rrm.store import Store

Watch = Callable[[str, int, int, str], None]
"""Told where a level is: what it does, how much of it is done, out of how much, and what there is to say of it."""

Clock = Callable[[str], AbstractContextManager[None]]
"""Counts the CPU-seconds of what is done within it to a stage."""


@dataclass(frozen=True)
class Hearing:
    """A node's user, with the help that there is. What is said stands in streams under `key`: those of the node, or of
    another in whose training its user is asked."""

    node: Node
    key: str
    store: Store
    helpers: Mapping[str, Helper]
    watch: Watch = lambda stage, done, of, words: None
    clock: Clock = lambda stage: nullcontext()

    def assist(self, stream: str, bare: Sequence[Case], seed: Seed) -> list[Case]:
        """Gather the protocol's exhibits, recording each wave of answers before it is used; record the cases."""
        node, key = self.node, self.key

        def record(number: int, wave: Wave) -> None:
            with self.clock("record"):
                self.store.write(
                    key, f"{stream}/answers/{number}", ((i, e) for i, e in enumerate(wave) if e is not None)
                )

        def recorded(number: int, size: int) -> Wave | None:
            found = self.store.read(key, f"{stream}/answers/{number}", Exhibit)
            return [found.get(i) for i in range(size)] if found else None

        with self.clock("ask"):
            node.task.foresee(bare)
            helpers = Helpers(self.helpers, seed=seed, fresh=node.effort.fresh)
            exhibits = ask_all(
                (node.protocol.assist(node.task, case) for case in bare), helpers, record=record, recorded=recorded
            )
        cases = [
            Case(item=c.item, responses=c.responses, exhibits=e, place=f"{stream}/{i}", asks=c.asks)
            for i, (c, e) in enumerate(zip(bare, exhibits, strict=True))
        ]
        with self.clock("record"):
            self.store.append(key, f"{stream}/cases", cases, first=0)
        return cases

    def judge(self, stream: str, cases: Sequence[Case], seed: Seed) -> list[Judged]:
        """The evaluator's feedback on each case: what is recorded already, and the rest as it arrives.

        Raises Unfinished if the evaluator stops early, ComponentError if it speaks of a case it was not given.
        """
        node, place = self.node, {case.id: i for i, case in enumerate(cases)}
        done: dict[int, Feedback] = self.store.read(self.key, f"{stream}/feedback", FEEDBACK)
        waiting = [case for i, case in enumerate(cases) if i not in done]
        user = node.evaluator.heard_in(
            Room(self.store.folder, self.key, known(node, self.store), terms_of(node, self.store))
        )
        if waiting:
            told = len(done)
            with self.clock("judge"):
                batch: list[tuple[int, Feedback]] = []
                for feedback in user.judge(node.task, waiting, seed=seed, done=told):
                    where = place.get(feedback.case)
                    if where is None or where in done:
                        raise ComponentError(f"{node.evaluator.name()!r} judged a case that it was not given, or twice")
                    done[where] = feedback
                    batch.append((where, feedback))
                    self.watch("judge", len(done), len(cases), "")
                    if not node.evaluator.reproducible or len(batch) >= 1000:
                        self.store.write(self.key, f"{stream}/feedback", batch)
                        batch = []
            with self.clock("record"):
                self.store.write(self.key, f"{stream}/feedback", batch)
        if missing := len(cases) - len(done):
            raise Unfinished(
                f"{node.name}, {_which(stream)}: {missing} of {len(cases)} cases still wait for a verdict. What was "
                f"judged is kept: {user.how_to_go_on(self.store.folder)}"
            )
        return [(case, done[i]) for i, case in enumerate(cases)]


def serving(node: Node, store: Store) -> dict[str, Helper]:
    """By subtask, who helps to judge a node's answers: published agents, with what stands before them."""
    return {
        subtask: Helper(helper.name, wrap(published(helper, store).assistant), _question(node.task, subtask))
        for subtask, (helper, wrap) in node.helpers.items()
    }


def known(node: Node, store: Store) -> dict[str, Known]:
    """By subtask, who helps to judge a node's answers, and how each did at its own gate."""
    found = {}
    for subtask, (helper, _) in node.helpers.items():
        results = list(store.read(helper.key, "gate", GateResult).values())
        last = results[-1] if results else None
        found[subtask] = Known(
            helper.name, helper.level, helper.task, last.checked if last else 0, last.agreed if last else 0
        )
    return found


def _which(stream: str) -> str:
    if stream.startswith("spot-"):
        return f"spot checks of what it said in round {stream.partition('/')[0].removeprefix('spot-')}"
    return f"round {stream}" if stream.isdigit() else "its gate"


def _question(task: Task, subtask: str) -> str:
    return next((s.question for s in task.subtasks if s.name == subtask), "")
