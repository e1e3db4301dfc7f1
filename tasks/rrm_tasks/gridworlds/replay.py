"""Whole episodes: played again from their seeds and actions, or by a policy, with all that was seen and given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm import ComponentError
from rrm_tasks.gridworlds.chance import Cells, Flags, Seeds
from rrm_tasks.gridworlds.state import State
from rrm_tasks.gridworlds.world import ACT, ACTIONS, Floats, GridWorld

_CODES = np.full(128, -1, np.int8)
_CODES[[ord(letter) for letter in ACTIONS]] = np.arange(len(ACTIONS))

Policy = Callable[[Floats], NDArray[Any]]
"""Actions [B] for observations [B, width]."""


@dataclass(frozen=True)
class Trajectories:
    """Episodes side by side, in full length: after its end an episode stays as it is, at reward 0."""

    world: GridWorld[Any]
    states: tuple[State, ...]
    """What each of the T steps started from, and the end: T + 1 batches."""
    actions: Cells
    """[B, T]."""
    visible: Floats
    """[B, T]."""
    hidden: Floats
    """[B, T]."""
    event: Cells
    """[B, T]: 0, or one more than the index into the world's events."""

    def __len__(self) -> int:
        return len(self.actions)

    @cached_property
    def alive(self) -> Flags:
        """Whether the episode still went on when the step began, [B, T]."""
        return np.stack([self.world.alive(state) for state in self.states[:-1]], 1)

    @cached_property
    def observations(self) -> Floats:
        """What the agent saw before each step and at the end, [B, T + 1, width]."""
        return np.stack([self.world.observe(state) for state in self.states], 1)

    @cached_property
    def local(self) -> Floats:
        """What was near the agent before each step and at the end, [B, T + 1, local_width]."""
        return np.stack([self.world.local(state) for state in self.states], 1)

    @property
    def local_before(self) -> Floats:
        """What was near before each step, [B, T, local_width]."""
        return self.local[:, :-1]

    @property
    def local_after(self) -> Floats:
        """What was near after each step, [B, T, local_width]."""
        return self.local[:, 1:]

    @property
    def onehot(self) -> Floats:
        """The actions, [B, T, 5]."""
        return np.eye(len(ACTIONS), dtype=np.float32)[self.actions]

    @property
    def supervised(self) -> Flags | None:
        """Whether somebody was watching at the start, [B]; None where the world has no supervisor."""
        return self.world.supervised(self.states[0])

    @property
    def unsafe(self) -> Flags:
        """Whether any unsafe event occurred, [B]."""
        found: Flags = np.any(self.event, axis=1)
        return found

    def letters(self) -> list[str]:
        """The actions of each episode up to its end, as `replay` takes them."""
        rows = zip(self.actions.tolist(), self.alive.sum(1).tolist(), strict=True)
        return ["".join(ACTIONS[a] for a in row[:length]) for row, length in rows]


def replay(world: GridWorld[Any], seeds: Seeds, actions: Sequence[str]) -> Trajectories:
    """The episodes of these seeds [B] with these actions, as letters of "UDLRA".

    Letters after an episode's end do nothing. Raises ComponentError where they are too many, too few, or others.
    """
    table = _numbers(actions, world.horizon)
    if len(table) != len(seeds):
        raise ComponentError(f"{len(seeds)} seeds, but actions for {len(table)} episodes; give one string for each")
    found = run(world, world.start(seeds), lambda state, t: np.where(table[:, t] < 0, ACT, table[:, t]))
    lengths, needed = (table >= 0).sum(1), found.alive.sum(1)
    if (lengths < needed).any():
        row = int((lengths < needed).argmax())
        raise ComponentError(
            f"episode {row} goes on after its {lengths[row]} actions; give {world.horizon} letters of {ACTIONS}"
        )
    return found


def play(world: GridWorld[Any], start: State, policy: Policy) -> Trajectories:
    """The episodes from these starts, with what the policy does."""
    return run(world, start, lambda state, t: policy(world.observe(state)))


def run(
    world: GridWorld[Any],
    start: State,
    choose: Callable[[State, int], NDArray[Any]],
    ranks: NDArray[Any] | None = None,
) -> Trajectories:
    """The episodes from these starts; `choose` is told the state and the number of the step. `ranks`
    [B, T, respawns] says the draws instead of the seeds, as `GridWorld.step` has it."""
    states, steps = [start], []
    for t in range(world.horizon):
        action = np.where(world.alive(states[-1]), choose(states[-1], t), ACT).astype(np.int8)
        outcome = world.step(states[-1], action, None if ranks is None else ranks[:, t])
        states.append(outcome.state)
        steps.append((action, outcome.visible, outcome.hidden, outcome.event))
    return Trajectories(world, tuple(states), *(np.stack(column, 1) for column in zip(*steps, strict=True)))


def _numbers(actions: Sequence[str], horizon: int) -> Cells:
    """Letters as numbers, [B, horizon]; -1 where there are none."""
    lengths = np.array([len(letters) for letters in actions], np.int64)
    text = "".join(letters[:horizon].ljust(horizon) for letters in actions).encode("ascii", "replace")
    table: Cells = _CODES[np.frombuffer(text, np.uint8)].reshape(len(actions), horizon)
    wrong = (lengths > horizon) | ((table >= 0) != (np.arange(horizon) < lengths[:, None])).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ComponentError(f"episode {row}: not at most {horizon} letters of {ACTIONS}: {actions[row][:40]!r}")
    return table
