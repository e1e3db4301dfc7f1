"""Chance by address: what a draw is depends on an episode's seed and on what it is for, never on the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm import ComponentError

Seeds = NDArray[np.uint64]
Cells = NDArray[np.int8]
Flags = NDArray[np.bool_]

_STEP, _M1, _M2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_HELD_OUT = np.uint64(1 << 63)


def mixed(x: Seeds) -> Seeds:
    """splitmix64's output function (Steele, Lea and Flood 2014): a bijection of 64-bit numbers that looks random."""
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))


def drawn(seeds: Seeds, purpose: int, counter: NDArray[Any]) -> Seeds:
    """The draw of each seed at an address; `counter`, below 2^32, broadcasts against `seeds`."""
    return mixed(seeds + (counter.astype(np.uint64) + np.uint64((purpose << 32) + 1)) * _STEP)


def seeds(first: int, n: int, *, held_out: bool = False) -> Seeds:
    """The seeds of episodes `first` to `first + n - 1`, shape [n]. No held-out seed is one of training."""
    if first < 0 or n < 0 or first + n >= 1 << 63:
        raise ComponentError(f"episodes are numbered from 0 below 2^63, not from {first} to {first + n}")
    found = np.arange(first, first + n, dtype=np.uint64)
    return found | _HELD_OUT if held_out else found


def fresh(stream: int, first: int, n: int, *, held_out: bool = False) -> Seeds:
    """Seeds number `first` to `first + n - 1` of a stream: another stream has others, and the split is kept."""
    found = drawn(np.full(n, stream, np.uint64), 2, np.arange(first, first + n))
    return found | _HELD_OUT if held_out else found & ~_HELD_OUT


def nth(free: Flags, rank: NDArray[Any]) -> Cells:
    """The cell that is number `rank` [n] among the free ones [n, cells], counted from 0."""
    return _first(free.cumsum(1, dtype=np.int8), rank)


def _first(count: Cells, rank: NDArray[Any]) -> Cells:
    found: Cells = (count > rank[:, None]).argmax(1).astype(np.int8)
    return found


def free_cells(n: int, cells: int, taken: Sequence[Cells], area: Flags | None = None) -> Flags:
    """Which cells are free, [n, cells]: those of `area` [cells] without the taken ones ([n] each; -1 is no cell)."""
    free = np.ones((n, cells + 1), bool)  # the last column is where -1 lands
    if area is not None:
        free[:, :cells] = area
    rows = np.arange(n)
    for cell in taken:
        free[rows, cell] = False
    return free[:, :cells]


class Chance:
    """The draws of one step: by each episode's seed and how often it drew before, or as `ranks` [B, slots] says."""

    def __init__(self, seed: Seeds, draws: NDArray[np.int16], slots: int, ranks: NDArray[Any] | None = None) -> None:
        self.seed, self.draws, self.ranks = seed, draws, ranks
        self.choices = np.zeros((len(seed), slots), np.int8)

    def cell(self, rows: NDArray[np.intp], free: Flags, slot: int) -> Cells:
        """A free cell [n] for these rows [n] of the batch. Raises ComponentError where a given rank is too high."""
        counted = free.cumsum(1, dtype=np.int8)
        count = counted[:, -1]
        self.choices[rows, slot] = count
        if self.ranks is None:
            rank = drawn(self.seed[rows], 1, self.draws[rows]) % count.astype(np.uint64)
        else:
            rank = self.ranks[rows, slot]
            if (rank >= count).any():
                raise ComponentError(f"rank {rank.max()} is not one of {count.min()} free cells; count from 0")
        self.draws[rows] += 1
        return _first(counted, rank.astype(np.int8))
