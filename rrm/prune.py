"""What later plans in the same folder have replaced: which nodes that are, and their removal."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rrm.build import alone
from rrm.errors import RrmError
from rrm.plan import Plan
from rrm.records import Arm
from rrm.registry import EVALUATORS, in_file
from rrm.store import Store


@dataclass(frozen=True)
class Superseded:
    """A node of which only earlier plans of an arm speak."""

    key: str
    name: str
    by_person: bool
    """Whether a person judged it, or may have: then its record is kept."""


def superseded(store: Store) -> list[Superseded]:
    """The nodes in the record that no arm's latest plan holds, in the order of the record."""
    arms = list(store.read("study", "arms", Arm).values())
    latest = {setting(arm): arm for arm in arms}
    current = {key for arm in latest.values() for key in arm.nodes.values()}
    found: dict[str, Superseded] = {}
    for arm in arms:
        for name, key in arm.nodes.items():
            if key not in current and not (key in found and found[key].by_person):
                found[key] = Superseded(key, name, _by_person(arm, name))
    return list(found.values())


def setting(arm: Arm) -> str:
    """What an arm is known by: of several of one setting, the last counts."""
    return json.dumps([arm.name, arm.seed, arm.varied], sort_keys=True)


def prune(store: Store) -> None:
    """Delete the agents of superseded nodes, and their records, but of those that a person judged.

    Raises StoreError if another run holds the folder.
    """
    with alone(store.folder):
        for node in superseded(store):
            store.forget(node.key, records=not node.by_person)


def _by_person(arm: Arm, name: str) -> bool:
    """Where it is not known, yes: the code of a file that a record names is not run to find out."""
    try:
        evaluator = Plan.model_validate(arm.plan).node[name].cast.evaluator
        return in_file(evaluator.use) or evaluator.kind(EVALUATORS).interactive
    except (RrmError, ValueError, KeyError):
        return True
