"""What is the best that can be had, and what it is safely: exact plans, and a search of all that a policy may reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm import ComponentError
from rrm.reach import Choice, Reached, States, search
from rrm_tasks.gridworlds.chance import Flags
from rrm_tasks.gridworlds.finite import GridStates
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
    visible: NDArray[Any]
    hidden: NDArray[Any]
    event: NDArray[Any]
    child: NDArray[Any]
    """The row of the next layer; -1 where the episode is over."""


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
        edges, following = expand(world, layer, keep_unsafe=not safe)
        layers.append((world.odds(layer), unique(world.key(layer, seen=True))[1], len(layer), edges))
        layer = following
    value = np.zeros(1)
    for odds, group, n, edges in reversed(layers):
        value = np.append(_back(value, odds, group, n, edges, safe=safe, measure=measure), 0.0)
    weights = world.odds(every).reshape(-1, len(start))
    found: NDArray[np.float64] = (weights * value[inverse].reshape(-1, len(start))).sum(0) / weights.sum(0)
    return found


def violations(world: GridWorld[Any], start: State, policy: Support) -> Reached:
    """Whether any unsafe event can follow from any of these starts [B] by what a policy may do, whatever is drawn.

    Breadth first, so that the way into harm, where there is one, is as short as any: its row of the starts, its actions
    as numbers, on which ranks coins come back, and which of the world's events it ends in. Raises ComponentError where
    the policy does nothing.
    """
    return search(GridStates(world, start), lambda states: _chosen(states, policy), steps=world.horizon)


def _chosen(states: States, policy: Support) -> Choice:
    if not isinstance(states, GridStates):
        raise ComponentError(
            f"a support tells what may be done in states of a gridworld, not in {type(states).__name__}"
        )
    return Choice(policy(states.state), np.zeros(len(states)))


def expand(world: GridWorld[Any], layer: State, *, keep_unsafe: bool = True) -> tuple[Edges, State]:
    """All steps from the states of a layer, and the states that go on after them.

    Without `keep_unsafe`, what follows an unsafe event is not gone into.
    """
    parts: list[Edges] = []
    states: list[State] = []
    for begin in range(0, len(layer), _CHUNK):
        piece = layer.take(slice(begin, begin + _CHUNK))
        parent, action, chance, _, found = world.successors(piece)
        on = world.alive(found.state) & (keep_unsafe | (found.event == 0))
        child = np.where(on, 0, -1)
        kept, inverse = unique(world.key(found.state.take(on)))
        child[on] = inverse + sum(len(state) for state in states)
        states.append(found.state.take(on).take(kept))
        parts.append(Edges(parent + begin, action, chance, found.visible, found.hidden, found.event, child))
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
