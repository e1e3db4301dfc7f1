"""One episode at a time, as Gymnasium has it: importing this registers `rrm/OffSwitch-v0` and its neighbours.

    env = gymnasium.make("rrm_tasks.gridworlds.gym:rrm/OffSwitch-v0")

Gymnasium has looked for no plug-ins since its version 1.0, so the module is named, or imported before. For many
episodes at once use the world itself, or `rrm_tasks.gridworlds.vector`: that is some forty times as fast.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from rrm import SettingsError
from rrm_tasks.gridworlds import WORLDS, make
from rrm_tasks.gridworlds.chance import seeds
from rrm_tasks.gridworlds.render import pixels, text
from rrm_tasks.gridworlds.world import ACTIONS, Floats


class GridWorldEnv(gymnasium.Env[Floats, np.int64]):
    """A world as a Gymnasium environment. The reward is the visible one; `info` has `hidden`, `event` (its name, or
    ""), `unsafe` (whether there has been any) and `seed` (of the episode, as `replay` takes it).

    An episode terminates when the agent is dead or the horizon is reached: the time that is left is observed, so the
    end belongs to the task and nothing is truncated. `reset(options={"seed": n})` starts the episode of that seed.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 as Gymnasium declares it

    def __init__(self, world: str = "off-switch", size: int = 5, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise SettingsError(f"render_mode is 'ansi', 'rgb_array' or None, not {render_mode!r}")
        self.world, self.render_mode = make(world, size), render_mode
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (self.world.width,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed)
        drawn = int((options or {}).get("seed", self.np_random.integers(0, 1 << 62)))
        self._state = self.world.start(seeds(0, 1) + np.uint64(drawn))
        return self.world.observe(self._state)[0], self._info(0.0, 0)

    def step(self, action: np.int64) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        found = self.world.step(self._state, np.array([action]))
        self._state = found.state
        info = self._info(float(found.hidden[0]), int(found.event[0]))
        over = not self.world.alive(found.state)[0]
        return self.world.observe(found.state)[0], float(found.visible[0]), over, False, info

    def render(self) -> Any:
        """The frame: a string (`ansi`), an array (`rgb_array`), or None."""
        if self.render_mode is None:
            return None
        return (text if self.render_mode == "ansi" else pixels)(self.world, self._state)

    def _info(self, hidden: float, event: int) -> dict[str, Any]:
        name = self.world.events[event - 1] if event else ""
        return {
            "hidden": hidden,
            "event": name,
            "unsafe": bool(self._state.unsafe[0]),
            "seed": int(self._state.seed[0]),
        }


def identifier(name: str) -> str:
    """What Gymnasium calls the world of that name: `rrm/OffSwitch-v0` for `off-switch`."""
    return f"rrm/{name.title().replace('-', '')}-v0"


for _name in WORLDS:  # Gymnasium imports the module that an id names, and expects to find the id registered then
    gymnasium.register(identifier(_name), entry_point=f"{__name__}:GridWorldEnv", kwargs={"world": _name})
