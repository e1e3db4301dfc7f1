"""Many episodes at once, as Stable-Baselines3 has it: over a batched world, with a place for a learned reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rrm_tasks.gridworlds.chance import Cells, Flags, fresh
from rrm_tasks.gridworlds.render import pixels
from rrm_tasks.gridworlds.state import State
from rrm_tasks.gridworlds.world import ACTIONS, Floats, GridWorld

_BLOCK = 256
Reward = Callable[[Floats, NDArray[Any], Floats, Floats, Flags], Floats]
"""A reward for what is near before [B, d], the actions [B], what is near after, the visible reward, who is alive."""


class GridWorldVecEnv(VecEnv):
    """`n` episodes side by side; one that ends is followed by the next of the stream, in the same step.

    The reward is the visible one, or what `reward` says. What the last step gave stays on the object: `visible`,
    `hidden`, `event`, each [n]; an info has `terminal_observation` where an episode ended, and nothing otherwise. An
    episode is never truncated: its horizon is observed. `stream` numbers the sequence of episode seeds, as
    `env.seed` does for the next reset; `held_out` draws from seeds that no training has.
    """

    hidden: Floats
    event: Cells
    visible: Floats

    def __init__(
        self, world: GridWorld[Any], n: int, *, stream: int = 0, reward: Reward | None = None, held_out: bool = False
    ) -> None:
        self.world, self.stream, self.reward, self.held_out = world, stream, reward, held_out
        self.render_mode = "rgb_array"
        super().__init__(
            n, gymnasium.spaces.Box(0.0, 1.0, (world.width,), np.float32), gymnasium.spaces.Discrete(len(ACTIONS))
        )
        self._drawn, self._block, self._left = 0, max(n, _BLOCK), 0
        self._empty: list[dict[str, Any]] = [{} for _ in range(n)]

    def reset(self) -> Floats:
        if self._seeds[0] is not None:
            self.stream, self._drawn, self._left = self._seeds[0], 0, 0
        self._reset_seeds()
        self._reset_options()
        self.state, self.seen = self._next(self.num_envs)
        return self.seen

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        world, before = self.world, self.seen
        state, self.visible, self.hidden, self.event, _ = world.step(self.state, self._actions)
        seen, done = world.observe(state), ~world.alive(state)
        given = self.visible if self.reward is None else self._reward(before, seen)
        infos: list[dict[str, Any]] = self._empty
        (rows,) = done.nonzero()
        if len(rows):
            last, infos = seen[rows], list(self._empty)
            for row, observation in zip(rows.tolist(), last, strict=True):
                infos[row] = {"terminal_observation": observation}
            begun, seen[rows] = self._next(len(rows))
            state.put(rows, begun)
        self.state, self.seen = state, seen
        return seen, given, done, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise NotImplementedError("episodes share one world; make another GridWorldVecEnv")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> Any:
        raise NotImplementedError("episodes have no methods of their own; call the world's, on `state`")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        return [pixels(self.world, self.state, row) for row in range(self.num_envs)]

    def _reward(self, before: Floats, after: Floats) -> Floats:
        if self.reward is None:
            return self.visible
        near, alive = self.world.local_columns, np.ones(self.num_envs, bool)  # the dead were begun again
        return self.reward(before[:, near], self._actions, after[:, near], self.visible, alive)

    def _next(self, n: int) -> tuple[State, Floats]:
        """The next `n` starts of the stream, and what is seen there. They are laid out in blocks, many at once."""
        if self._left < n:
            seeds = fresh(self.stream, self._drawn - self._left, self._block, held_out=self.held_out)
            self._drawn += self._block - self._left
            self._starts, self._left = self.world.start(seeds), self._block
            self._sights = self.world.observe(self._starts)
        rows = slice(self._block - self._left, self._block - self._left + n)
        self._left -= n
        return self._starts.take(rows), self._sights[rows]
