"""Conducts a plan's trial: help is gathered for each arm, and each rater judges what was drawn for them.

Everything is recorded before it is used, so that a trial which was stopped goes on when the plan is run again. The
truth is asked by the report alone, and no rater learns to which arm a case belongs: its place in the record does not
tell.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rrm import __version__
from rrm.build import alone
from rrm.errors import ComponentError, PlanError, Unfinished
from rrm.faults import blamed
from rrm.hearing import Hearing, known, serving
from rrm.identity import identity
from rrm.job import PEOPLE, assemble_node, is_published, jobs, recorded
from rrm.node import Node, published
from rrm.plan import Study, Trial, TrialArm
from rrm.records import FEEDBACK, Arm, Case, Feedback, Item, Response
from rrm.registry import ASSISTANTS, EVALUATORS, PROTOCOLS
from rrm.roles import Assistant, Evaluator, Room, Seat, Task, Wrapper
from rrm.seed import Seed
from rrm.store import Store
from rrm.trial import assign
from rrm.trial.record import NODE, SEATS, STREAM, Cell, TrialRecord
from rrm.worker import one_thread

LOGIC = 1
"""Version of what is done here: raised when a change of it would give another trial from the same plan."""

TRIES = 20
"""Items are drawn so many times as many as are needed, to find ones to which the agent gives two answers."""

Said = Callable[[int, int], None]
"""Told how many judgements are made, out of how many."""


def conduct(study: Study, store: Store, *, progress: Said | None = None) -> TrialRecord | None:
    """Do the trial that a study asks for, or what is left of it; None if it asks for none.

    Its node, and all below it, are trained. Raises Unfinished where cases wait for a person, PlanError where the plan
    asks for what cannot be compared.
    """
    if study.trial is None:
        return None
    with one_thread():
        trial = prepare(study)
        with alone(store.folder), blamed(f"trial ({trial.node.name})"):
            return trial.run(store, progress or (lambda done, of: None))


def waiting(store: Store, *, trust: bool = False) -> set[str]:
    """The key of a record's trial, where people at a browser are asked in it and it is not done. Raises RrmError where
    the record cannot be read."""
    study = recorded(store, trust=trust)
    if study.trial is None:
        return set()
    trial = prepare(study)
    done = store.length(trial.key, f"{SEATS}/feedback") == study.trial.raters * study.trial.cases
    return {trial.key} if not done and trial.seats else set()


def wanted(store: Store, *, trust: bool = False) -> tuple[int, int]:
    """How many people at a browser a record's run needs: as many as judge each case of what is not trained yet, and
    as many as have a seat in its trial."""
    study = recorded(store, trust=trust)
    waits = [job for job in jobs(study)[0] if not is_published(store, job.key)]
    users = [user for job in waits for user in assemble_node(job).users() if user.name() == PEOPLE]
    each = [int(user.settings.model_dump()["raters"]) for user in users]
    return max(each, default=0), prepare(study).seats if waiting(store, trust=trust) else 0


def prepare(study: Study) -> Conducted:
    """The trial of a study, its parts built; nothing need be trained yet. Raises PlanError where it cannot be."""
    plan = study.trial
    if plan is None:
        raise PlanError("the plan has no [trial]")
    wanted, arms = jobs(study)
    arm = next(a for a in arms if plan.arm in ("", a.name))
    top = {job.key: assemble_node(job) for job in wanted if job.key in arm.nodes.values()}
    helped = [node for node in top.values() if node.helpers]
    if not helped:
        raise PlanError("trial: nobody helps to judge any node, so that there is no help to try: write `helped_by`")
    node = top[arm.nodes[plan.node]] if plan.node else max(helped, key=lambda n: n.level)
    return Conducted(plan, arm, node)


class Conducted:
    """One trial: its parts, and what is done with them."""

    def __init__(self, plan: Trial, arm: Arm, node: Node) -> None:
        self.plan, self.arm, self.node = plan, arm, node
        self._nodes = [_with_help(node, one) for one in plan.arms]
        self.raters = [
            (use.build(EVALUATORS, "trial.people") if use else node.evaluator).seated(node.name, node.level)
            for use in _in_turn(plan)
        ]
        for rater in self.raters:
            rater.check(node.task)
            for seconds in plan.seconds:
                rater.within(seconds)
        told = [[identity(n.protocol), *_wrappers(one)] for n, one in zip(self._nodes, plan.arms, strict=True)]
        for place, one in enumerate(told):
            if one in told[:place]:
                same = plan.arms[told.index(one)].name
                raise PlanError(
                    f"trial.arms: {plan.arms[place].name!r} is the same as {same!r} at node {node.name!r}: give one "
                    "another protocol or wrapped_in, or name another trial.arm"
                )
        described = {
            "rrm": __version__, "logic": LOGIC, "node": node.key, "arms": told, "seed": plan.seed,
            "raters": [identity(r) for r in self.raters], "size": [plan.cases, plan.of], "seconds": plan.seconds,
        }  # fmt: skip
        self.key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        self.seed = Seed(plan.seed).at("trial", node.seed.value)

    @property
    def seats(self) -> int:
        """How many of its raters are people at a browser."""
        return sum(rater.name() == PEOPLE for rater in self.raters)

    def record(self) -> TrialRecord:
        """The trial as it is listed."""
        plan, many = self.plan, len(self.plan.arms)
        design = assign(plan.raters, plan.cases, len(plan.cells), of=plan.of, seed=self.seed.at("design"))
        return TrialRecord(
            key=self.key,
            arm=self.arm.id,
            node=self.node.name,
            cells=tuple(
                Cell(name=arm.name, seconds=seconds, control=place - place % many)
                for place, (arm, seconds) in enumerate(plan.cells)
            ),
            raters=tuple(rater.name() for rater in self.raters),
            design=tuple((a.rater, a.case, a.arm) for a in design),
        )

    def run(self, store: Store, progress: Said) -> TrialRecord:
        """Do what is not done yet."""
        record = self.record()
        if record.id not in {r.id for r in store.read(NODE, STREAM, TrialRecord).values()}:
            store.append(NODE, STREAM, [record])
        cases = list(store.read(self.key, f"{SEATS}/cases", Case).values()) or self._lay_out(record, store)
        done: dict[int, Feedback] = store.read(self.key, f"{SEATS}/feedback", FEEDBACK)
        progress(len(done), len(cases))
        room = Room(store.folder, self.key, known(self.node, store))
        for number, feedback in self._heard(record, cases, done, room):
            store.write(self.key, f"{SEATS}/feedback", [(number, feedback)])
            done[number] = feedback
            progress(len(done), len(cases))
        if missing := len(cases) - len(done):
            who = next(record.design[n][0] for n in range(len(cases)) if n not in done)
            how = self.raters[who]
            raise Unfinished(
                f"trial of {self.node.name}: {missing} of {len(cases)} judgements are still to be made, by "
                f"{len(self.raters)} raters. What was judged is kept: {how.how_to_go_on(store.folder)}"
            )
        return record

    def _lay_out(self, record: TrialRecord, store: Store) -> list[Case]:
        """Every rater's own cases: of one item and answers, those of each arm have their own exhibits."""
        bare = self._bare(store)
        helped = []
        for place, node in enumerate(self._nodes):
            stream = f"arm-{place}"
            hearing = Hearing(node, self.key, store, serving(node, store))
            recorded = list(store.read(self.key, f"{stream}/cases", Case).values())
            # the same seed for all arms: where they ask the same helper the same, they hear the same
            helped.append(recorded or hearing.assist(stream, bare, self.seed.at("help")))
        many = len(self.plan.arms)
        cases = [
            helped[cell % many][case].model_copy(update={"place": f"{SEATS}/{number}"})
            for number, (_, case, cell) in enumerate(record.design)
        ]
        store.append(self.key, f"{SEATS}/cases", cases, first=0)
        return cases

    def _bare(self, store: Store) -> list[Case]:
        """Held-out items, each with two different answers of the agent. Raises PlanError if there are too few."""
        node, wanted = self.node, self.plan.of or self.plan.cases
        agent, found = published(node, store).assistant, dict[str, Case]()
        for first in range(0, TRIES * wanted, wanted):
            items = self._items(first, wanted)
            if not items:
                break
            seeds = [self.seed.at("case", item.prompt) for item in items]
            for item, texts, at in zip(items, agent.propose(items, n=2, seeds=seeds), seeds, strict=True):
                if len(distinct := list(dict.fromkeys(texts))) > 1 and item.prompt not in found:
                    at.at("order").shuffle(distinct)
                    shown = (Response(item=item.id, text=t, agent=node.name, sample=n) for n, t in enumerate(distinct))
                    found[item.prompt] = Case(item=item, responses=tuple(shown))
            if len(found) >= wanted:
                return list(found.values())[:wanted]
        raise PlanError(
            f"trial: {node.name} gives two different answers to only {len(found)} held-out items, and {wanted} "
            "different cases are wanted: lower trial.cases, or trial.of"
        )

    def _items(self, first: int, count: int) -> Sequence[Item]:
        every = self.node.task.items(held_out=True)
        if every is None:
            return [
                self.node.task.sample(self.seed.at("item", i).rng(), held_out=True) for i in range(first, first + count)
            ]
        shuffled = list(every)
        self.seed.at("items").rng().shuffle(shuffled)
        return shuffled[first : first + count]

    def _heard(
        self, record: TrialRecord, cases: Sequence[Case], done: dict[int, Feedback], room: Room
    ) -> Iterator[tuple[int, Feedback]]:
        """The judgements that are not made yet, as they arrive. Who judges alike is asked together."""
        waiting = {case.id: number for number, case in enumerate(cases) if number not in done}
        groups: dict[str, tuple[Evaluator, list[Seat]]] = {}
        for rater, user in enumerate(self.raters):
            own = [n for n, row in enumerate(record.design) if row[0] == rater]
            rows = [n for n in own if n not in done]
            seconds = [record.cells[record.design[n][2]].seconds for n in rows]
            person = sum(before.name() == PEOPLE for before in self.raters[:rater])
            seat = Seat(rater, [cases[n] for n in rows], seconds, len(own) - len(rows), person)
            groups.setdefault(json.dumps(identity(user), sort_keys=True), (user, []))[1].append(seat)
        for user, seats in groups.values():
            for feedback in user.heard_in(room).judge_seats(self.node.task, seats, seed=self.seed.at("judge")):
                number = waiting.pop(feedback.case, None)
                if number is None:
                    raise ComponentError(f"{user.name()!r} judged a case that it was not given, or twice")
                yield number, feedback


