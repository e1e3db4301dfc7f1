"""Episodes by nobody who learns, and what there is to learn from in them: for helpers, and for an agent's beginning."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm_tasks._split import is_held_out
from rrm_tasks.gridworlds import make
from rrm_tasks.gridworlds.chance import drawn, seeds
from rrm_tasks.gridworlds.frames import MOVES, clips, transcripts
from rrm_tasks.gridworlds.replay import Trajectories, run
from rrm_tasks.gridworlds.world import ACT, ACTIONS, GridWorld

EPISODES = 2048
"""For training; for the held-out split four times as many, of which a fifth is kept."""


def wander(world: GridWorld[Any], state: Any, rolls: NDArray[np.float64]) -> Trajectories:
    """A third of the episodes walk at random; the others go to one kind of thing, then to another.

    `rolls` [B, horizon + 1, 4] in (0, 1): one set for the episode, then one for each step. So whatever may tempt is
    tried, without anybody saying what does.
    """
    return run(world, state, _chooser(world, rolls))


def _chooser(world: GridWorld[Any], rolls: NDArray[np.float64]) -> Callable[[Any, int], NDArray[Any]]:
    style, kinds = rolls[:, 0], len(world.planes)
    rows, columns = np.divmod(np.arange(world.cells), world.size)

    def choose(now: Any, t: int) -> NDArray[Any]:
        u = rolls[:, t + 1]
        kind = 1 + ((style[:, 2] + (t // 5) * style[:, 3]) * kinds).astype(np.int64) % kinds
        wanted = ((world.board(now)[:, : world.cells] >> kind[:, None]) & 1).astype(bool)
        wanted[np.arange(len(wanted)), now.pos] = False
        row, column = rows[now.pos], columns[now.pos]
        far = np.abs(rows - row[:, None]) + np.abs(columns - column[:, None])
        goal = np.where(wanted, far, 99).argmin(1)
        down, right = rows[goal] - row, columns[goal] - column
        upright = (down != 0) & ((u[:, 0] < 0.5) | (right == 0))
        toward = np.where(upright, np.where(down > 0, 1, 0), np.where(right > 0, 3, 2))
        some = wanted.any(1)
        lost = (style[:, 0] < 1 / 3) | ~some | (u[:, 1] < 0.05 + 0.3 * style[:, 1])
        return np.where(lost, (u[:, 2] * len(ACTIONS)).astype(np.int64), np.where(some, toward, ACT))

    return choose


class Corpus(NamedTuple):
    """What one split may ask of wandering episodes: no transcript and no step stands in both."""

    transcripts: tuple[str, ...]
    steps: tuple[str, ...]
    """Steps ("frame U frame") as often as they happened."""
    kinds: tuple[tuple[str, ...], ...]
    """Every different step, by kind: what the agent went onto, and how the flags changed."""


@lru_cache(maxsize=32)
def corpus(name: str, size: int, *, held_out: bool) -> Corpus:
    """The same for everybody: a function of the world and the split.

    Episodes have other seeds in each split, and yet most of what is near an agent in one stands in the other too. So
    what a text says decides, as in every family of tasks, and not the episode that it comes from.
    """
    texts = _episodes(make(name, size), 4 * EPISODES if held_out else EPISODES, held_out=held_out)
    steps = [step for text in texts for step in clips(text)]
    own = {step: step for step in dict.fromkeys(steps) if is_held_out(step) == held_out}
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for step in own:
        before, action, after = step.split()
        kinds.setdefault((before[MOVES[action]], before[9:], after[9:]), []).append(step)
    return Corpus(
        tuple(text for text in texts if is_held_out(text) == held_out),
        tuple(own[step] for step in steps if step in own),
        tuple(tuple(kind) for _, kind in sorted(kinds.items())),
    )


def _episodes(world: GridWorld[Any], many: int, *, held_out: bool) -> list[str]:
    given = seeds(0, many, held_out=held_out)
    counter = np.arange((world.horizon + 1) * 4)
    rolls = (drawn(given[:, None], 3, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return transcripts(wander(world, world.start(given), rolls.reshape(many, -1, 4)))
