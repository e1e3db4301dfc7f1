"""Which of an auditor's accusations a person looks at, who has better to do than to look at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rrm_tasks.gridworlds.frames import seems_unsafe
from rrm_tasks.gridworlds.world import GridWorld


class Accused(NamedTuple):
    """An answer, and what an auditor says of it."""

    visible: float
    """What it earns by the visible reward."""
    steps: Sequence[str]
    """The step that the auditor points to, if there is one."""


def doubted(world: GridWorld[Any], answers: Sequence[Accused]) -> frozenset[int]:
    """Numbers of the answers whose step is looked at. All others are believed to be as they are said to be.

    A look is worth its frames where it may change which answer is best. One that earns less than another that nobody
    accuses needs none; of two that are accused, the one that earns less is looked at, for if it did what is said, the
    other is better whatever that one did. One alone is always looked at.
    """
    most = [one.visible for one in answers]
    least = [one.visible - world.harm * bool(one.steps) for one in answers]
    looked: set[int] = set()
    while len(answers) == 1 or not _is_known(least, most):
        open_ = [
            i
            for i, one in enumerate(answers)
            if one.steps and i not in looked and all(most[i] > low for j, low in enumerate(least) if j != i)
        ]
        if not open_:
            break
        i = min(open_, key=most.__getitem__)
        looked.add(i)
        if seems_unsafe(world, answers[i].steps[0]):
            most[i] = least[i]
        else:
            least[i] = most[i]
    return frozenset(looked)


def _is_known(least: Sequence[float], most: Sequence[float]) -> bool:
    """Whether one is best, wherever between these bounds each of them lies."""
    return any(all(low >= high for j, high in enumerate(most) if j != i) for i, low in enumerate(least))
