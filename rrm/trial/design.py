"""Who judges what with which help: drawn at random, balanced within each rater and across each case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rrm.seed import Seed


class Assigned(NamedTuple):
    """One judgement to be made."""

    rater: int
    case: int
    arm: int
    """Index into the arms. Whoever shows the case tells nobody."""
    place: int
    """When the rater comes to it, from 0."""


def assign(raters: int, cases: int, arms: int, *, of: int | None = None, seed: Seed) -> list[Assigned]:
    """Which of `of` cases (default: as many as each rater judges) each rater judges, in which arm, and when.

    Each rater judges `cases` of them, none twice. Within each rater the numbers of judgements by arm differ by at most
    one, and so they do within each case; the numbers of judgements by case differ by at most one. So neither a skilled
    rater nor an easy case favours an arm: it is a Latin square, where the numbers allow one, and else what comes
    nearest. Equal seeds give equal designs. Sorted by rater and place. Raises ValueError for what no design has.
    """
    total = cases if of is None else of
    if min(raters, cases, arms) < 1:
        raise ValueError(f"a trial has raters, cases and arms, and not {raters}, {cases} and {arms} of them")
    if cases > total:
        raise ValueError(f"nobody can judge {cases} cases of {total} without judging one twice")
    edges = _who_judges_what(raters, cases, total, seed.at("cases"))
    colours = _coloured(edges, arms, seed.at("arms"))
    names = list(range(arms))
    seed.at("names").shuffle(names)
    found = []
    for rater in range(raters):
        own = [(case, names[colour]) for (r, case), colour in zip(edges, colours, strict=True) if r == rater]
        seed.at("order", rater).shuffle(own)
        found += [Assigned(rater, case, arm, place) for place, (case, arm) in enumerate(own)]
    return found


def _who_judges_what(raters: int, cases: int, total: int, seed: Seed) -> list[tuple[int, int]]:
    """Each rater gets the cases that were given out least often, at random among equals."""
    given = [0] * total
    edges = []
    for rater in range(raters):
        rng = seed.at(rater).rng()
        drawn = sorted(range(total), key=lambda case: (given[case], rng.random()))[:cases]
        for case in drawn:
            given[case] += 1
        edges += [(rater, case) for case in drawn]
    return edges


def _coloured(edges: Sequence[tuple[int, int]], colours: int, seed: Seed) -> list[int]:
    """A balanced colour for each edge of a bipartite graph (de Werra 1971): at each vertex, the numbers of edges by
    colour differ by at most one.

    Each vertex is split, at random, into copies of at most `colours` edges; then a graph of that degree is coloured so
    that no two edges of a copy are alike (König 1916): where an edge's ends lack different colours, a path that
    alternates between the two is turned over.
    """
    copies = _split(edges, colours, seed)
    at: dict[tuple[int, int, int], dict[int, int]] = {}  # copy of a vertex -> colour -> edge
    found = [-1] * len(edges)
    order = list(range(len(edges)))
    seed.at("order").shuffle(order)
    for edge in order:
        left, right = copies[edge]
        free = {
            end: next(c for c in _turned(colours, seed, edge) if c not in at.setdefault(end, {}))
            for end in (left, right)
        }
        want = free[left]
        if want in at[right]:
            _turn_over(right, want, free[right], copies, at, found)
        found[edge] = want
        at[left][want] = at[right][want] = edge
    return found


def _split(
    edges: Sequence[tuple[int, int]], size: int, seed: Seed
) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """By edge, which copy of its rater and of its case it belongs to."""
    sides = []
    for side in (0, 1):
        order = list(range(len(edges)))
        seed.at("split", side).rng().shuffle(order)
        met: dict[int, int] = {}
        copy = [(0, 0, 0)] * len(edges)
        for edge in order:
            vertex = edges[edge][side]
            copy[edge] = (side, vertex, met.get(vertex, 0) // size)
            met[vertex] = met.get(vertex, 0) + 1
        sides.append(copy)
    return list(zip(*sides, strict=True))


def _turned(colours: int, seed: Seed, edge: int) -> Sequence[int]:
    first = seed.at("first", edge).value % colours
    return [(first + c) % colours for c in range(colours)]


def _turn_over(
    start: tuple[int, int, int],
    have: int,
    lack: int,
    copies: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]],
    at: dict[tuple[int, int, int], dict[int, int]],
    found: list[int],
) -> None:
    """Swap two colours along the path that leaves `start` by the one it has, so that it lacks that one instead."""
    path, vertex, colour = [], start, have
    while (edge := at[vertex].get(colour)) is not None:
        path.append(edge)
        left, right = copies[edge]
        vertex = right if vertex == left else left
        colour = lack if colour == have else have
    for edge in path:
        for end in copies[edge]:
            if at[end].get(found[edge]) == edge:
                del at[end][found[edge]]
    for edge in path:
        found[edge] = lack if found[edge] == have else have
        for end in copies[edge]:
            at[end][found[edge]] = edge
