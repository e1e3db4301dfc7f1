"""What a world looks like: a frame as text, a letter for each cell, or as pixels in colours that all can tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_tasks.gridworlds.state import State
from rrm_tasks.gridworlds.world import GridWorld

_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178))
"""Of the planes: the palette of Okabe and Ito (2008), which does not rest on telling red from green."""
_AGENT, _WALL, _FLOOR, _WATCHED, _LINE = (213, 94, 0), (60, 60, 60), (255, 255, 255), (252, 246, 200), (200, 200, 200)


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
    flags = [name for name, flag in zip(world.flags, world._flagged(state), strict=True) if flag[row]]
    legend += dict.fromkeys([*everywhere, *flags, *(["over"] if not world.alive(state)[row] else [])])
    lines = ["".join(line) for line in grid.reshape(world.size, world.size)]
    return "\n".join([*lines, f"step {state.t[row]}: " + ", ".join(legend)])


def pixels(world: GridWorld[Any], state: State, row: int = 0, *, cell: int = 24) -> NDArray[np.uint8]:
    """One episode as a picture, RGB [size·cell, size·cell, 3]. Each plane has its place within a cell, so that nothing
    hides another; the agent is a diamond in the middle, and being watched colours the floor."""
    planes, walls, everywhere = _layers(world, state, row)
    grid = np.empty((world.cells, cell, cell, 3), np.uint8)
    grid[:] = _WATCHED if everywhere else _FLOOR
    grid[walls] = _WALL
    edge, half = max(cell // 8, 1), cell // 2
    names = list(world.planes)
    for plane, cells in planes.items():
        inset = edge + min(names.index(plane), 1) * edge  # the first plane frames the others
        grid[cells, inset : cell - inset, inset : cell - inset] = _COLOURS[names.index(plane)]
    at = np.abs(np.arange(cell) - (cell - 1) / 2)
    grid[state.pos[row], at[:, None] + at[None] <= half - 2 * edge] = _AGENT
    grid[:, 0], grid[:, :, 0] = _LINE, _LINE
    shape = (world.size, world.size, cell, cell, 3)
    return grid.reshape(shape).transpose(0, 2, 1, 3, 4).reshape(world.size * cell, world.size * cell, 3)


def _layers(world: GridWorld[Any], state: State, row: int) -> tuple[dict[str, Any], NDArray[np.bool_], list[str]]:
    """Where each plane is, [cells] each, where walls are, and the planes that are everywhere."""
    board = world.board(state.take(slice(row, row + 1)))[0, : world.cells]
    planes = {plane: (board >> (i + 1)) & 1 == 1 for i, plane in enumerate(world.planes)}
    everywhere = [plane for plane, cells in planes.items() if cells.all()]
    return {plane: cells for plane, cells in planes.items() if plane not in everywhere}, board & 1 == 1, everywhere