def _in_turn(plan: Trial) -> list[Any]:
    return [plan.people[i % len(plan.people)] if plan.people else None for i in range(plan.raters)]


def _with_help(node: Node, arm: TrialArm) -> Node:
    """The node, with the help of one arm."""
    protocol = arm.protocol.build(PROTOCOLS, f"trial.arms.{arm.name}.protocol") if arm.protocol else node.protocol
    wraps = [_wrapper(arm, place) for place in range(len(arm.wrapped_in))]

    def around(assistant: Assistant, before: Callable[[Assistant], Assistant], task: Task) -> Assistant:
        found = before(assistant)
        for wrapper in wraps:
            found = wrapper.around(found, task)
        return found

    helpers = {s: (h, functools.partial(around, before=wrap, task=h.task)) for s, (h, wrap) in node.helpers.items()}
    return replace(node, protocol=protocol, helpers=helpers)


def _wrapper(arm: TrialArm, place: int) -> Wrapper:
    where = f"trial.arms.{arm.name}.wrapped_in"
    found = arm.wrapped_in[place].build(ASSISTANTS, where)
    if not isinstance(found, Wrapper):
        raise PlanError(f"{where}: {arm.wrapped_in[place].use!r} does not wrap another assistant")
    return found


def _wrappers(arm: TrialArm) -> list[Any]:
    return [identity(_wrapper(arm, place)) for place in range(len(arm.wrapped_in))]
