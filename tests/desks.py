"""Desks for tests: on SQLite, and on a real PostgreSQL where the wheel that brings one is installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rrm import Case, Item, Response
from rrm.desk import Desk
from rrm.desk.sheet import Sheet, sheet_of
from rrm.registry import TASKS

SUM = "Add up:"
_number = itertools.count()


def place(kind: str, fixture: Callable[[str], Any], folder: Path) -> Path | str:
    if kind == "sqlite":
        return folder / "desk.sqlite"
    server, name = fixture("postgres"), f"desk_{next(_number)}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://")


_open: list[Desk] = []


def desk_at(where: Path | str, **given: Any) -> Desk:
    """A desk that is closed when the test ends."""
    _open.append(Desk(where, **given))
    return _open[-1]


def close_all() -> None:
    while _open:
        _open.pop().close()


def sheets(count: int, answers: int = 2) -> list[Sheet]:
    """Cases that can be judged, all different."""
    task = TASKS.build("column-sum", {"length": 4})
    found = []
    for i in range(count):
        item = Item(task=task.name(), prompt=f"{SUM} {i // 100} {i % 100} 1 2")
        responses = tuple(Response(item=item.id, text=str(n)) for n in range(answers))
        case = Case(item=item, responses=responses, place=f"0/{i}")
        kind = {1: "rating", 2: "preference"}.get(answers, "ranking")
        found.append(sheet_of(task, case, node="sum", level=0, helpers={}, kinds=[kind]))
    return found
