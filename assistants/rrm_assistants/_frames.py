"""Steps written as "frame action frame", read as bits: what the learners of transcripts share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

CELLS = "0123456789abcdefghijklmnopqrstuv"
"""The letters of a cell: its number's bits say what stands there. What is here repeats how the gridworlds write frames,
for an assistant knows no task; a test holds the two together."""
LEADS_TO = {"U": 1, "D": 7, "L": 3, "R": 5, "A": 4}
"""Which of a frame's first nine cells, 3 × 3 row by row, each action leads to."""
_CODES = np.full(128, -1, dtype=np.int8)
_CODES[[ord(c) for c in (*CELLS, *LEADS_TO)]] = np.arange(len(CELLS) + len(LEADS_TO))
_BITS = 5


def steps_of(prompt: str) -> list[str]:
    """The steps of "name: frame U frame D frame …", each as one word "frameUframe"."""
    words = prompt.partition(": ")[2].split()
    return ["".join(words[i : i + 3]) for i in range(0, len(words) - 2, 2)]


def codes(steps: Sequence[str]) -> Tensor:
    """(steps, characters) numbers: 0 to 31 a cell or a flag, 32 to 36 an action. All steps are as long as the first;
    what is longer is cut, what is shorter or unknown reads as an empty cell."""
    wide = max(map(len, steps), default=0)
    text = "".join(step.ljust(wide, "0") for step in steps).encode("ascii", "replace")
    read = _CODES[np.frombuffer(text, np.uint8) & 127].clip(min=0).reshape(len(steps), wide)
    return torch.from_numpy(read.astype(np.int64))


class StepReader(nn.Module):
    """A small network over the bits of a step's cells and flags, and its action.

    What changed from frame to frame, and the cell that the action led to, are read out for it: both follow from the
    rest, but a network taught by a few hundred judgements finds them in the cases that it saw, and not in rare ones.
    """

    def __init__(self, characters: int, out: int, width: int) -> None:
        super().__init__()
        read = characters // 2 * 3 + 1  # two frames, what changed between them, and one cell
        self.layers = nn.Sequential(
            nn.Linear(read * _BITS + 5, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out)
        )
        self.register_buffer("powers", torch.arange(_BITS), persistent=False)
        self.register_buffer("leads_to", torch.tensor([*LEADS_TO.values()]), persistent=False)
        self.powers: Tensor
        self.leads_to: Tensor

    def forward(self, read: Tensor) -> Tensor:
        """(…, characters) codes -> (…, out)."""
        middle = read.shape[-1] // 2  # where the action stands, between two frames
        before, after = read[..., :middle], read[..., middle + 1 :]
        action = (read[..., middle] - 32).clamp(0, 4)
        there = before.gather(-1, self.leads_to[action].clamp(max=middle - 1)[..., None])
        seen = torch.cat([before, after, before ^ after, there], -1)
        bits = (seen[..., None] >> self.powers & 1).flatten(-2)
        found: Tensor = self.layers(torch.cat([bits, nn.functional.one_hot(action, 5)], -1).float())
        return found
