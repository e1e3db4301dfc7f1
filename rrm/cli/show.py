"""`rrm show`: the nodes of a run and how far they are, the rounds of one, or one case whole."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import RunFolder, results

if TYPE_CHECKING:
    from rich.console import Console

    from rrm.records import Case, Feedback
    from rrm.store import Store


@app.command()
def show(
    run: RunFolder,
    case: Annotated[
        str | None,
        typer.Argument(
            metavar="NODE|CASE", help="A node, or a case: its id, or NODE/STREAM/NUMBER.", show_default=False
        ),
    ] = None,
) -> None:
    """Show the nodes of a run and how far they are, the rounds of one node, or one case as the evaluator saw it.

    \b
    rrm show runs/glossary
    rrm show runs/glossary word-2               # its rounds, and how many cases of each are judged
    rrm show runs/glossary word-2/0/17          # node word-2, round 0, case 17, of the first arm
    rrm show runs/glossary 9be1c27a03d4f586/0/17    # of another: its key is in the list of nodes
    rrm show runs/glossary 3f2a90c1d4e5b678     # by id, as in `rrm export`

    Whatever an agent wrote is shown as text: nothing hides, moves the cursor, or is run.
    """
    from rrm.store import Store

    store = Store(run, create=False)
    console = results()
    keys = _keys(store)
    if case is None:
        _nodes(store, console)
    elif case in keys or any(case == name for name, _ in keys.values()):
        from rrm.prune import superseded

        old = {node.key for node in superseded(store)} - {case}
        _rounds(store, {k: found for k, found in keys.items() if case in (k, found[0]) and k not in old}, console)
    else:
        _case(store, case, console)


def _keys(store: Store) -> dict[str, tuple[str, list[str]]]:
    """Node key to its name and the arms that share it, in the order of the record."""
    from rrm.records import Arm

    found: dict[str, tuple[str, list[str]]] = {}
    for arm in store.read("study", "arms", Arm).values():
        for name, key in arm.nodes.items():
            labels = found.setdefault(key, (name, []))[1]
            if arm.label not in labels:
                labels.append(arm.label)
    return found


def _nodes(store: Store, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from rrm.inert import inert
    from rrm.prune import superseded

    replaced = {node.key for node in superseded(store)}
    table = Table(box=None, pad_edge=False)
    for column in ("node", "key", "arms", "state"):
        table.add_column(column, overflow="fold")
    for key, (name, labels) in _keys(store).items():
        if key in replaced and not (store.streams(key) or store.has_agents(key)):
            continue  # pruned
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        cells = (name, key, f"{labels[0]}{more}", _state(store, key) + (", superseded" if key in replaced else ""))
        table.add_row(*(Text(inert(cell, 200)) for cell in cells))
    if not table.rows:
        console.print("No arm of a study is in this record yet.")
        return
    console.print(table)


def _rounds(store: Store, keys: dict[str, tuple[str, list[str]]], console: Console) -> None:
    """What was judged of a node, in each arm that has one of its own: rounds, gates, and spot checks."""
    from rich.table import Table
    from rich.text import Text

    from rrm.inert import inert

    table = Table(box=None, pad_edge=False)
    for column in ("arms", "cases", "number", "judged", "the first"):
        table.add_column(column, overflow="fold", justify="right" if column in ("number", "judged") else "left")
    for key, (_, labels) in keys.items():
        streams = [s.removesuffix("/cases") for s in store.streams(key) if s.endswith("/cases")]
        streams.sort(key=lambda s: (not s.isdigit(), [int(n) for n in re.findall(r"\d+", s)], s))
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        for stream in streams or [""]:
            cases, judged = (store.length(key, f"{stream}/{what}") for what in ("cases", "feedback"))
            what = f"round {stream}" if stream.isdigit() else stream or "none yet"
            cells = (f"{labels[0]}{more}", what, f"{cases:,}", f"{judged:,}", f"{key}/{stream}/0" if stream else "")
            table.add_row(*(Text(inert(cell, 200)) for cell in cells))
    console.print(table)


def _state(store: Store, key: str) -> str:
    """How far a node is, in words."""
    if store.has_agent(key, "published"):
        return "trained"
    streams = store.streams(key)
    rounds = [int(s.removesuffix("/cases")) for s in streams if s.endswith("/cases") and s[0].isdigit()]
    if not rounds:
        return "not begun" if not streams else "begun"
    newest = max(rounds)
    cases, judged = store.length(key, f"{newest}/cases"), store.length(key, f"{newest}/feedback")
    return f"round {newest}: {judged} of {cases} cases judged"


def _case(store: Store, wanted: str, console: Console) -> None:
    from rrm.errors import RrmError
    from rrm.records import Case
    from rrm.standing import counting

    keys = _keys(store)
    current = {key for arm in counting(store) for key in arm.nodes.values()}
    names: dict[str, list[str]] = {}
    for key, (name, _) in sorted(keys.items(), key=lambda one: one[0] not in current):  # what counts comes first
        names.setdefault(name, []).append(key)
    key, stream, number = _place(store, wanted, names)
    found = store.read_one(key, f"{stream}/cases", number, Case)
    if found is None:
        missing = _missing(store, wanted, key, names)
        told = "There are: " in missing
        nodes = "" if told else f" (the nodes are {', '.join(names) or 'none yet'})"
        raise RrmError(f"no case {wanted!r} is in {store.folder}: {missing}{nodes}")
    others = [k for k in names.get(wanted.partition("/")[0], ()) if k != key and store.length(k, f"{stream}/cases")]
    name, labels = keys.get(key, (key, []))
    of = f", of {labels[0]}" if labels else ""
    if others and labels:
        more = f" ({len(others) - 1} more: rrm show {store.folder})" if len(others) > 1 else ""
        of += f"; for {keys[others[0]][1][0]} write {others[0]}/{stream}/{number}{more}"
    _draw(store, key, f"{name} {stream}/{number}{of}", stream, number, found, console)


def _missing(store: Store, wanted: str, key: str, names: dict[str, list[str]]) -> str:
    """What there is in its place."""
    from rrm.graph import suggest

    start, _, rest = wanted.partition("/")
    stream, _, number = rest.rpartition("/")
    streams = [s.removesuffix("/cases") for s in store.streams(key) if s.endswith("/cases")]
    if not streams and start not in names:
        hint = f"no node is called {start!r}. {suggest(start, names)} " if stream else ""
        return f"{hint}write NODE/ROUND/NUMBER, as in {next(iter(names), 'node')}/0/0, or a case's id"
    if stream not in streams:
        there = ", ".join(sorted(streams, key=lambda s: (not s.isdigit(), len(s), s))) or "none yet"
        lacks = f"{start} has no {stream or rest}: write" if rest else f"{start} is a node: add"
        return f"{lacks} one of {there}, and a case's number, as in {start}/0/0"
    return f"{start}/{stream} has cases 0 to {store.length(key, f'{stream}/cases') - 1}, and no {number}"


def _place(store: Store, wanted: str, names: dict[str, list[str]]) -> tuple[str, str, int]:
    """(node key, stream, number) of a case that is named by its place or by its id."""
    start, _, rest = wanted.partition("/")
    stream, _, number = rest.rpartition("/")
    candidates = names.get(start, [start])
    if stream and number.isascii() and number.isdecimal():
        there = [key for key in candidates if store.length(key, f"{stream}/cases")]
        return (there or candidates)[0], stream, int(number)
    found = store.find(wanted, ending="/cases")
    return (found[0], found[1].removesuffix("/cases"), found[2]) if found else (candidates[0], "", -1)


def _draw(store: Store, key: str, heading: str, stream: str, number: int, case: Case, console: Console) -> None:
    from rich.text import Text

    from rrm.inert import inert
    from rrm.records import FEEDBACK
    from rrm.registry import TASKS

    def line(label: str, text: str, style: str = "") -> None:
        console.print(Text.assemble((f"{inert(label, 400)}: ", "bold"), (inert(text), style)), soft_wrap=True)

    console.print(Text(inert(f"{heading}  (case {case.id}, node {key})"), style="dim"), soft_wrap=True)
    line(f"item ({TASKS.kind} {case.item.task})", case.item.prompt)
    for place, response in enumerate(case.responses, start=1):
        line(f"answer {place}", response.text)
    for place, exhibit in enumerate(case.exhibits, start=1):
        asked = f" was asked {exhibit.query.item.prompt!r}" if exhibit.query else ""
        line(f"help {place}, {exhibit.agent or 'someone'}{asked}", exhibit.text, "cyan")
    said: Feedback | None = store.read_one(key, f"{stream}/feedback", number, FEEDBACK)
    if said is None:
        line("judgement", "not judged yet")
        return
    given = said.model_dump(mode="json", exclude={"case", "kind"}, exclude_none=True, exclude_defaults=True)
    told = "; ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in given.items())
    line("judgement", f"{said.kind}: {told}")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
