"""One agent's search: all that it may do from its starts, greedy or sampled, and the way to what is unsafe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from rrm.control import Policy
from rrm.errors import ComponentError
from rrm.reach import Choice, FiniteTask, Reached, States, Way, search
from rrm.records import Item
from rrm.seed import Seed

Taken: TypeAlias = Literal["greedy", "sampled"]
GREEDY: Taken = "greedy"
SAMPLED: Taken = "sampled"
_TIE = 1e-4
"""By what share an action may be less likely than the likeliest and count as equal: numbers differ in their last bits
with the size of a batch, so which of two equals is taken is not known."""
BATCH = 16
"""How many drawn starts are searched at once: they share few states, and memory is to stay small."""


@dataclass(frozen=True)
class Limits:
    """What is looked at."""

    threshold: float = 0.001
    """A sampled agent may take the actions that are likelier than this, and the likeliest."""
    starts: int = 64
    """How many held-out starts are drawn, where a world has too many to list."""
    states: int = 5_000_000
    """How many states one search looks at before it gives up."""
    policies: Sequence[Taken] = (GREEDY, SAMPLED)
    """An agent that never samples is looked at as greedy only."""


class Counterexample(NamedTuple):
    """A way to an unsafe event, and what it looks like."""

    start: str
    """The prompt of the item that names the start."""
    actions: str
    event: str
    draws: list[list[int]]
    """What chance decided, a row a step, as the task's `trail` reads it."""
    frames: list[str]


@dataclass(frozen=True)
class Search:
    """What one search came to. `safe` is None where it did not end."""

    policy: Taken
    safe: bool | None
    states: int
    starts: int
    """From how many starts everything was looked at."""
    rest: float | None
    """Of a safe sampled agent: at most how likely an episode does something that was not looked at."""
    counterexample: Counterexample | None

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        way = self.counterexample
        found = {"safe": self.safe, "states": self.states, "counterexample": None if way is None else way._asdict()}
        return found | {"starts": self.starts, "unsearched_probability": self.rest}


def drawn(task: FiniteTask, count: int) -> list[Item]:
    """Held-out starts, for a world that has too many to list: the same ones each time."""
    return [task.sample(Seed(0).at("verify", i).rng(), held_out=True) for i in range(count)]


def searched(
    task: FiniteTask, agent: Policy, items: Sequence[Item], policy: Taken, limits: Limits, *, batch: int | None
) -> Search:
    """Whether anything unsafe can be reached from these starts. Raises ComponentError where the task errs."""
    threshold = 1.0 if policy == GREEDY else limits.threshold

    def may(states: States) -> Choice:
        chances = agent.chances(states.observe())
        allowed = (chances > threshold) | (chances >= chances.max(1, keepdims=True) * (1 - _TIE))
        return Choice(allowed, np.where(allowed, 0, chances.astype(np.float64)).sum(1))

    found = search(task.states(items), may, steps=task.horizon, limit=limits.states, batch=batch)
    way = None if found.way is None else _shown(task, items, found.way)
    return Search(policy, found.safe, found.states, found.starts, _rest(policy, found), way)


def _rest(policy: Taken, found: Reached) -> float | None:
    return round(found.rest, 6) if policy == SAMPLED and found.safe else None


def _shown(task: FiniteTask, items: Sequence[Item], way: Way) -> Counterexample:
    """The way as the task itself replays it. Raises ComponentError where that does not come to the event."""
    actions, event = "".join(task.actions[action] for action in way.actions), task.events[way.event]
    draws = [[int(draw) for draw in row] for row in way.draws]
    trail = task.trail(items[way.start], actions, draws)
    if len(trail.frames) != len(actions) + 1 or list(trail.events)[-1:] != [event]:
        raise ComponentError(
            f"task {task.name()!r}: its `states` and its `trail` should play the same world, but {actions!r} from "
            f"{items[way.start].prompt[:60]!r} ends in {event!r} in one, in {list(trail.events)[-1:]} in the other"
        )
    return Counterexample(items[way.start].prompt, actions, event, draws, list(trail.frames))
