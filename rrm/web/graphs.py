"""The task graphs of a run as pictures that show what is trained, for the owner's page."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple

from rrm.errors import RrmError
from rrm.inert import inert
from rrm.job import is_published, plan_of, recorded
from rrm.picture import graph_svg
from rrm.records import Arm, slots
from rrm.store import Store

MOST = 12
"""So many different pictures are shown."""


class Graph(NamedTuple):
    """One picture."""

    arms: tuple[str, ...]
    """Whose it is; arms of the same graph that are equally far share one."""
    source: str
    """The picture as data: in a page whose policy allows no style of its own, a picture may have it."""
    says: str
    """The same in words."""


def graphs(store: Store | None, *, trust: bool = False) -> list[Graph]:
    """A picture for each different graph among a run's arms. None where the server has no run beside it, or its plan
    cannot be built here: the page then stands without."""
    if store is None:
        return []
    try:
        recorded(store, trust=trust)  # builds nothing of a record that names code in a file
        drawn = [(arm, *_drawn(store, arm)) for arm in _arms(store)]
    except RrmError:
        return []
    found: dict[str, tuple[str, list[str]]] = {}
    for arm, svg, says in drawn:
        found.setdefault(svg, (says, []))[1].append(inert(arm.label, 80))
    return [
        Graph(tuple(arms), f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}", says)
        for svg, (says, arms) in list(found.items())[:MOST]
    ]


def _arms(store: Store) -> list[Arm]:
    return [slot[-1] for slot in slots(store.read("study", "arms", Arm).values())]


def _drawn(store: Store, arm: Arm) -> tuple[str, str]:
    """The picture, and what it says in words."""
    trained = sorted(name for name, key in arm.nodes.items() if is_published(store, key))
    says = f"{len(trained)} of {len(arm.nodes)} nodes are trained: {', '.join(trained) or 'none yet'}"
    return graph_svg(plan_of(arm).graph(), trained=trained), inert(says, 400)
