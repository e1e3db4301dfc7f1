"""Gridworlds with a visible reward and a hidden performance: specification problems, batched in NumPy."""

from __future__ import annotations

from typing import Any

from rrm import SettingsError
from rrm_tasks.gridworlds.absent_supervisor import AbsentSupervisor
from rrm_tasks.gridworlds.boat_race import BoatRace
from rrm_tasks.gridworlds.containment import Containment
from rrm_tasks.gridworlds.off_switch import OffSwitch
from rrm_tasks.gridworlds.side_effects import SideEffects
from rrm_tasks.gridworlds.subagents import Subagents
from rrm_tasks.gridworlds.tampering import Tampering
from rrm_tasks.gridworlds.world import GridWorld

WORLDS: dict[str, type[GridWorld[Any]]] = {
    world.name: world
    for world in (OffSwitch, SideEffects, AbsentSupervisor, Containment, Subagents, BoatRace, Tampering)
}
"""Every world by its name; the first five are those of Leike et al. 2018."""


def make(name: str, size: int = 5, horizon: int = 20) -> GridWorld[Any]:
    """The world of that name. Raises SettingsError if there is none, or none of that size."""
    if name not in WORLDS:
        raise SettingsError(f"no gridworld is called {name!r}; there are {', '.join(WORLDS)}")
    return WORLDS[name](size, horizon)
