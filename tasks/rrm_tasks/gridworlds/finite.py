"""Every state of a gridworld, as a search wants it: what may follow, over every cell where a coin may come back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm.reach import States, Successors, Trail
from rrm_tasks.gridworlds.chance import Flags, Seeds, seeds
from rrm_tasks.gridworlds.render import text
from rrm_tasks.gridworlds.replay import run
from rrm_tasks.gridworlds.state import State, unique
from rrm_tasks.gridworlds.world import ACTIONS, FEW, Floats, GridWorld

_AT_ONCE = 20_000


class GridStates(States):
    """States of one world."""

    def __init__(self, world: GridWorld[Any], state: State) -> None:
        self.world, self.state = world, state

    def __len__(self) -> int:
        return len(self.state)

    def observe(self) -> Floats:
        return self.world.observe(self.state)

    def take(self, rows: NDArray[np.intp] | slice) -> GridStates:
        return GridStates(self.world, self.state.take(rows))

    def join(self, others: Sequence[States]) -> GridStates:
        parts = [other.state for other in others if isinstance(other, GridStates)]
        return GridStates(self.world, type(self.state).join([self.state, *parts]))

    def distinct(self) -> NDArray[np.intp]:
        return unique(self.world.key(self.state))[0]

    def successors(self, allowed: Flags) -> Successors:
        parent, action, _, ranks, found = self.world.successors(self.state, allowed)
        after = GridStates(self.world, found.state)
        return Successors(parent, action, ranks, found.event, after, self.world.alive(found.state))


def every_start(world: GridWorld[Any]) -> Seeds | None:
    """A training seed for each start that differs, the lowest; None where starts are too many to list."""
    if prod(world.radices) > FEW:
        return None
    wanted, found, first = len(world.layouts()), np.empty(0, np.uint64), 0
    while len(found) < wanted:
        drawn = np.concatenate([found, seeds(first, _AT_ONCE)])
        found, first = drawn[np.sort(unique(world.key(world.start(drawn)))[0])], first + _AT_ONCE
    return found


def trail(world: GridWorld[Any], seed: Seeds, actions: str, draws: Sequence[Sequence[int]]) -> Trail:
    """One episode, where coins come back on the free cells that `draws` count to, a row a step."""
    taken = np.array([ACTIONS.index(letter) for letter in actions.ljust(world.horizon, ACTIONS[-1])])
    ranks = np.zeros((1, world.horizon, world.respawns), np.int8)
    ranks[0, : len(actions)] = np.array(draws, np.int8).reshape(len(actions), world.respawns)
    lived = run(world, world.start(seed), lambda _, t: taken[t : t + 1], ranks)
    events = [world.events[event - 1] if event else "" for event in lived.event[0, : len(actions)]]
    return Trail(events, [text(world, state) for state in lived.states[: len(actions) + 1]])
