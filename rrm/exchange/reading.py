"""Reads files of judgements row by row: CSV, JSON lines, Parquet, and folders of Hugging Face `datasets`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rrm.errors import PlanError
from rrm.exchange.rows import COLUMNS, READ
from rrm.exchange.writing import MANY, needed
from rrm.faults import written
from rrm.inert import from_spreadsheet_cell, was_cut

Numbered = Iterator[tuple[str, Mapping[str, Any]]]
"""Rows, each with where it stands: "line 7", or "row 7" of what has no lines; both count from 1."""

EXAMPLES = {"answers": '["312", "310"]', "agents": '["block", "block"]', "said": '{"kind": "preference", …}'}
EXAMPLE = '{"prompt": "2 + 2", "chosen": "4", "rejected": "5"}'


def rows(path: Path) -> Numbered:
    """The rows of a file. Raises PlanError, saying where and what to write, for what cannot be read."""
    if path.is_dir():
        return _dataset(path)
    if not path.is_file():
        raise PlanError(
            f"there is no file {str(path)!r}; a path is relative to the plan, or else to where rrm is called"
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PlanError(
            f"{path}: what is in it is told by its ending, one of {', '.join(READERS)}, or by a folder that `datasets` "
            f"saved; got {path.suffix or 'none'!r}"
        )
    return reader(path)


def _csv(path: Path) -> Numbered:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = next(lines, [])
            for name in header:
                if header.count(name) > 1:
                    raise PlanError(f"{path}, line 1: two columns are called {name!r}")
            for cells in lines:
                if not cells:
                    continue
                where = f"line {lines.line_num}"
                if len(cells) != len(header):
                    raise PlanError(
                        f"{path}, {where}: {len(cells)} cells under {len(header)} columns: a text with commas or line "
                        'breaks in it stands in quotes, "like, this"'
                    )
                row = dict(zip(header, cells, strict=True))
                yield where, _plain(row, f"{path}, {where}") if row.keys() >= set(READ) else row
        except csv.Error as error:
            raise PlanError(f"{path}, line {lines.line_num}: this is no CSV: {error}") from None
        except UnicodeDecodeError:
            raise PlanError(f"{path}, line {_strange(path)}: this is not UTF-8: save the file as UTF-8") from None


def _strange(path: Path) -> int:
    """The first line that is not UTF-8: text is decoded many lines at once, which tells nothing of the line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return number


def _plain(row: Mapping[str, str], where: str) -> dict[str, Any]:
    """A row that `rrm export` wrote for spreadsheets, as it was: its lists are JSON, and no cell is a formula."""
    plain: dict[str, Any] = {}
    for name, cell in row.items():
        kind = COLUMNS.get(name, "number")
        if was_cut(cell):
            raise PlanError(
                f"{where}: {name}: this was too long for a cell and was cut when it was exported: export as parquet"
            )
        plain[name] = from_spreadsheet_cell(cell) if kind in ("text", "json") else cell
        if cell and kind in ("texts", "wholes", "tiers", "json"):
            try:
                found = json.loads(cell)
            except ValueError:
                like = EXAMPLES.get(name, "[]")
                raise PlanError(
                    f"{where}: {name}: write JSON, as rrm export does, like {like} (got {written(cell)})"
                ) from None
            plain[name] = plain[name] if kind == "json" else found
    return plain


def _jsonl(path: Path) -> Numbered:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:  # not UTF-8 is one too
                raise PlanError(f"{path}, line {number}: this is no JSON: {error}; write one object a line") from None
            except RecursionError:
                raise PlanError(f"{path}, line {number}: lists in lists, too deep: write one object a line") from None
            if not isinstance(value, dict):
                raise PlanError(f"{path}, line {number}: write one JSON object a line, as {EXAMPLE}")
            yield f"line {number}", value


def _parquet(path: Path) -> Numbered:
    arrow, read = needed("pyarrow"), needed("pyarrow.parquet")
    try:
        with read.ParquetFile(path) as file:
            yield from _numbered(file.iter_batches(batch_size=MANY))
    except arrow.ArrowException as error:
        raise PlanError(f"{path}: this Parquet file cannot be read: {_brief(error)}") from None


def _dataset(path: Path) -> Numbered:
    if (path / "dataset_dict.json").is_file():
        splits = [p.name for p in sorted(path.iterdir()) if p.is_dir()]
        raise PlanError(f"{path}: this holds several splits: name one of {', '.join(splits)}, as {path}/{splits[-1]}")
    if not (path / "state.json").is_file():
        raise PlanError(f"{path}: this is a folder, and none that `datasets` saved; name a file in it")
    saved = needed("datasets")
    try:
        found = saved.load_from_disk(str(path)).with_format("arrow")
        yield from _numbered(found[start : start + MANY] for start in range(0, len(found), MANY))
    except Exception as error:  # of many kinds: any part of datasets may find what is wrong
        raise PlanError(f"{path}: this folder of `datasets` cannot be read: {_brief(error)}") from None


def _numbered(tables: Iterable[Any]) -> Numbered:
    number = 0
    for table in tables:
        for row in table.to_pylist():
            number += 1
            yield f"row {number}", row


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


READERS: Mapping[str, Callable[[Path], Numbered]] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
"""By the ending of a file's name."""
