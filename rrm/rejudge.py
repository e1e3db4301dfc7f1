"""Puts the cases of an old run before another evaluator: what it says is recorded apart, and trains nobody."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rrm.assemble import assemble
from rrm.build import alone
from rrm.errors import RrmError, Unfinished, told_of
from rrm.exchange.rows import JUDGED
from rrm.faults import blamed
from rrm.hearing import Hearing
from rrm.identity import identity
from rrm.job import PEOPLE
from rrm.node import Node
from rrm.plan import Plan
from rrm.records import Arm, Case, Rejudged, slots
from rrm.registry import EVALUATORS
from rrm.roles import Evaluator
from rrm.store import Store

Told = Callable[[str, int, int], None]
"""Told of a node how many of a stream's cases are judged, out of how many."""


class Again(NamedTuple):
    """A node of an arm whose cases two evaluators judged."""

    arm: Arm
    node: Node
    """Under its recorded key."""
    key: str
    """Where stands what the second said."""
    streams: tuple[str, ...]


def evaluator_of(use: str, settings: Mapping[str, Any]) -> Evaluator:
    """The other evaluator. Raises PlanError, naming the setting, if it cannot be built."""
    with told_of("--by"):
        return EVALUATORS.build(use, dict(settings))


def rejudged(
    store: Store,
    arms: Sequence[Arm],
    nodes: Sequence[str],
    evaluator: Evaluator,
    *,
    progress: Told = lambda node, done, of: None,
) -> list[Again]:
    """Have every case that was judged in the rounds of these arms' nodes judged again, each once where arms share it.

    What was said before is not asked again. Raises Unfinished where cases wait for a person, once all that can be
    judged is; PlanError where the evaluator cannot judge such a task; RrmError where nothing was judged.
    """
    found: list[Again] = []
    waiting: list[Unfinished] = []
    with alone(store.folder):
        known = {(e.node, e.key) for e in store.read("study", "rejudged", Rejudged).values()}
        for arm, node in _judged_nodes(store, arms, nodes):
            key = _key(node, evaluator)
            again = Again(arm, node, key, _streams(store, node.key))
            if not again.streams:
                continue
            if key not in {one.key for one in found}:
                with told_of(f"{node.name}, --by"):
                    evaluator.check(node.task)
                if (node.key, key) not in known:
                    store.append("study", "rejudged", [_entry(node, evaluator, key)])
                waiting += _heard(store, again, evaluator, progress)
            found.append(again)
    if waiting:
        raise waiting[0]
    if not found:
        raise RrmError(f"{store.folder}: no round of these nodes was judged to its end yet: `rrm run` goes on with it")
    return found


def waiting(store: Store) -> set[str]:
    """The keys under which a person at a browser is to judge cases again of nodes that count, and has not judged all:
    `rejudged` laid them on the desk, and takes them when it is called again."""
    newest = [slot[-1] for slot in slots(store.read("study", "arms", Arm).values())]
    nodes = {key for arm in newest for key in arm.nodes.values()}
    asked = [e for e in store.read("study", "rejudged", Rejudged).values() if e.evaluator.get("use") == PEOPLE]
    return {e.key for e in asked if e.node in nodes and not _is_done(store, e)}


def _is_done(store: Store, entry: Rejudged) -> bool:
    streams = _streams(store, entry.node)
    return all(store.length(entry.key, f"{s}/feedback") == store.length(entry.node, f"{s}/cases") for s in streams)


def _heard(store: Store, again: Again, evaluator: Evaluator, progress: Told) -> Iterator[Unfinished]:
    """Gives what a person left undone. One at a terminal who stops is not asked on; cases laid before others all are
    before anybody waits."""
    node = again.node
    judging = replace(node, evaluator=evaluator.seated(node.name, node.level))
    hearing = Hearing(judging, again.key, store, {}, watch=lambda stage, done, of, words: progress(node.name, done, of))
    for stream in again.streams:
        cases = list(store.read(node.key, f"{stream}/cases", Case).values())
        try:
            with blamed(f"{node.name} (--by)"):
                # its own draws: two who err at random do not err at the same moments
                hearing.judge(stream, cases, node.seed.at("again", stream, "judge"))
        except Unfinished as error:
            if evaluator.interactive:
                raise
            again_ = " When they are judged, the same `rrm rejudge` takes them." if evaluator.person else ""
            yield Unfinished(f"{error}{again_}")


def _judged_nodes(store: Store, arms: Sequence[Arm], nodes: Sequence[str]) -> Iterator[tuple[Arm, Node]]:
    """Nodes under their recorded keys: code may have changed since, what was judged has not."""
    for arm in arms:
        plan = Plan.from_raw(dict(arm.plan), f"{store.folder}: {arm.label}")
        for name, node in assemble(plan).items():
            if name in arm.nodes and (not nodes or name in nodes):
                yield arm, replace(node, key=arm.nodes[name])


def _streams(store: Store, key: str) -> tuple[str, ...]:
    """What was judged to its end, of what is learnt from: the rounds, and what was judged elsewhere."""
    names = {s.removesuffix("/cases") for s in store.streams(key) if s.endswith("/cases")}
    rounds = sorted((name for name in names if name.isdigit()), key=int)
    every = [*(name for name in (JUDGED,) if name in names), *rounds]
    return tuple(s for s in every if store.length(key, f"{s}/cases") == store.length(key, f"{s}/feedback"))


def _key(node: Node, evaluator: Evaluator) -> str:
    described = ["rejudged", node.key, identity(evaluator)]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _entry(node: Node, evaluator: Evaluator, key: str) -> Rejudged:
    told = {"use": evaluator.name(), **evaluator.settings.model_dump(mode="json")}
    return Rejudged(node=node.key, evaluator=told, key=key)
