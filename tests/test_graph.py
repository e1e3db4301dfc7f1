from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrm import GraphError, Item, Subtask, Task, TaskGraph


class Any(Task):
    subtasks = tuple(Subtask(name=f"s{i}") for i in range(8))

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task=self.name(), prompt=str(rng.random()))


class Narrow(Any):
    subtasks = (Subtask(name="only-any", task="any"),)


@st.composite
def edges(draw: st.DrawFn, *, upward: bool) -> dict[str, dict[str, str]]:
    """Nodes n0…, each helped through some slots; `upward`: only by nodes before it, so that there is no circle."""
    count = draw(st.integers(1, 12))
    helped: dict[str, dict[str, str]] = {}
    for i in range(count):
        choice = st.integers(0, i - 1 if upward else count - 1) if i or not upward else st.nothing()
        helpers = draw(st.lists(choice, max_size=4)) if i or not upward else []
        helped[f"n{i}"] = {f"s{k}": f"n{h}" for k, h in enumerate(helpers)}
    return helped


def graph_of(helped: Mapping[str, Mapping[str, str]]) -> TaskGraph:
    return TaskGraph({name: Any() for name in helped}, helped)


def reaches(helped: Mapping[str, Mapping[str, str]], start: str) -> set[str]:
    found: set[str] = set()
    open_ = list(helped[start].values())
    while open_:
        node = open_.pop()
        if node not in found:
            found.add(node)
            open_ += helped[node].values()
    return found


@given(edges(upward=True))
def test_every_node_stands_above_its_helpers_and_no_higher_than_needed(helped: dict[str, dict[str, str]]) -> None:
    graph = graph_of(helped)
    level = graph.level_of()
    assert sorted(n for row in graph.levels() for n in row) == sorted(helped)
    for node, slots in helped.items():
        below = [level[h] for h in slots.values()]
        assert level[node] == max(below, default=-1) + 1
        assert graph.helpers_of(node) == slots
        assert graph.helped_by(node) == {n for n in helped if node in reaches(helped, n)}
    assert graph.edges() == sorted((n, s, h) for n, slots in helped.items() for s, h in slots.items())


@given(edges(upward=False))
def test_circles_are_found_and_named(helped: dict[str, dict[str, str]]) -> None:
    if not any(n in reaches(helped, n) for n in helped):
        graph_of(helped)
        return
    with pytest.raises(GraphError, match="circles: ") as caught:
        graph_of(helped)
    circle = str(caught.value).partition("; ")[0].split(": ")[1].split(" -> ")
    assert circle[0] == circle[-1]
    assert all(later in helped[node].values() for node, later in pairwise(circle))
    for way in str(caught.value).partition("; leave out ")[2].split(", or "):  # and each way out is one
        places = [key.split(".") for key in way.split(" and ")]
        fewer = {
            n: {s: h for s, h in slots.items() if ["node", n, "helped_by", s] not in places}
            for n, slots in helped.items()
        }
        assert any(later not in fewer[node].values() for node, later in pairwise(circle))


@given(edges(upward=True), st.randoms())
def test_the_order_in_which_it_is_written_does_not_matter(helped: dict[str, dict[str, str]], random: Random) -> None:
    names = list(helped)
    random.shuffle(names)
    other = graph_of({name: helped[name] for name in names})
    assert other.levels() == graph_of(helped).levels()
    assert other.mermaid() == graph_of(helped).mermaid()


def test_a_hundred_thousand_nodes_are_validated_and_levelled() -> None:
    count, task = 100_000, Any()
    helped = {f"n{i}": {"s0": f"n{i // 2}", "s1": f"n{i // 3}"} if i else {} for i in range(1, count)} | {"n0": {}}
    helped["n1"] = {"s0": "n0"}
    level = TaskGraph(dict.fromkeys(helped, task), helped).level_of()
    assert len(level) == count
    assert all(level[n] > level[h] for n, slots in helped.items() for h in slots.values())


@pytest.mark.parametrize(
    ("helped", "words"),
    [
        ({"a": {"s9": "b"}, "b": {}}, r"node\.a\.helped_by\.s9: 'a' has no subtask 's9'"),
        ({"a": {"s0": "bb"}, "b": {}}, "no node is called 'bb'. Did you mean 'b'"),
        ({"a": {"s0": "a"}}, "circles: a -> a"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(helped: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        graph_of(helped)


def test_a_subtask_may_say_what_kind_of_task_serves_it() -> None:
    TaskGraph({"a": Narrow(), "b": Any()}, {"a": {"only-any": "b"}})
    with pytest.raises(GraphError, match="served by a 'any' task, but 'b' is 'narrow'"):
        TaskGraph({"a": Narrow(), "b": Narrow()}, {"a": {"only-any": "b"}})


def test_help_for_a_node_that_is_not_there() -> None:
    with pytest.raises(GraphError, match="'b' is helped, but is not in the graph"):
        TaskGraph({"a": Any()}, {"b": {"s0": "a"}})


def test_names_cannot_break_out_of_mermaid() -> None:
    name = 'x"]; click n0 "javascript:alert(1)" <b>'
    text = TaskGraph({name: Any()}, {}).mermaid()
    assert text.count('"') == 2
    assert "<" not in text
