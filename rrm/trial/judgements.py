"""What a trial's judgements came to, as columns: one row is what one rater made of one case in one arm."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def _nothing() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class Judgements:
    """Columns of one length. What was not measured is nan; a column of which nothing was may be left out."""

    rater: Whole
    case: Whole
    arm: Whole
    right: Floats
    """1: as the truth has it; 0: against it; .5: cannot tell, which is what a guess would have been worth."""
    abstained: Floats = field(default_factory=_nothing)
    """1 where the rater could not, or would not, say."""
    seconds: Floats = field(default_factory=_nothing)
    confidence: Floats = field(default_factory=_nothing)
    """0 to 1: how probably the rater thought to be right."""
    opened: Floats = field(default_factory=_nothing)
    """Share of the case's exhibits that the rater opened."""
    helped_right: Floats = field(default_factory=_nothing)
    """Share of the case's exhibits that the truth confirms."""

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            column = getattr(self, name)
            if not len(column):
                object.__setattr__(self, name, np.full(len(self.right), np.nan))
            elif len(column) != len(self.right):
                raise ValueError(f"column {name!r} has {len(column)} rows, and the others {len(self.right)}")

    def __len__(self) -> int:
        return len(self.right)

    def only(self, rows: NDArray[np.bool_]) -> Judgements:
        """The rows that are wanted."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})
