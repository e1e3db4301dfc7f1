"""Episodes of a control task as a vectorised environment of Stable-Baselines3, rewarded by a reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from rrm.control import ControlTask, StepReward, lived_step, over_time
from rrm.records import Item
from rrm.roles import Scores


class Environment(VecEnv):
    """Each of `count` rows lives one episode after the other; `items` is asked for so many fresh starts."""

    def __init__(
        self, task: ControlTask, reward: StepReward, items: Callable[[int], Sequence[Item]], count: int,
        worth: Callable[[Scores], NDArray[np.float32]],
    ) -> None:  # fmt: skip
        self._task, self._reward, self._items, self._worth = task, reward, items, worth
        self._episodes = task.episodes(items(count))
        self._age = np.zeros(count, np.int64)
        self._actions = np.zeros(count, np.int64)
        wide = self._episodes.observe().shape[1]
        seen = spaces.Box(0.0, 1.0, (wide,), np.float32)
        super().__init__(count, seen, spaces.Discrete(len(task.actions)))

    def reset(self) -> NDArray[np.float32]:
        self._episodes.restart(np.arange(self.num_envs), self._items(self.num_envs))
        self._age[:] = 0
        return self._episodes.observe()

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions.astype(np.int64)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        self._age += 1
        late, asks = self._age >= self._task.horizon, self._reward
        step = lived_step(self._episodes, self._actions, truth=asks.asks_truth, hints=asks.asks_hints, last=late)
        rewards = self._worth(asks.steps(over_time([step])))[:, 0]
        over = ~self._episodes.alive | late
        rows = np.flatnonzero(over)
        if len(rows):
            self._episodes.restart(rows, self._items(len(rows)))
            self._age[rows] = 0
        return self._episodes.observe(), rewards, over, [{} for _ in range(self.num_envs)]

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("episodes have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("episodes have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(self._indices(indices))

    def _indices(self, indices: Any) -> Sequence[int]:
        return range(self.num_envs) if indices is None else [indices] if isinstance(indices, int) else list(indices)
