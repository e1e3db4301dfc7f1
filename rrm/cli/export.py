"""`rrm export`: the whole record in canonical order, so that equal runs export the same bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from rrm.cli import app
from rrm.cli.arguments import RunFolder

if TYPE_CHECKING:
    from rrm.store import Store


@app.command()
def export(
    run: RunFolder,
    format_: Annotated[Literal["jsonl"], typer.Option("--format", help="One JSON object a line.")] = "jsonl",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="A file.", show_default="stdout")
    ] = None,
) -> None:
    """Print every record of a run, timings left out: node, stream, number, id, type, record.

    \b
    rrm export runs/glossary | jq -c 'select(.stream == "0/feedback") | .record'
    rrm export runs/glossary --out glossary.jsonl
    """
    from rrm.errors import RrmError
    from rrm.store import Store

    store = Store(run, create=False)
    if out is None:
        _write(store, sys.stdout)
        return
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            _write(store, file)
        part.replace(out)
    except OSError as error:
        raise RrmError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        if part.exists():
            part.unlink()


def _write(store: Store, file: TextIO) -> None:
    for entry in store.export():
        file.write(json.dumps(entry, sort_keys=True) + "\n")
