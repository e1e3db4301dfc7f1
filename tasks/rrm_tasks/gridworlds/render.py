"""What a world looks like: a frame as text, a letter for each cell, or as pixels in colours that all can tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_tasks.gridworlds.state import State
from rrm_tasks.gridworlds.world import GridWorld

_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178))
"""Of the planes: the palette of Okabe and Ito (2008), which does not rest on telling red from green."""
PALETTE = (*_COLOURS, (213, 94, 0), (60, 60, 60), (255, 255, 255), (252, 246, 200), (200, 200, 200))
"""All colours of a picture: of the planes in order, then of the agent, of walls, of the floor, of a floor that is
watched, and of the lines between cells."""
_AGENT, _WALL, _FLOOR, _WATCHED, _LINE = range(len(_COLOURS), len(PALETTE))


def letters(world: GridWorld[Any]) -> dict[str, str]:
    """The letter of each plane: the first of its name that no earlier plane has."""
    found: dict[str, str] = {}
    for plane in world.planes:
        found[plane] = next(c for c in plane.upper() if c.isalpha() and c not in found.values())
    return found


def text(world: GridWorld[Any], state: State, row: int = 0) -> str:
    """One episode as lines of letters: @ the agent, # a wall, . an empty cell; below, what the letters mean.

    Of several things on a cell the last plane shows, and the agent over all; the legend says what the agent stands on.
    """
    planes, walls, everywhere = _layers(world, state, row)
    grid, signs = np.where(walls, "#", "."), letters(world)
    for plane, cells in planes.items():
        grid[cells] = signs[plane]
    under = [plane for plane, cells in planes.items() if cells[state.pos[row]]]
    grid[state.pos[row]] = "@"
    legend = ["@ agent" + (f" (on {', '.join(under)})" if under else "")]
    legend += [f"{signs[plane]} {plane}" for plane, cells in planes.items() if cells.any()]
    over = [] if world.alive(state)[row] else ["over"]
    legend += dict.fromkeys([*everywhere, *raised(world, state, row), *over])
    lines = ["".join(line) for line in grid.reshape(world.size, world.size)]
    return "\n".join([*lines, f"step {state.t[row]}: " + ", ".join(legend)])


def raised(world: GridWorld[Any], state: State, row: int = 0) -> list[str]:
    """The flags that are up."""
    return [name for name, flag in zip(world.flags, world._flagged(state), strict=True) if flag[row]]


def pixels(world: GridWorld[Any], state: State, row: int = 0, *, cell: int = 24) -> NDArray[np.uint8]:
    """One episode as a picture, RGB [size·cell, size·cell, 3]. Each plane has its place within a cell, so that nothing
    hides another; the agent is a diamond in the middle, and being watched colours the floor."""
    colours: NDArray[np.uint8] = np.array(PALETTE, np.uint8)[indexed(world, state, row, cell=cell)]
    return colours


def indexed(world: GridWorld[Any], state: State, row: int = 0, *, cell: int = 24) -> NDArray[np.uint8]:
    """The same as places in `PALETTE`, [size·cell, size·cell]."""
    planes, walls, everywhere = _layers(world, state, row)
    return drawn(world, planes, walls, agent=int(state.pos[row]), watched=bool(everywhere), cell=cell)


def drawn(
    world: GridWorld[Any],
    planes: Mapping[str, NDArray[np.bool_]],
    walls: NDArray[np.bool_],
    *,
    agent: int,
    watched: bool,
    cell: int,
) -> NDArray[np.uint8]:
    """A square of cells (planes and walls [cells], row by row) with the agent on one of them, as places in `PALETTE`;
    of an `agent` below 0 there is none."""
    grid = np.empty((len(walls), cell, cell), np.uint8)
    grid[:] = _WATCHED if watched else _FLOOR
    grid[walls] = _WALL
    edge, half, names = max(cell // 8, 1), cell // 2, list(world.planes)
    for plane, cells in planes.items():
        inset = edge + min(names.index(plane), 1) * edge  # the first plane frames the others
        grid[cells, inset : cell - inset, inset : cell - inset] = names.index(plane)
    at = np.abs(np.arange(cell) - (cell - 1) / 2)
    if agent >= 0:
        grid[agent, at[:, None] + at[None] <= half - 2 * edge] = _AGENT
    grid[:, 0], grid[:, :, 0] = _LINE, _LINE
    side = math.isqrt(len(walls))
    return grid.reshape(side, side, cell, cell).transpose(0, 2, 1, 3).reshape(side * cell, side * cell)


def _layers(world: GridWorld[Any], state: State, row: int) -> tuple[dict[str, Any], NDArray[np.bool_], list[str]]:
    """Where each plane is, [cells] each, where walls are, and the planes that are everywhere."""
    board = world.board(state.take(slice(row, row + 1)))[0, : world.cells]
    planes = {plane: (board >> (i + 1)) & 1 == 1 for i, plane in enumerate(world.planes)}
    everywhere = [plane for plane, cells in planes.items() if cells.all()]
    return {plane: cells for plane, cells in planes.items() if plane not in everywhere}, board & 1 == 1, everywhere
