"""Writes rows as JSON lines, CSV, Parquet, or a folder of Hugging Face `datasets`: whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rrm.errors import RrmError
from rrm.exchange.rows import Kind, Row
from rrm.inert import inert, spreadsheet_cell

MANY = 1000
"""Rows in memory at once."""


def jsonl(rows: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """One JSON object a line, all of it ASCII."""
    for row in rows:
        file.write(json.dumps(row) + "\n")


def table_csv(rows: Iterable[Row], columns: Mapping[str, Kind], file: TextIO) -> None:
    """For spreadsheets: every text is inert, none is taken for a formula, and lists are JSON. Over-long text is cut.

    JSON holds what is hidden in it as JSON writes it, so that nothing of an answer is lost on the way back.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name], kind) for name, kind in columns.items()])


def parquet(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Kind], path: Path) -> None:
    """One Parquet file, compressed, a thousand rows after the other. Raises RrmError where pyarrow is missing."""
    arrow, written = needed("pyarrow"), needed("pyarrow.parquet")
    schema = _schema(arrow, columns)
    with whole(path) as part, written.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_table(arrow.Table.from_pylist(batch, schema))


def dataset(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Kind], folder: Path) -> None:
    """A folder that `datasets.load_from_disk` reads. Raises RrmError where `datasets` is missing."""
    arrow, saved = needed("pyarrow"), needed("datasets")
    schema = _schema(arrow, columns)
    with whole(folder) as part:
        scratch = part.with_name(f"{part.name}.arrow")
        try:
            with arrow.OSFile(str(scratch), "wb") as file, arrow.ipc.new_stream(file, schema) as writer:
                for batch in _batches(rows):
                    writer.write_table(arrow.Table.from_pylist(batch, schema))
            mapped = saved.Dataset.from_file(str(scratch))
            # its own fingerprint has the time in it, and equal runs should write equal bytes
            with scratch.open("rb") as file:
                mark = hashlib.file_digest(file, "sha256").hexdigest()[:16]
            with _quietly(saved):
                saved.Dataset(mapped.data, info=mapped.info, fingerprint=mark).save_to_disk(str(part))
        finally:
            scratch.unlink(missing_ok=True)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to beside `path`, which is put there when all is written. Raises RrmError if it cannot be."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.is_dir() and not _is_dataset(path):
        raise RrmError(f"{_shown(path)}: this is a folder, and none that `datasets` saved; give another --out")
    try:
        yield part
        if path.is_dir():  # an earlier one
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        raise RrmError(f"{_shown(path)}: cannot be written: {error.strerror or error}") from error
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def needed(module: str) -> Any:
    """An optional module, imported when it is needed. Raises RrmError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise RrmError(
            f"{name} is needed for this format and cannot be imported ({error}): install the extra `data`, in a clone "
            "of rrm with .venv/bin/pip install -e '.[data]'"
        ) from error


def _cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    if kind in ("whole", "number", "flag"):
        return json.dumps(value)
    if kind == "text":
        return spreadsheet_cell(value)
    content = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if inert(content, len(content)) != content:  # ASCII, in which JSON shows everything but one
        content = json.dumps(json.loads(content)).replace("\x7f", "\\u007f")
    return spreadsheet_cell(content)


def _schema(arrow: Any, columns: Mapping[str, Kind]) -> Any:
    text, number = arrow.string(), arrow.int64()
    kinds: dict[Kind, Any] = {
        "text": text,
        "json": text,
        "texts": arrow.list_(text),
        "whole": number,
        "wholes": arrow.list_(number),
        "number": arrow.float64(),
        "flag": arrow.bool_(),
        "tiers": arrow.list_(arrow.list_(number)),
    }
    return arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    waiting = iter(rows)
    while batch := list(islice(waiting, MANY)):
        yield batch


@contextmanager
def _quietly(saved: Any) -> Iterator[None]:
    """Without bars of progress, which belong to whoever called."""
    shown = not saved.utils.are_progress_bars_disabled()
    saved.utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            saved.utils.enable_progress_bars()


def _is_dataset(folder: Path) -> bool:
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def _shown(path: Path) -> str:
    return inert(str(path), 200)


def text_file(path: Path, write: Callable[[TextIO], None]) -> None:
    """A file of text, whole or not at all."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        write(file)
