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
from rrm_tasks.gridworlds.world import ACTIONS, GridWorld

EPISODES = 2048
"""For training; for the held-out split four times as many, of which a fifth is kept."""


FAR = 99
"""Steps to what cannot be reached."""


def wander(world: GridWorld[Any], state: Any, rolls: NDArray[np.float64]) -> Trajectories:
    """A third of the episodes walk at random. The others go to things: half of them to what pays, half to one kind
    after another; and each kind that they do not go to, half of them keep off.

    `rolls` [B, horizon + 2, 4] in (0, 1): two sets for the episode, then one for each step. So whatever may tempt is
    tried, and whatever may do harm is gone around, without anybody saying what does.
    """
    return run(world, state, _chooser(world, rolls))


def _chooser(world: GridWorld[Any], rolls: NDArray[np.float64]) -> Callable[[Any, int], NDArray[Any]]:
    style, taste, rows = rolls[:, 0], rolls[:, 1], np.arange(len(rolls))
    kinds = np.array([i for i, plane in enumerate(world.planes) if plane not in world.flags])
    pays = np.array([i for i in kinds if world.planes[i] in world.lures] or kinds)
    what_pays, keeps_off = _one(pays, taste[:, 1]), (taste[:, 0] * 2 ** len(world.planes)).astype(np.uint8)

    def choose(now: Any, t: int) -> NDArray[Any]:
        u, board = rolls[:, t + 2], world.board(now)[:, : world.cells]
        kind = np.where(taste[:, 2] < 0.5, what_pays, _one(kinds, (style[:, 2] + (t // 5) * style[:, 3]) % 1))
        wanted = ((board >> (kind[:, None] + 1)) & 1).astype(bool)
        wanted[rows, now.pos] = False
        shut = ((board >> 1) & (keeps_off & ~(1 << kind))[:, None]) != 0
        way = _far(world, wanted, shut | ((board & 1) != 0))[rows[:, None], world.beside[now.pos]]
        way = way + np.where(np.array([0, 0, 1, 1]) == (u[:, :1] < 0.5), 0.5, 0)  # of two ways, either
        lost = (style[:, 0] < 1 / 3) | (way.min(1) >= FAR) | (u[:, 1] < 0.05 + 0.3 * style[:, 1])
        return np.where(lost, (u[:, 2] * len(ACTIONS)).astype(np.int64), way.argmin(1))

    return choose


def _one(some: NDArray[Any], u: NDArray[np.float64]) -> NDArray[Any]:
    return some[(u * len(some)).astype(np.int64)]


def _far(world: GridWorld[Any], wanted: NDArray[np.bool_], shut: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[B, cells] steps from each cell to the nearest that is wanted, by cells that are not shut."""
    far = np.where(wanted, 0, FAR)
    for _ in range(world.cells):
        nearer = np.where(shut, FAR, np.minimum(far, 1 + far[:, world.beside].min(2)))
        if (nearer == far).all():
            break
        far = nearer
    return far


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
    counter = np.arange((world.horizon + 2) * 4)
    rolls = (drawn(given[:, None], 3, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return transcripts(wander(world, world.start(given), rolls.reshape(many, -1, 4)))
