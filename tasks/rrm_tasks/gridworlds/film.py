"""Episodes as filmstrips: typed blocks that a page shows as small pictures, and a terminal as letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm import Frames, Image
from rrm_tasks.gridworlds.frames import CODES, clips
from rrm_tasks.gridworlds.render import PALETTE, drawn, indexed, letters, raised, text
from rrm_tasks.gridworlds.replay import Trajectories
from rrm_tasks.gridworlds.state import State
from rrm_tasks.gridworlds.world import GridWorld

_CELL = 10
"""Pixels of a cell's side: as few as still tell a diamond from a square."""
_WORDS = {"U": "up", "D": "down", "L": "left", "R": "right", "A": "act"}


def board(world: GridWorld[Any], state: State, row: int = 0) -> Image:
    """The whole grid of one episode."""
    lines = text(world, state, row).rsplit("\n", 1)[0]
    return _image(indexed(world, state, row, cell=_CELL), lines, "the grid, row by row")


def near(world: GridWorld[Any], frame: str) -> Image:
    """What is near the agent, from the nine cells and the flags of a transcript's frame."""
    bits = np.array([CODES.index(code) for code in frame[:9]])
    up = _up(world, frame)
    planes = {p: (bits >> (i + 1)) & 1 == 1 for i, p in enumerate(world.planes) if p not in up}
    walls = bits & 1 == 1
    shown, signs = np.where(walls, "#", "."), letters(world)
    for plane, cells in planes.items():
        shown[cells] = signs[plane]
    shown[4] = "@"
    lines = "\n".join("".join(line) for line in shown.reshape(3, 3))
    picture = drawn(world, planes, walls, agent=4, watched=bool(set(up) & set(world.planes)), cell=_CELL)
    return _image(picture, lines, "what is near, row by row")


def key(world: GridWorld[Any]) -> Frames:
    """What the colours and letters mean."""
    signs, no, yes = letters(world), np.zeros(1, np.bool_), np.ones(1, np.bool_)
    planes = [p for p in world.planes if p not in world.flags]
    squares = [
        drawn(world, {}, no, agent=0, watched=False, cell=_CELL),
        drawn(world, {}, yes, agent=-1, watched=False, cell=_CELL),
        *(drawn(world, {p: yes}, no, agent=-1, watched=False, cell=_CELL) for p in planes),
    ]
    names = ("agent", "wall", *planes)
    marks = ("@", "#", *(signs[p] for p in planes))
    images = (_image(square, mark, name) for square, mark, name in zip(squares, marks, names, strict=True))
    return Frames(frames=tuple(images), captions=names)


def film(world: GridWorld[Any], lived: Trajectories, row: int, transcript: str, prefix: str) -> Frames:
    """One episode, as far as its transcript goes: frame k is what step k led to. `prefix` opens prompts about steps."""
    actions = transcript.split()[1::2]
    frames = [board(world, state, row) for state in lived.states[: len(actions) + 1]]
    flags = [raised(world, state, row) for state in lived.states[: len(actions) + 1]]
    return _strip(frames, actions, flags, [prefix + clip for clip in clips(transcript)])


def strip(world: GridWorld[Any], transcript: str, prefix: str, first: int | None = 1) -> Frames:
    """A transcript, or a part of it that begins before step `first`; None: before a step that has no number."""
    words = transcript.split()
    frames, steps = words[::2], clips(transcript)
    flags = [_up(world, frame) for frame in frames]
    return _strip([near(world, f) for f in frames], words[1::2], flags, [prefix + clip for clip in steps], first)


def _strip(
    frames: Sequence[Image],
    actions: Sequence[str],
    flags: Sequence[Sequence[str]],
    asked: Sequence[str],
    first: int | None = 1,
) -> Frames:
    numbers = [f"{first + k}" if first is not None else "" for k in range(len(actions))]
    told = ["start" if first == 1 else "before", *(f"{n} {_WORDS[a]}" for n, a in zip(numbers, actions, strict=True))]
    captions = tuple(", ".join([word.strip(), *up]) for word, up in zip(told, flags, strict=True))
    return Frames(frames=tuple(frames), captions=captions, names=("", *numbers), asked=("", *asked), seconds_each=0.5)


def _up(world: GridWorld[Any], frame: str) -> list[str]:
    return [name for name, digit in zip(world.flags, frame[9:], strict=True) if digit == "1"]


def _image(picture: NDArray[np.uint8], lines: str, what: str) -> Image:
    rows = tuple(map(tuple, picture.tolist()))
    return Image(pixels=rows, alt=f"{what}: {' '.join(lines.split())}", palette=PALETTE, letters=lines)
