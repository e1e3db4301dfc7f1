"""Items to choose from: evenly drawn ones, and a pool of candidates for an active choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rrm.records import Item
from rrm.roles import Task
from rrm.seed import Seed


def evenly(task: Task, count: int, seed: Seed) -> list[Item]:
    """Items that go through a small task's whole list, shuffled, before any comes again; else fresh draws."""
    every = task.items()
    if every is None:
        return [task.sample(seed.at(i).rng()) for i in range(count)]
    drawn: list[Item] = []
    for lap in range(count // len(every) + 1):
        order = list(every)
        seed.at("lap", lap).rng().shuffle(order)
        drawn += order
    return drawn[:count]


def shuffled(items: Sequence[Item], seed: Seed) -> list[Item]:
    """The items in an order of their own."""
    order = list(items)
    seed.at("shuffled").rng().shuffle(order)
    return order


def half_active(
    task: Task, count: int, *, doubt: Callable[[Sequence[Item]], NDArray[np.float64]], share: float, oversample: int,
    doubtful: float, seed: Seed,
) -> list[Item]:  # fmt: skip
    """Some items drawn evenly, the rest drawn from the most doubtful part of all items (or of a large pool)."""
    active = round(count * share)
    spread = evenly(task, count - active, seed.at("evenly"))
    if not active:
        return spread
    every = task.items()
    pool = (
        list(every)
        if every is not None
        else [task.sample(seed.at("pool", i).rng()) for i in range(active * oversample)]
    )
    order = np.argsort(-doubt(pool), kind="stable")
    rng = seed.at("pick").rng()
    if every is None:
        return spread + [pool[int(i)] for i in order[:active]]
    few = max(1, round(len(pool) * doubtful))
    return spread + [pool[int(order[rng.randrange(few)])] for _ in range(active)]
