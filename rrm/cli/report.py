"""`rrm report`: the tables, the page, or the figures for scripts, of one run or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Json, results

if TYPE_CHECKING:
    from collections.abc import Collection

    from rrm.store import Store


@app.command()
def report(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    as_json: Json = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="PATH", help="Where the page goes.", show_default="RUN/report.html"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code in files that the record names: only for a record you trust.")
    ] = False,
) -> None:
    """Say what a run found, from its record alone.

    \b
    rrm report runs/glossary
    rrm report runs/glossary --json | jq '.gap_recovered'
    rrm report runs/one runs/other          # one after the other

    With --json, one run gives one object of schema 1; several give {"schema": 1, "runs": [...]}, each with its folder
    under "run".
    """
    from rrm.report import Report
    from rrm.store import Store

    if html is not None and len(run) > 1:
        raise typer.BadParameter("--html is the page of one run; leave it out, and each run's page goes to its folder")
    stores = [Store(folder, create=False) for folder in run]
    if not as_json:
        for store in stores:
            if len(stores) > 1:
                _title(store)
            publish(store, html, trust=trust)
        return
    found = [Report.from_store(store, trust=trust).to_json() for store in stores]
    if html is not None:
        Report.from_store(stores[0], trust=trust).write_html(html)
    several = {"schema": 1, "runs": [{"run": str(folder), **one} for folder, one in zip(run, found, strict=True)]}
    typer.echo(json.dumps(found[0] if len(found) == 1 else several, indent=1, allow_nan=False))


def publish(store: Store, html: Path | None = None, *, trust: bool | Collection[str] = False) -> None:
    """Print a run's tables, write its page, and say where that is. `trust`: see `Report.from_store`."""
    from rrm.inert import inert
    from rrm.report import Report

    found = Report.from_store(store, trust=trust)
    found.print(results())
    page = html or store.folder / "report.html"
    found.write_html(page)
    typer.echo(f"report: {inert(str(page))}")


def _title(store: Store) -> None:
    from rrm.inert import inert

    typer.echo(f"\n== {inert(str(store.folder))}")
