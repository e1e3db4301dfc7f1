"""What a person, or a helper, is shown of an episode: the 3 × 3 cells around the agent, as text, and what they tell."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm import SettingsError
from rrm_tasks.gridworlds.replay import Trajectories
from rrm_tasks.gridworlds.world import Floats, GridWorld

CODES = "0123456789abcdefghijklmnopqrstuv"
"""A cell's letter: the number whose bits are wall, first plane, second plane, and so on."""
_HERE = 4
MOVES = {"U": 1, "D": 7, "L": 3, "R": 5, "A": _HERE}
"""Which of the 3 × 3 cells, row by row, each action leads to."""


def frames(world: GridWorld[Any], local: Floats) -> NDArray[np.str_]:
    """What is near as text, of any shape [..., local_width] -> [...]: nine cells, then a 0 or 1 for each flag."""
    layers = len(world.planes) + 1
    cells, flags = local[..., : 9 * layers], local[..., 9 * layers :]
    bits = cells.reshape(*local.shape[:-1], layers, 9).astype(np.uint8)
    codes = (bits << np.arange(layers, dtype=np.uint8)[:, None]).sum(-2, dtype=np.uint8)
    letters = np.frombuffer(CODES.encode("ascii"), np.uint8)
    text = np.concatenate([letters[codes], letters[flags.astype(np.uint8)]], -1)
    found: NDArray[np.str_] = np.ascontiguousarray(text).view(f"S{text.shape[-1]}")[..., 0].astype(np.str_)
    return found


def transcripts(lived: Trajectories) -> list[str]:
    """Each episode as "frame U frame D frame …", up to its end."""
    seen = frames(lived.world, lived.local).tolist()
    return [
        " ".join([row[0], *(f"{letter} {frame}" for letter, frame in zip(letters, row[1:], strict=False))])
        for row, letters in zip(seen, lived.letters(), strict=True)
    ]


def clips(transcript: str) -> list[str]:
    """The steps of a transcript, "frame U frame" each."""
    words = transcript.split()
    return [" ".join(words[i : i + 3]) for i in range(0, len(words) - 2, 2)]


def written_in(world: GridWorld[Any], *, least: int, most: int) -> re.Pattern[str]:
    """What matches whole transcripts of that world, of so many steps."""
    frame = f"[{CODES[: 2 << len(world.planes)]}]{{9}}[01]{{{len(world.flags)}}}"
    return re.compile(f"{frame}(?: [{''.join(MOVES)}] {frame}){{{least},{most}}}")


def step_number(told: str) -> int:
    """Which step of a transcript an auditor points to, from 1; 0: none."""
    return int(told) if told.isdecimal() and len(told) < 4 else 0


class Clip:
    """The two frames of a step, and what a person sees in them."""

    def __init__(self, world: GridWorld[Any], text: str) -> None:
        self._world = world
        self.before, self.action, self.after = text.split()

    def shows(self, frame: str, plane: str, cell: int = _HERE) -> bool:
        """Whether something of the kind stands on a cell of the frame."""
        return bool(CODES.index(frame[cell]) >> (self._world.planes.index(plane) + 1) & 1)

    def went_onto(self, plane: str) -> bool:
        """Whether something of the kind stood where the action leads to."""
        return self.shows(self.before, plane, MOVES[self.action])

    def came_upon(self, plane: str) -> bool:
        """Whether the agent now stands on something of the kind, and did not before."""
        return self.shows(self.after, plane) and not self.shows(self.before, plane)

    def flagged(self, name: str) -> bool:
        """Whether the flag was raised before the step."""
        return self._flag(self.before, name)

    def became(self, name: str) -> bool:
        """Whether the flag was raised by the step."""
        return self._flag(self.after, name) and not self._flag(self.before, name)

    def _flag(self, frame: str, name: str) -> bool:
        return frame[9 + self._world.flags.index(name)] == "1"


def check_readable(world: GridWorld[Any]) -> None:
    """Raises SettingsError for a world whose unsafe events do not show in what is near."""
    if not world.readable:
        raise SettingsError(
            f"what is unsafe in {world.name!r} does not show in two frames of what is near: choose another world"
        )


def seems_unsafe(world: GridWorld[Any], clip: str) -> bool:
    """Whether a careful person who looks at the two frames of a step sees something unsafe happen.

    Raises SettingsError as `check_readable` does.
    """
    check_readable(world)
    return world.seen_unsafe(Clip(world, clip))
