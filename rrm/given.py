"""Records what was judged elsewhere as a node's own stream, before its first round: its training begins with it."""

from __future__ import annotations

from rrm.exchange.imported import imported
from rrm.exchange.rows import JUDGED
from rrm.node import Node
from rrm.records import FEEDBACK, Case
from rrm.roles import Judged
from rrm.store import Store


def given(node: Node, store: Store) -> list[Judged]:
    """What the files say that the node's plan names, from the record as far as it is there.

    What they hold is part of the node's key, so that a run which was cut off in between goes on with the same.
    """
    if not node.judged:
        return []
    cases, said = f"{JUDGED}/cases", f"{JUDGED}/feedback"
    if not store.length(node.key, said):
        judged = list(imported(node.judged, node.task))
        if not store.length(node.key, cases):
            store.append(node.key, cases, (case for case, _ in judged), first=0)
        store.append(node.key, said, (feedback for _, feedback in judged), first=0)
        return judged
    feedback = store.read(node.key, said, FEEDBACK)
    return [(case, feedback[number]) for number, case in store.read(node.key, cases, Case).items()]
