"""Finite worlds: what a task says of one that can be enumerated, and the search of all that a policy may reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rrm.control import ControlTask, Floats
from rrm.errors import ComponentError
from rrm.records import Item

Flags = NDArray[np.bool_]
Numbers = NDArray[Any]
_CHUNK = 20_000


class States(ABC):
    """N states of a finite world side by side, a row each. They never change.

    A state holds all that matters for what follows; how many steps were taken is a part of it.
    """

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def observe(self) -> Floats:
        """(N, D) what the acting agent sees, as `Episodes.observe` has it."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp] | slice) -> Self:
        """These rows, in this order."""

    @abstractmethod
    def join(self, others: Sequence[Self]) -> Self:
        """These rows, then those of the others."""

    @abstractmethod
    def distinct(self) -> NDArray[np.intp]:
        """One row of each that differ: equal ones look alike, and the same may follow from them."""

    @abstractmethod
    def successors(self, allowed: Flags) -> Successors:
        """All that may follow by the allowed actions, (N, actions), whatever chance decides."""


class Successors(NamedTuple):
    """M steps, a row each."""

    parent: Numbers
    """(M,) the row that it was taken from."""
    action: Numbers
    """(M,) which action."""
    draws: Numbers
    """(M, K) what chance decided, as `FiniteTask.trail` reads it; K may be 0."""
    event: Numbers
    """(M,) 0: nothing unsafe happened; else one more than an index into `FiniteTask.events`."""
    after: States
    """M states."""
    lives: Flags
    """(M,) whether the episode goes on."""


class Trail(NamedTuple):
    """An episode as it can be shown."""

    events: Sequence[str]
    """What happened that is unsafe, of each step; empty where nothing was."""
    frames: Sequence[str]
    """The start and what each step led to, as text: one more than there are steps."""


class FiniteTask(ControlTask):
    """An acting task in a world with so few states that all can be looked at. Makes `rrm verify` possible."""

    events: Sequence[str]
    """What is unsafe, in words."""

    @abstractmethod
    def starts(self) -> Sequence[Item] | None:
        """An item for each start that differs, where they are few enough to list (some thousands); else None."""

    @abstractmethod
    def states(self, items: Sequence[Item]) -> States:
        """The start of each item."""

    @abstractmethod
    def trail(self, item: Item, actions: str, draws: Sequence[Sequence[int]]) -> Trail:
        """The episode from an item's start by these actions, where chance decides as said, a row of `draws` a step."""


class Choice(NamedTuple):
    """What a policy may do in N states."""

    may: Flags
    """(N, actions)"""
    rest: NDArray[np.float64]
    """(N,) how likely it does something else all the same."""


class Way(NamedTuple):
    """The way to an unsafe event: from this row of the starts, by these actions, with these draws [steps, K]."""

    start: int
    actions: tuple[int, ...]
    draws: Numbers
    event: int
    """The index of the event."""


@dataclass(frozen=True)
class Reached:
    """What a search came to."""

    finished: bool
    """Whether everything was looked at that had to be: without a `way`, nothing unsafe can be reached then."""
    states: int
    """How many states were looked at."""
    starts: int
    """From how many starts all was looked at, up to the length of the way where there is one."""
    way: Way | None
    """The shortest, if finished; else the shortest that was found."""
    rest: float
    """At most how likely an episode is to do, at any step, what the policy was not said to do."""

    @property
    def safe(self) -> bool | None:
        """None: not known."""
        return False if self.way is not None else True if self.finished else None


def search(
    starts: States,
    policy: Callable[[States], Choice],
    *,
    steps: int,
    limit: int | None = None,
    batch: int | None = None,
) -> Reached:
    """Breadth first through all that may follow from any start in so many steps, whatever chance decides.

    `limit`: stop before more states than these are looked at. `batch`: so many starts at once (default: all), which
    bounds memory; starts that share states are best searched together. Raises ComponentError where the policy does
    nothing.
    """
    size, states, done, rest, way = batch or max(len(starts), 1), 0, 0, 0.0, None
    for first in range(0, len(starts), size):
        rows = np.arange(first, min(first + size, len(starts)))
        left = None if limit is None else limit - states
        found = _Search(starts.take(rows), policy, left).run(steps if way is None else len(way.actions) - 1)
        states, rest = states + found.states, max(rest, found.rest)
        if found.way is not None:
            way = found.way._replace(start=int(rows[found.way.start]))
        if not found.finished:
            return Reached(False, states, done, way, min(rest, 1.0))
        done += len(rows)
    return Reached(True, states, done, way, min(rest, 1.0))


class _Search:
    """One batch of starts."""

    def __init__(self, starts: States, policy: Callable[[States], Choice], limit: int | None) -> None:
        self._policy, self._limit, self._states = policy, limit, 0
        self._rows = starts.distinct()
        self._layer = starts.take(self._rows)
        self._came: list[tuple[Numbers, Numbers, Numbers]] = []

    def run(self, steps: int) -> Reached:
        rest = 0.0
        for _ in range(steps):
            if not len(self._layer):
                break
            parts: list[States] = []
            back: list[tuple[Numbers, Numbers, Numbers]] = []
            most = 0.0
            for begin in range(0, len(self._layer), _CHUNK):
                piece = self._layer.take(slice(begin, begin + _CHUNK))
                if self._limit is not None and self._states + len(piece) > self._limit:
                    return Reached(False, self._states, 0, None, 1.0)
                self._states += len(piece)
                may, left_out = self._policy(piece)
                if not may.any(1).all():
                    raise ComponentError("the policy allows no action in some state: are its weights numbers?")
                found = piece.successors(may)
                bad = np.flatnonzero(found.event)
                if len(bad):
                    return Reached(True, self._states, len(self._rows), self._trace(found, begin, int(bad[0])), 1.0)
                most = max(most, float(left_out.max()))
                on = np.flatnonzero(found.lives)
                new = on[found.after.take(on).distinct()]
                parts.append(found.after.take(new))
                back.append((found.parent[new] + begin, found.action[new], found.draws[new]))
            rest += most
            self._step(parts, back)
        return Reached(True, self._states, len(self._rows), None, rest)

    def _step(self, parts: list[States], back: list[tuple[Numbers, Numbers, Numbers]]) -> None:
        every = parts[0].join(parts[1:]) if len(parts) > 1 else parts[0]
        rows = every.distinct() if len(parts) > 1 else np.arange(len(every))
        parent, action, draws = (np.concatenate(column)[rows] for column in zip(*back, strict=True))
        self._came.append((parent.astype(np.int32), action.astype(np.int16), draws))
        self._layer = every.take(rows)

    def _trace(self, found: Successors, begin: int, at: int) -> Way:
        """The way that leads to a step, found backwards."""
        steps, row = [(int(found.action[at]), found.draws[at])], int(found.parent[at]) + begin
        for parent, action, draws in reversed(self._came):
            steps.append((int(action[row]), draws[row]))
            row = int(parent[row])
        actions, drawn = zip(*reversed(steps), strict=True)
        return Way(int(self._rows[row]), actions, np.stack(drawn), int(found.event[at]) - 1)
