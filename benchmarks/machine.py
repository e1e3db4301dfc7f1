"""What all benchmarks share: where a figure was measured, and how it is printed."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with --json; a module's docstring is its help."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--json", action="store_true", help="One JSON object, with facts of the machine.")
    return found


def facts() -> dict[str, Any]:
    """What a figure depends on beside the code."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "torch": version("torch"),
        "machine": platform.machine(),
    }


def give(found: dict[str, Any], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    """Print the figures: as JSON, or as a table whose first row is the heading."""
    if as_json:
        print(json.dumps({"schema": 1, "machine": facts(), **found}, indent=1))
        return
    table = [[cell if isinstance(cell, str) else _short(cell) for cell in row] for row in rows]
    wide = [max(len(row[i]) for row in table if i < len(row)) for i in range(max(map(len, table)))]
    for row in table:
        cells = [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=False))]
        print("  ".join(cells).rstrip())
    known = facts()
    print(f"({known['cores']} cores, load {known['load_average'][0]}, torch {known['torch']})")


def verdict(fine: bool) -> str:
    """In one word, for a table's last column."""
    return "pass" if fine else "FAIL"


def _short(cell: object) -> str:
    if not isinstance(cell, float):
        return "-" if cell is None else str(cell)
    return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:,.1f}"
