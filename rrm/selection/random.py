"""Fresh items of the task, drawn blindly."""

from __future__ import annotations

from rrm.records import Item
from rrm.roles import Selection, SoFar, Task
from rrm.seed import Seed


class Random(Selection):
    """What every active choice should be compared with."""

    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        return [task.sample(seed.at(i).rng()) for i in range(count)]
