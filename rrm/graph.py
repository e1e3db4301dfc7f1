"""The task-decomposition graph: which node's agent helps to judge which (Leike et al. 2018, section 3.2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from itertools import pairwise

import networkx as nx

from rrm.errors import GraphError
from rrm.roles import Task

_NEAR = 0.65
"""How alike two words are, from 0 to 1, of which one may be a slip for the other: "budget" and "beta" are at .6."""


def suggest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """ " Did you mean 'x'?", or the names that there are."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=1, cutoff=_NEAR):
        return f"Did you mean {close[0]!r}?"
    return f"There are: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}." if names else "There are none."


class TaskGraph:
    """Nodes are tasks; an edge `node -> helper` says that the helper's agent answers one subtask of judging the node.

    Raises GraphError, naming the node, for a helper or subtask that does not exist, a helper of the wrong kind of
    task, or a circle. Validation and levels are linear in nodes and edges.
    """

    def __init__(self, tasks: Mapping[str, Task], helped_by: Mapping[str, Mapping[str, str]]) -> None:
        self.tasks = dict(tasks)
        self._helped_by = {node: dict(helped_by.get(node, {})) for node in self.tasks}
        if stray := sorted(set(helped_by) - set(self.tasks)):
            raise GraphError(f"{stray[0]!r} is helped, but is not in the graph. {suggest(stray[0], self.tasks)}")
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(self.tasks)
        for node, slots in self._helped_by.items():
            for subtask, helper in slots.items():
                self._check_edge(node, subtask, helper)
                self._graph.add_edge(node, helper)
        self._levels = self._level_by_level()

    def _check_edge(self, node: str, subtask: str, helper: str) -> None:
        declared = {s.name: s for s in self.tasks[node].subtasks}
        where = f"node.{node}.helped_by.{subtask}"
        if subtask not in declared:
            raise GraphError(f"{where}: {node!r} has no subtask {subtask!r}; it declares {sorted(declared)}")
        if helper not in self.tasks:
            raise GraphError(f"{where}: no node is called {helper!r}. {suggest(helper, self.tasks)}")
        wanted, found = declared[subtask].task, self.tasks[helper].name()
        if wanted and found != wanted:
            raise GraphError(f"{where}: this subtask is served by a {wanted!r} task, but {helper!r} is {found!r}")

    def _level_by_level(self) -> list[list[str]]:
        try:
            return [sorted(level) for level in nx.topological_generations(self._graph.reverse(copy=False))]
        except nx.NetworkXUnfeasible:
            circle = [edge[0] for edge in nx.find_cycle(self._graph)]
            around = [*circle, circle[0]]
            edges = [
                " and ".join(f"node.{n}.helped_by.{s}" for s, served_by in self._helped_by[n].items() if served_by == h)
                for n, h in pairwise(around)
            ]
            raise GraphError(
                f"judging would go in circles: {' -> '.join(around)}; leave out {', or '.join(edges)}"
            ) from None

    def levels(self) -> list[list[str]]:
        """Nodes by level, leaves first: each level needs help only from the levels before it."""
        return [list(level) for level in self._levels]

    def level_of(self) -> dict[str, int]:
        """The level of every node, from 0."""
        return {node: number for number, level in enumerate(self._levels) for node in level}

    def helpers_of(self, node: str) -> dict[str, str]:
        """Subtask to the node whose agent serves it."""
        return dict(self._helped_by[node])

    def helped_by(self, node: str) -> set[str]:
        """Every node that `node` helps, directly or through others."""
        return set(nx.ancestors(self._graph, node))

    def edges(self) -> list[tuple[str, str, str]]:
        """(node, subtask, helper), in order."""
        return [(n, s, h) for n in sorted(self._helped_by) for s, h in sorted(self._helped_by[n].items())]

    def mermaid(self) -> str:
        """The graph as mermaid text, help flowing upwards."""
        number = {node: f"n{i}" for i, node in enumerate(sorted(self.tasks))}
        lines = [f'  {number[node]}["{_quoted(node)}"]' for node in sorted(self.tasks)]
        lines += [f'  {number[h]} -- "{_quoted(s)}" --> {number[n]}' for n, s, h in self.edges()]
        return "\n".join(["flowchart BT", *lines, ""])


def _quoted(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.:/" else f"#{ord(c)};" for c in text)
