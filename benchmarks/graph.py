"""What a large task graph costs: 100 000 nodes validated and put in levels (bar: 5 s).

    python -m benchmarks.graph [--json] [--nodes 100000] [--repeats 3]

CPU-seconds of `TaskGraph(tasks, helped_by)`, which checks every name, subtask and kind of task, finds circles and sorts
nodes into levels; and of `levels()` and `level_of()` after it. Three shapes: a chain (as many levels as nodes), a
binary tree (two helpers a node), and a random acyclic graph (three helpers a node, drawn from all nodes before it).
"""

from __future__ import annotations

import statistics
from random import Random
from time import process_time
from typing import ClassVar

from benchmarks.machine import give, parser, verdict
from rrm.graph import TaskGraph
from rrm.records import Item
from rrm.roles import Subtask, Task

BAR = 5.0

Edges = dict[str, dict[str, str]]


class Part(Task):
    """A task with three slots for help."""

    subtasks: ClassVar[tuple[Subtask, ...]] = tuple(Subtask(name=slot, task="part") for slot in "abc")

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="part", prompt=str(rng.random()))


def shapes(nodes: int) -> dict[str, Edges]:
    """Who helps whom, by shape."""
    rng = Random(0)
    return {
        "chain": {f"n{i}": {"a": f"n{i - 1}"} for i in range(1, nodes)},
        "binary tree": {
            f"n{i}": {slot: f"n{child}" for slot, child in (("a", 2 * i + 1), ("b", 2 * i + 2)) if child < nodes}
            for i in range(nodes // 2)
        },
        "random, 3 helpers": {f"n{i}": {slot: f"n{rng.randrange(i)}" for slot in "abc"} for i in range(3, nodes)},
    }


def seconds(nodes: int, helped_by: Edges) -> tuple[float, int]:
    """CPU-seconds to validate and level, and how many levels there are."""
    tasks = dict.fromkeys((f"n{i}" for i in range(nodes)), Part())
    before = process_time()
    graph = TaskGraph(tasks, helped_by)
    levels, number = graph.levels(), graph.level_of()
    spent = process_time() - before
    assert len(number) == nodes
    return spent, len(levels)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--nodes", type=int, default=100_000)
    command.add_argument("--repeats", type=int, default=3)
    given = command.parse_args()
    rows: list[list[object]] = [["shape", "edges", "levels", "CPU-s", f"bar {BAR:g}"]]
    found = {}
    for name, helped_by in shapes(given.nodes).items():
        runs = [seconds(given.nodes, helped_by) for _ in range(given.repeats)]
        spent, levels = statistics.median(run[0] for run in runs), runs[0][1]
        edges = sum(map(len, helped_by.values()))
        rows.append([name, f"{edges:,}", f"{levels:,}", spent, verdict(spent <= BAR)])
        found[name] = {"edges": edges, "levels": levels, "seconds": spent, "each": [r[0] for r in runs]}
    passed = all(shape["seconds"] <= BAR for shape in found.values())
    give({"nodes": given.nodes, "bar": BAR, "passed": passed, "shapes": found}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
