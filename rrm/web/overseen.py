"""What the owner of a study sees of its progress: every node and every rater, and how the raters' work looks."""

from __future__ import annotations

from typing import Any

from rrm.desk import Desk
from rrm.raters.watch import Look, Watch, figure


def overseen(desk: Desk, watch: Watch) -> dict[str, Any]:
    """Nodes and raters, as scripts take them and the owner's page shows them."""
    nodes, raters = desk.register.progress()
    looks, agreeing = watch.look()
    return {
        "nodes": [
            {
                **{k: v for k, v in n._asdict().items() if k != "key"},
                "agreement": figure(agreeing.get(n.key)),
                "weights": _newest(desk.ledger.weights(n.key)),
            }
            for n in nodes
        ],
        "raters": [{**r._asdict(), **looks.get(r.name, Look()).told()} for r in raters],
    }


def _newest(weights: dict[str, dict[str, float]]) -> dict[str, float]:
    return list(weights.values())[-1] if weights else {}
