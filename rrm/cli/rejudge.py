"""`rrm rejudge`: the cases of an old run before another evaluator, and how far the two agree."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, Json, RunFolder, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rrm.desk import Desk
    from rrm.rejudge import Again
    from rrm.report.judges import Judged
    from rrm.store import Store


@app.command()
def rejudge(
    run: RunFolder,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="The other evaluator; `rrm list evaluator` has them.")
    ],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of it; may be repeated.")
    ] = None,
    arm: Arms = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", metavar="N", help="Only this seed; may be repeated.")
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node; may be repeated.")
    ] = None,
    as_json: Json = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code in files that the record names: only for a record you trust.")
    ] = False,
) -> None:
    """Put what was judged in the rounds of a run before another evaluator, and compare the two.

    \b
    rrm rejudge runs/glossary --by simulated --set budget=3
    rrm rejudge runs/glossary --by terminal --node word-1 --arm recursive --seed 0

    It sees the same items, answers and help. What it says is recorded apart and trains nobody; what it said before is
    not asked again. Agreement is over all pairs of answers that both judged (a tie agrees by half with anything else);
    kappa is that beyond chance. Alpha is Krippendorff's, of all who ever judged these cases: the first evaluator, and
    every other that the run was put before; of several people, each. Right is how often each agrees with the truth, on
    the same cases.

    Exit code 3: cases wait for a person; the same command goes on from there.
    """
    from rrm.layering import assignment
    from rrm.rejudge import evaluator_of, rejudged
    from rrm.store import Store
    from rrm.verify import chosen

    store = Store(run, create=False)
    evaluator = evaluator_of(by, dict(assignment(change) for change in set_ or ()))
    arms = chosen(store, names=arm or (), seeds=seed or (), nodes=node or (), trust=trust)
    found = rejudged(store, arms, node or (), evaluator)
    told = {"use": by, **evaluator.settings.model_dump(mode="json")}
    rows = _rows(store, found, os.environ.get("RRM_DESK"))
    if as_json:
        typer.echo(json.dumps({"schema": 1, "evaluator": told, "nodes": rows}, indent=1, allow_nan=False))
    else:
        _print(rows)


def _rows(store: Store, found: Sequence[Again], url: str | None) -> list[dict[str, Any]]:
    """One of each node and arm, over its seeds, lowest level first."""
    from rrm.desk import Desk, place_of
    from rrm.report.second import over_seeds, second

    place = url or (place_of(store.folder) if place_of(store.folder).exists() else None)
    desk = Desk(place) if place else None
    try:
        every = {one.key: _everybody(store, one, desk) for one in found}
    finally:
        if desk:
            desk.close()
    each = {one.key: second(store, one.node.key, one.key, one.streams, one.node.task) for one in found}
    groups: dict[tuple[str, str, str], list[Again]] = {}
    for one in sorted(found, key=lambda again: again.node.level):
        setting = json.dumps(one.arm.varied, sort_keys=True)
        groups.setdefault((one.node.name, one.arm.name, setting), []).append(one)
    return [
        {
            "node": node,
            "level": group[0].node.level,
            "arm": arm,
            "setting": dict(group[0].arm.varied),
            "seeds": sorted({one.arm.seed for one in group}),
            **over_seeds([each[one.key] for one in group]),
            **_alpha([every[one.key] for one in group]),
        }
        for (node, arm, _), group in groups.items()
    ]


def _everybody(store: Store, one: Again, desk: Desk | None) -> Judged:
    from rrm.report.judges import judges

    return judges(store, one.node.key, one.streams, one.node.task, desk)


def _alpha(runs: Sequence[Judged]) -> dict[str, Any]:
    from rrm.report.judges import agreement

    found, count = agreement(runs)
    return {"alpha": None if found is None else found._asdict(), "judges": count}


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from rrm.figures import counted, number
    from rrm.inert import inert

    console = results()
    table = Table(box=None, pad_edge=False)
    for name in (
        "node",
        "arm",
        "seeds",
        "cases",
        "agreement",
        "kappa",
        "judges",
        "alpha",
        "first right",
        "second right",
    ):
        table.add_column(name, justify="left" if name in ("node", "arm") else "right")
    for row in rows:
        setting = ", ".join(f"{key} {value}" for key, value in row["setting"].items())
        cells = [
            row["node"],
            row["arm"] + (f" ({setting})" if setting else ""),
            str(len(row["seeds"])),
            f"{row['cases']:,}",
            _told(row["agreement"]),
            "–" if row["kappa"] is None else number(row["kappa"]),
            str(row["judges"]),
            _told(row["alpha"]),
            *(_told(row[which]["right"]) for which in ("first", "second")),
        ]
        table.add_row(*(Text(inert(cell, 200)) for cell in cells))
    console.print(table)
    for which in ("first", "second"):
        names = sorted({name for row in rows for name in row[which]["evaluators"]})
        silent = sum(row[which]["abstained"] for row in rows)
        text = f"{which}: {', '.join(names) or 'nobody'}, who abstained on {counted(silent, 'case')}"
        console.print(Text(inert(text, 500)))
    if left := sum(row["not_compared"] for row in rows):
        console.print(
            Text(f"Not compared, as one abstained or they spoke of different things: {counted(left, 'case')}")
        )


def _told(figure: Mapping[str, Any] | None) -> str:
    from rrm.figures import bounds, number
    from rrm.measure import Figure

    return "–" if figure is None else f"{number(figure['mean'])} {bounds(Figure(**figure))}".rstrip()
