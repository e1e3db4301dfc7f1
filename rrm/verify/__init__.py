"""Looks at every state that the agents of a run may reach: nothing unsafe is among what follows, or here is the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from rrm.assemble import assemble
from rrm.control import ControlTask, Policy
from rrm.errors import RrmError
from rrm.faults import blamed
from rrm.graph import suggest
from rrm.node import Node, published
from rrm.plan import Plan
from rrm.reach import FiniteTask
from rrm.records import Arm
from rrm.standing import counting
from rrm.store import Store
from rrm.verify.proof import BATCH, GREEDY, SAMPLED, Counterexample, Limits, Search, drawn, searched

__all__ = ["GREEDY", "SAMPLED", "Counterexample", "Limits", "Proof", "Search", "chosen", "keys", "verified"]


@dataclass(frozen=True)
class Proof:
    """What is known of one agent."""

    arm: Arm
    node: str
    starts: int = 0
    exhaustive: bool = False
    """Whether these are all the starts that there are."""
    searches: Sequence[Search] = ()
    why: str = ""
    """Why nothing could be looked at."""

    @property
    def safe(self) -> bool | None:
        """True only if every search ended and found nothing; False if any found something; None: not known."""
        found = [s.safe for s in self.searches]
        return False if False in found else True if found and None not in found else None

    @property
    def counterexample(self) -> Counterexample | None:
        """The shortest."""
        ways = [s.counterexample for s in self.searches if s.counterexample is not None]
        return min(ways, key=lambda way: len(way.actions), default=None)

    def to_json(self) -> dict[str, Any]:
        """For scripts. `states` is that of the widest search."""
        each = {s.policy: s.to_json() for s in self.searches}
        way = self.counterexample
        return {
            "safe": self.safe,
            "states": self.searches[-1].states if self.searches else 0,
            "counterexample": None if way is None else way._asdict(),
            "arm": self.arm.name,
            "seed": self.arm.seed,
            "setting": dict(self.arm.varied),
            "node": self.node,
            "starts": self.starts,
            "exhaustive": self.exhaustive,
            "greedy": each.get(GREEDY),
            "sampled": each.get(SAMPLED),
            "why": self.why or None,
        }


def verified(store: Store, arms: Sequence[Arm], limits: Limits, nodes: Sequence[str] = ()) -> Iterator[Proof]:
    """A proof for each acting agent of these arms, one after the other; arms that share an agent share the work.

    Asks no truth, and reads published agents alone. `nodes`: only these. Raises PlanError where a recorded plan cannot
    be built here, RrmError where no agent acts, StoreError or MissingWeights where the record is damaged.
    """
    known: dict[str, Proof] = {}
    acting = [(arm, node) for arm in arms for node in _acting(arm, store, nodes)]
    if not acting:
        raise RrmError(
            f"{store.folder}: no agent{f' among {_listed(nodes)}' if nodes else ''} acts in an environment, and only "
            "of those can it be asked what they may reach; `rrm show` lists the nodes"
        )
    for arm, node in acting:
        if node.key not in known:
            with blamed(f"node.{node.name}"):
                known[node.key] = _proof(arm, node, store, limits)
        yield replace(known[node.key], arm=arm)


def chosen(
    store: Store,
    *,
    names: Sequence[str] = (),
    seeds: Sequence[int] = (),
    nodes: Sequence[str] = (),
    trust: bool | Collection[str] = False,
) -> list[Arm]:
    """The newest arms of a record, or those of them that are asked for. Raises RrmError where there is none such, or
    where a plan names code in a file and nobody said to `trust` it."""
    every = list(counting(store))
    if not every:
        raise RrmError(f"{store.folder}: no arm of a study is in this record yet: `rrm run` trains one")
    _known("arm", names, {arm.name for arm in every}, store)
    _known("seed", seeds, {arm.seed for arm in every}, store)
    found = [a for a in every if (not names or a.name in names) and (not seeds or a.seed in seeds)]
    if not found:
        raise RrmError(
            f"{store.folder}: no arm has that name and that seed; there are {_listed(a.label for a in every)}"
        )
    _known("node", nodes, {node for arm in found for node in arm.nodes}, store)
    for arm in found:
        strange = set() if trust is True else _plan(arm, store).files() - set(trust or ())
        if strange:
            raise RrmError(
                f"the record names code in a file, {min(strange)!r}, which would be run: if you trust it, say so "
                "(--trust; trust=True in Python)"
            )
    return found


def keys(proofs: Sequence[Proof]) -> list[str]:
    """What each is called: its node, where that says which; else with as much of its arm as tells all apart."""
    schemes: tuple[Callable[[Proof], str], ...] = (
        lambda p: p.node,
        lambda p: f"{p.arm.name}/{p.node}",
        lambda p: f"{p.arm.name}/{p.arm.seed}/{p.node}",
    )
    for scheme in schemes:
        found = [scheme(p) for p in proofs]
        if len(set(found)) == len(found):
            return found
    return [f"{p.arm.label}/{p.node}" for p in proofs]


def _known(kind: str, wanted: Sequence[Any], there: Collection[Any], store: Store) -> None:
    for one in wanted:
        if one not in there:
            hint = (
                suggest(one, sorted(there))
                if isinstance(one, str)
                else f"There are {_listed(map(str, sorted(there)))}."
            )
            raise RrmError(f"{store.folder}: no {kind} is called {one!r}. {hint}")


def _listed(names: Any) -> str:
    return ", ".join(names)


def _plan(arm: Arm, store: Store) -> Plan:
    return Plan.from_raw(dict(arm.plan), f"{store.folder}: {arm.label}")


def _acting(arm: Arm, store: Store, nodes: Sequence[str]) -> Iterator[Node]:
    """Its acting nodes under their recorded keys: code may have changed since, the agent has not."""
    for name, node in _assembled(_plan(arm, store).model_dump_json()).items():
        if isinstance(node.task, ControlTask) and name in arm.nodes and (not nodes or name in nodes):
            yield replace(node, key=arm.nodes[name])


@cache
def _assembled(plan: str) -> dict[str, Node]:
    return assemble(Plan.model_validate_json(plan))


def _proof(arm: Arm, node: Node, store: Store, limits: Limits) -> Proof:
    task = node.task
    if not isinstance(task, FiniteTask):
        why = f"the task {task.name()!r} does not say what its states are (it is no rrm.reach.FiniteTask)"
        return Proof(arm, node.name, why=why)
    if not store.has_agent(node.key, "published"):
        return Proof(arm, node.name, why="it is not trained yet: `rrm run` goes on with it")
    agent = published(node, store).assistant
    if not isinstance(agent, Policy):
        why = f"{agent.name()!r} does not say how likely its actions are (it is no rrm.control.Policy)"
        return Proof(arm, node.name, why=why)
    every = task.starts()
    items = drawn(task, limits.starts) if every is None else every
    policies = (GREEDY,) if agent.deterministic else limits.policies
    found = [searched(task, agent, items, p, limits, batch=BATCH if every is None else None) for p in policies]
    return Proof(arm, node.name, len(items), every is not None, found)
