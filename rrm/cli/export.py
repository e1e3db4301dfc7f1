"""`rrm export`: the whole record in canonical order, or what was judged in it as tables and pairs that others read."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, RunFolder, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rrm.exchange.rows import Chosen
    from rrm.store import Store

FORMATS = ("jsonl", "csv", "parquet", "datasets", "trl")


@app.command()
def export(
    run: RunFolder,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="|".join(FORMATS), help="What is written; see below.", callback=one_of(*FORMATS)
        ),
    ] = "jsonl",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="A file, or a folder of datasets.", show_default="stdout"),
    ] = None,
    arm: Arms = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node; may be repeated.")
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Leave out gates and spot checks, from which nothing is learnt.")
    ] = False,
) -> None:
    """Write what a run holds: every record of it, or what was judged.

    \b
    rrm export runs/glossary | jq -c 'select(.stream == "0/feedback") | .record'
    rrm export runs/glossary --out glossary.jsonl
    rrm export runs/glossary --format parquet --node word-1 --out word-1.parquet
    rrm export runs/glossary --format trl --arm recursive --node word-2 --out pairs.jsonl

    \b
    jsonl      every record, timings left out: node, stream, number, id, type, record
    csv        one row for each judged case, safe to open in a spreadsheet
    parquet    the same for programs
    datasets   the same, as a folder that datasets.load_from_disk reads
    trl        prompt, chosen, rejected, for TRL's trainers: JSON lines, or Parquet where PATH ends in .parquet

    All but jsonl tell of the plan of each arm that counts: its newest that is trained. trl leaves out ties, abstentions
    and what compares nothing, and says how many on stderr; it never holds gates and spot checks.
    """
    from rrm.exchange.rows import Chosen
    from rrm.store import Store

    if format_ == "jsonl" and (arm or node or training):
        raise typer.BadParameter("--format jsonl is the whole record: take another to choose arms and nodes")
    if out is None and format_ in ("parquet", "datasets"):
        raise typer.BadParameter(f"--format {format_} needs --out PATH")
    store = Store(run, create=False)
    chosen = Chosen(arm or (), node or (), training or format_ == "trl")
    chosen.check(store)  # before anything is written
    if format_ == "jsonl":
        _text(out, partial(_record, store))
    elif format_ == "trl":
        _pairs(store, chosen, out)
    else:
        _table(store, chosen, format_, out)


def _record(store: Store, file: TextIO) -> None:
    for entry in store.export():
        file.write(json.dumps(entry, sort_keys=True) + "\n")


def _table(store: Store, chosen: Chosen, format_: str, out: Path | None) -> None:
    from rrm.exchange.rows import COLUMNS, row, told
    from rrm.exchange.writing import dataset, parquet, table_csv

    rows = (row(one) for one in told(store, chosen))
    if format_ == "csv" or out is None:
        _text(out, lambda file: table_csv(rows, COLUMNS, file))
    else:
        (parquet if format_ == "parquet" else dataset)(rows, COLUMNS, out)


def _pairs(store: Store, chosen: Chosen, out: Path | None) -> None:
    from rrm.exchange.pairs import PAIR, pairs
    from rrm.exchange.rows import told
    from rrm.exchange.writing import jsonl, parquet

    left_out: Counter[str] = Counter()
    count = 0

    def found() -> Iterator[dict[str, str]]:
        nonlocal count
        for pair in pairs(((one.case, one.feedback) for one in told(store, chosen)), left_out):
            count += 1
            yield pair._asdict()

    if out is not None and out.suffix == ".parquet":
        parquet(found(), dict.fromkeys(PAIR, "text"), out)
    else:
        _text(out, lambda file: jsonl(found(), file))
    rest = ", ".join(f"{number:,} × {what}" for what, number in sorted(left_out.items())) or "nothing"
    typer.echo(f"{count:,} pairs; left out: {rest}", err=True)


def _text(out: Path | None, write: Callable[[TextIO], None]) -> None:
    from rrm.exchange.writing import text_file

    if out is None:
        write(sys.stdout)
    else:
        text_file(out, write)
