"""Coins that are collected by standing on them, and come back on a free cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rrm_tasks.gridworlds.chance import Cells, Chance, Flags, free_cells, nth


def collect(coin: Cells, where: Cells, taken: Sequence[Cells], chance: Chance, *, cells: int, slot: int = 0) -> Flags:
    """Whether a coin lies on the cell `where` [B]; it is taken, and comes back on a cell without coin, collector, or
    anything in `taken`.

    `coin` [B, 2] is changed in place, and stays sorted: two coins are alike, so states that differ by their order are
    one.
    """
    hit = coin == where[:, None]
    rows, which = hit.nonzero()
    if len(rows):
        around = [cell[rows] for cell in (where, coin[:, 0], coin[:, 1], *taken)]
        coin[rows, which] = chance.cell(rows, free_cells(len(rows), cells, around), slot)
        coin[rows] = np.sort(coin[rows], axis=1)
    found: Flags = hit.any(1)
    return found


def scatter(rolls: NDArray[np.int64], n: int, cells: int) -> list[Cells]:
    """`n` different cells for each row, from numbers [B, n]: number i counts among the cells that are left."""
    found: list[Cells] = []
    for i in range(n):
        found.append(nth(free_cells(len(rolls), cells, found), rolls[:, i]))
    return found
