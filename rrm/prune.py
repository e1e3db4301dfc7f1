"""What later plans in the same folder have replaced: which nodes that are, and their removal."""

from __future__ import annotations

from dataclasses import dataclass

from rrm.build import alone
from rrm.errors import RrmError
from rrm.job import plan_of
from rrm.records import Arm
from rrm.registry import EVALUATORS, in_file
from rrm.standing import Standing
from rrm.store import Store


@dataclass(frozen=True)
class Superseded:
    """A node of which only plans speak that a later, finished one replaced."""

    key: str
    name: str
    unique: bool
    """Whether what was said of it can, or may, not be said again, as by a person: then its record is kept."""


def superseded(store: Store) -> list[Superseded]:
    """The nodes that no arm's newest finished plan, nor one after it, holds; in the order of the record.

    A plan that did not come to its end replaces nothing: it may never.
    """
    standing = Standing.read(store)
    current = {key for arm in standing.remaining for key in arm.nodes.values()}
    found: dict[str, Superseded] = {}
    for arm in standing.recorded:
        for name, key in arm.nodes.items():
            if key not in current and not (key in found and found[key].unique):
                found[key] = Superseded(key, name, _unique(arm, name))
    return list(found.values())


def prunable(store: Store) -> list[Superseded]:
    """Those of them of which anything is left to delete."""
    return [
        node
        for node in superseded(store)
        if store.has_agents(node.key) or (store.streams(node.key) and not node.unique)
    ]


def prune(store: Store) -> None:
    """Delete the agents of superseded nodes, and their records, but what cannot be said again.

    Raises StoreError if another run holds the folder.
    """
    with alone(store.folder):
        for node in prunable(store):
            store.forget(node.key, records=not node.unique)
        store.compact()


def _unique(arm: Arm, name: str) -> bool:
    """Where it is not known, yes: the code of a file that a record names is not run to find out."""
    try:
        plan = plan_of(arm)
        users = plan.users(name)
        if plan.node[name].judged:  # read from a file, which may be gone
            return True
        if any(in_file(use.use) for use in users):
            return True
        evaluators = [use.build(EVALUATORS, name) for use in users]
        # what `replay` says again stands in a file
        return any(not e.reproducible or bool(e.reads()) for e in evaluators)
    except (RrmError, ValueError):
        return True
