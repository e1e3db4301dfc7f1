"""From a plan to its nodes: every component built, what does not fit refused, and each node under its key.

A node's key is the hash of all that its result depends on: with another key it is another node, trained afresh.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rrm import __version__
from rrm.asking import drive
from rrm.control import StepTerm
from rrm.errors import PlanError
from rrm.exchange.imported import Source, judgements
from rrm.faults import blamed
from rrm.identity import contents_of, identity
from rrm.node import Node
from rrm.plan import Effort, NodePlan, Plan, Use
from rrm.records import Case, Response
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REWARD_TERMS,
    REWARD_TRAINERS,
    SELECTIONS,
    beside,
)
from rrm.roles import Asker, Assistant, Evaluator, GivenTerm, PolicyTrainer, RewardTrainer, Task, Wrapper
from rrm.seed import Seed
from rrm.testing import check_splits

LOGIC = 3
"""Version of the level loop itself: raised when a change of it would give other results from the same plan."""


def assemble(plan: Plan) -> dict[str, Node]:
    """Every node of a plan with its cast built, helpers first. Raises PlanError that says where the fault is."""
    graph, nodes = plan.graph(), dict[str, Node]()
    level_of = graph.level_of()
    waiting = list(level_of)
    while waiting:
        ready = [n for n in waiting if _needs(plan.node[n]) <= nodes.keys()]
        if not ready:
            raise PlanError(f"these nodes wait for each other's weights or help: {', '.join(waiting)}")
        for name in ready:
            with blamed(f"node.{name}"):
                nodes[name] = _node(name, plan, graph.tasks[name], nodes, level_of[name])
                _check_wiring(nodes[name])
        waiting = [n for n in waiting if n not in nodes]
    return nodes


def _needs(node: NodePlan) -> set[str]:
    return {h.node for h in node.helped_by.values()} | ({node.start} if node.start else set())


def _node(name: str, plan: Plan, task: Task, nodes: Mapping[str, Node], level: int) -> Node:
    spec, where = plan.node[name], f"node.{name}.cast"
    if not type(task).__module__.startswith("rrm_tasks."):  # whoever wrote it may not have held it to its contract
        with _said_at(f"node.{name}.task"):
            check_apart(type(task), task.settings.model_dump_json())
    cast = spec.cast
    agent = cast.assistant.build(ASSISTANTS, f"{where}.assistant")
    if isinstance(agent, Wrapper):
        raise PlanError(f"{where}.assistant: {cast.assistant.use!r} wraps another assistant: name it under wrapped_in")
    parts: dict[str, Any] = {
        "protocol": cast.protocol.build(PROTOCOLS, f"{where}.protocol"),
        "evaluator": cast.evaluator.build(EVALUATORS, f"{where}.evaluator").seated(name, level),
        "selection": cast.selection.build(SELECTIONS, f"{where}.selection"),
        "reward": cast.reward.build(REWARD_TRAINERS, f"{where}.reward"),
        "policy": cast.policy.build(POLICY_TRAINERS, f"{where}.policy"),
    }
    own = _wraps(cast.wrapped_in, f"{where}.wrapped_in")
    with _said_at(f"{where}.assistant"):
        agent.check(task)
    with _said_at(f"{where}.evaluator"):
        parts["evaluator"].check(task)
    for role in ("selection", "reward", "policy"):
        with _said_at(f"{where}.{role}"):
            parts[role].check(task, agent)
    with _said_at(f"node.{name}.judged"):
        judged = [_source(beside(file, plan.folder), task) for file in spec.judged]
    if parts["reward"].needs_judgements and not spec.effort.asks and not judged:
        raise PlanError(
            f"node.{name}.effort.cases: 0 asks nobody, and reward {cast.reward.use!r} learns from judgements: "
            f"write 1 or more, or name files of judgements in node.{name}.judged"
        )
    _check_asking(parts["evaluator"], parts["reward"], spec.effort, name)
    with _said_at(f"{where}.terms"):
        terms = [(t, t.build(REWARD_TERMS, f"{where}.terms").of(task)) for t in cast.terms]
        given = [t._replace(term=t.term.of(task)) for t in task.terms()]
        given += [GivenTerm(c, t.weight, t.shaping) for t, c in terms]
        _check_terms(parts["policy"], given)
    edges = {s: (nodes[h.node], _wraps(h.wrapped_in, f"node.{name}.helped_by.{s}")) for s, h in spec.helped_by.items()}
    start = nodes[spec.start] if spec.start else None
    described = {
        "rrm": __version__,
        "logic": LOGIC,
        "node": name,
        "seed": plan.seed,
        "task": identity(task),
        "assistant": [identity(agent), *map(identity, own)],
        # Without helpers, how help is gathered changes nothing: so arms that differ in it share their lowest level.
        "parts": {k: identity(v) for k, v in parts.items() if edges or k != "protocol"},
        "terms": [[t.weight, t.shaping, identity(c)] for t, c in terms],
        "effort": spec.effort.model_dump(exclude=_unused(spec.effort, edges)),
        # where nobody stands at a gate, what it would ask changes nothing
        "gate": {"off": True} if spec.gate.on_fail == "off" else spec.gate.model_dump(exclude={"on_fail"}),
        # Nothing learns from spot checks: what they find is held against the plan's shares when it is read. How many
        # there are is part of it, for they are part of what is asked; not where nobody is checked.
        **({"spot": spec.spot.items} if spec.spot.on and edges else {}),
        "helped_by": {s: [h.key, *map(identity, wraps)] for s, (h, wraps) in edges.items()},
        "start": start.key if start else None,
        **({"judged": [source.content for source in judged]} if judged else {}),
    }
    return Node(
        name=name,
        key=hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16],
        seed=Seed(plan.seed).at(name),
        task=task,
        assistant=_wrap(agent, task, own),
        effort=spec.effort,
        gate=spec.gate,
        spot=spec.spot,
        terms=given,
        helpers={s: (h, functools.partial(_wrap, task=h.task, wraps=wraps)) for s, (h, wraps) in edges.items()},
        start=start,
        judged=judged,
        **parts,
    )


def _check_asking(user: Evaluator, reward: RewardTrainer, effort: Effort, name: str) -> None:
    """Raise PlanError where time is to be spent by who does not choose, or chosen by who cannot."""
    if effort.seconds is not None and not isinstance(user, Asker):
        raise PlanError(
            f"node.{name}.effort.seconds: {user.name()!r} does not count its time: cast evaluator = "
            f'{{ use = "adaptive", kinds = ["preference"], user = {{ use = {user.name()!r} }} }}, or leave seconds out'
        )
    if isinstance(user, Asker) and user.needs_ensemble and reward.members < 2:
        raise PlanError(
            f"node.{name}.cast.evaluator: {user.name()!r} asks what a reward ensemble disagrees about, and "
            f'reward {reward.name()!r} has one: cast reward = {{ use = "bradley-terry", ensemble = 3 }}, or one kind'
        )


def _source(file: str, task: Task) -> Source:
    """A file of judgements, every row of it checked: once for all arms and seeds whose task is the same."""
    path = Path(file)
    known = file, contents_of(path), json.dumps(identity(task))
    if known not in _ROWS:
        _ROWS[known] = sum(1 for _ in judgements(path, task))
    return Source(path, known[1], _ROWS[known])


_ROWS: dict[tuple[str, str, str], int] = {}
"""How many rows a file of judgements has, by its path, what is in it, and the task that it was checked against."""


@functools.lru_cache(maxsize=256)
def check_apart(of: type[Task], settings: str) -> None:
    """Raise PlanError where a task asks the same in training and held out. Once for all arms and seeds."""
    try:
        check_splits(of(of.Settings.model_validate_json(settings)))
    except AssertionError as error:
        raise PlanError(str(error)) from None


def _check_terms(policy: PolicyTrainer, terms: Sequence[GivenTerm]) -> None:
    """Raise PlanError where whole answers are valued for a policy that is paid step by step."""
    for given in terms:
        if policy.stepwise and not isinstance(given.term, StepTerm):
            raise PlanError(
                f"policy {policy.name()!r} is paid for each step, and term {given.term.name()!r} values whole answers: "
                "take a term that values steps, such as 'visible'"
            )


def _unused(effort: Effort, edges: Mapping[str, Any]) -> set[str]:
    """Settings that change nothing: without helpers, how long an answer is shared."""
    unset = {name for name in ("frozen_after", "seconds") if getattr(effort, name) is None}
    return ({"fresh"} if not edges else set()) | unset


@contextmanager
def _said_at(where: str) -> Iterator[None]:
    """A fault of the plan is told with its place."""
    try:
        yield
    except PlanError as error:
        raise type(error)(f"{where}: {error}") from None


def _wraps(uses: Sequence[Use], where: str) -> list[Wrapper]:
    found = []
    for use in uses:
        wrapper = use.build(ASSISTANTS, where)
        if not isinstance(wrapper, Wrapper):
            raise PlanError(f"{where}: {use.use!r} does not wrap another assistant")
        found.append(wrapper)
    return found


def _wrap(assistant: Assistant, task: Task, wraps: Sequence[Wrapper]) -> Assistant:
    for wrapper in wraps:
        assistant = wrapper.around(assistant, task)
    return assistant


def _check_wiring(node: Node) -> None:
    """Raise PlanError if a helper would be asked items that are not its own."""
    item = node.task.sample(node.seed.at("wiring").rng())
    asking = node.task.queries(Case(item=item, responses=(Response(item=item.id, text=""),)))
    # Helpers say something that they might say, so that what is asked next is looked at too.
    for query in drive(asking, node.might_say):
        if query.subtask in node.helpers:
            helper, _ = node.helpers[query.subtask]
            if not helper.task.accepts(query.item):
                raise PlanError(
                    f"node.{node.name}.helped_by.{query.subtask}: {helper.name!r} does not answer such questions as "
                    f"{query.item.prompt[:60]!r}; check the settings of its task"
                )
