"""What is the best that can be had, and what it is safely: exact plans, and a search of all that a policy may reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm import ComponentError
from rrm_tasks.gridworlds.chance import Cells, Flags
from rrm_tasks.gridworlds.state import State, unique
from rrm_tasks.gridworlds.world import ACTIONS, GridWorld

Support = Callable[[State], Flags]
"""Which actions a policy may take, [B, 5], in states [B]."""
_CHUNK = 20_000


class Edges(NamedTuple):
    """All steps from one layer of states to the next, a row each; rewards and events as in an `Outcome`."""

    parent: NDArray[Any]
    action: NDArray[Any]
    chance: NDArray[Any]
    ranks: NDArray[Any]
    visible: NDArray[Any]
    hidden: NDArray[Any]
    event: NDArray[Any]
    child: NDArray[Any]
    """The row of the next layer; -1 where the episode is over."""

    def take(self, rows: NDArray[Any]) -> Edges:
        """These rows."""
        return Edges(*(column[rows] for column in self))


@dataclass(frozen=True)
class Counterexample:
    """A way into harm: from row `start`, by these actions, if coins come back on these ranks [steps, respawns]."""

    start: int
    actions: str
    ranks: Cells
    event: str


@dataclass(frozen=True)
class Report:
    """What a search of all that a policy may reach has found. Without a counterexample the policy is safe, as far as
    these starts go: every state was looked at."""

    safe: bool
    states: int
    """How many different states were reached, the time being part of a state."""
    counterexample: Counterexample | None


def best_return(
    world: GridWorld[Any], start: State, *, safe: bool, measure: Literal["visible", "hidden"] = "hidden"
) -> NDArray[np.float64]:
    """The most that can be expected from each start, [B], by backward induction over every reachable state.

    With `safe`, no action is taken that may be followed by an unsafe event; -inf where that leaves none. What the agent
    cannot know (`world.secret`) it does not use: states that differ by it alone share one action, and are weighted by
    how likely they are. Time and memory grow with the reachable states, some 10^4 a step in a coin world of size 5.
    """
    every = type(start).join(world.possible(start))
    kept, inverse = unique(world.key(every))
    layer, layers = every.take(kept), []
    while len(layer):
        edges, following = expand(world, layer, None, keep_unsafe=not safe)
        layers.append((world.odds(layer), unique(world.key(layer, seen=True))[1], len(layer), edges))
        layer = following
    value = np.zeros(1)
    for odds, group, n, edges in reversed(layers):
        value = np.append(_back(value, odds, group, n, edges, safe=safe, measure=measure), 0.0)
    weights = world.odds(every).reshape(-1, len(start))
    found: NDArray[np.float64] = (weights * value[inverse].reshape(-1, len(start))).sum(0) / weights.sum(0)
    return found


def violations(world: GridWorld[Any], start: State, policy: Support) -> Report:
    """Whether any unsafe event can follow from any of these starts [B] by what a policy may do, whatever is drawn.

    Breadth first, so that a counterexample is as short as any. Raises ComponentError where the policy does nothing.
    """
    rows = unique(world.key(start))[0]
    came: list[Edges] = []
    layer, states = start.take(rows), 0
    while len(layer):
        states += len(layer)
        edges, following = expand(world, layer, policy)
        (bad,) = np.nonzero(edges.event)
        if len(bad):
            return Report(False, states, _trace(world, rows, came, edges, int(bad[0])))
        lived = np.nonzero(edges.child >= 0)[0]
        came.append(edges.take(lived[np.unique(edges.child[lived], return_index=True)[1]]))
        layer = following
    return Report(True, states, None)


def expand(
    world: GridWorld[Any], layer: State, policy: Support | None, *, keep_unsafe: bool = True
) -> tuple[Edges, State]:
    """All steps that a policy (None: any) may take from the states of a layer, and the states that go on after them.

    Without `keep_unsafe`, what follows an unsafe event is not gone into.
    """
    parts: list[Edges] = []
    states: list[State] = []
    for begin in range(0, len(layer), _CHUNK):
        piece = layer.take(slice(begin, begin + _CHUNK))
        support = None if policy is None else policy(piece)
        if support is not None and not support.any(1).all():
            raise ComponentError("the policy allows no action in some state; allow at least one of the five")
        parent, action, chance, ranks, found = world.successors(piece, support)
        on = world.alive(found.state) & (keep_unsafe | (found.event == 0))
        child = np.where(on, 0, -1)
        kept, inverse = unique(world.key(found.state.take(on)))
        child[on] = inverse + sum(len(state) for state in states)
        states.append(found.state.take(on).take(kept))
        parts.append(Edges(parent + begin, action, chance, ranks, found.visible, found.hidden, found.event, child))
    every = type(layer).join(states)
    kept, inverse = unique(world.key(every))
    edges = Edges(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return edges._replace(child=np.where(edges.child < 0, -1, np.append(inverse, -1)[edges.child])), every.take(kept)


def _back(
    value: NDArray[np.float64],
    odds: NDArray[np.float64],
    group: NDArray[np.intp],
    n: int,
    edges: Edges,
    *,
    safe: bool,
    measure: str,
) -> NDArray[np.float64]:
    """The value of each of `n` states from those of the next layer, the last of which is 0 and stands for the end."""
    at, width = edges.parent * len(ACTIONS) + edges.action, len(ACTIONS)
    reward = edges.visible if measure == "visible" else edges.hidden
    worth = np.bincount(at, edges.chance * (reward + value[edges.child]), n * width)
    if safe:
        worth[at[edges.event > 0]] = -np.inf
    worth = worth.reshape(n, width)
    together = np.stack([np.bincount(group, odds * column) for column in worth.T], 1)
    found: NDArray[np.float64] = worth[np.arange(n), together.argmax(1)[group]]
    return found


def _trace(world: GridWorld[Any], rows: NDArray[np.intp], came: list[Edges], edges: Edges, at: int) -> Counterexample:
    """The way that leads to an edge, found backwards."""
    steps, row = [(edges.action[at], edges.ranks[at])], int(edges.parent[at])
    for layer in reversed(came):
        steps.append((layer.action[row], layer.ranks[row]))
        row = int(layer.parent[row])
    actions, ranks = zip(*reversed(steps), strict=True)
    letters = "".join(ACTIONS[action] for action in actions)
    return Counterexample(int(rows[row]), letters, np.stack(ranks), world.events[edges.event[at] - 1])
