"""What is wrong with a value, in words and as it stands in a plan: pydantic's faults, without the terms of Python."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rrm.errors import ComponentError, RrmError
from rrm.graph import suggest


def readable(error: ValidationError, plan: type[BaseModel], besides: Sequence[str]) -> str:
    """All faults of a plan in a line; one that several nodes share is told once. `besides`: keys on top that stand in a
    file and not in a plan."""
    faults: dict[tuple[str, str], list[str]] = {}
    for fault in error.errors(include_url=False):
        if fault["type"] == "extra_forbidden":
            text = f"there is no such key here. {suggest(str(fault['loc'][-1]), _known(plan, fault['loc'], besides))}"
        elif fault["type"] == "missing":
            text = "this is needed and missing"
        elif fault["type"].startswith("model") and fault["ctx"]["class_name"] in ("Use", "Term"):
            text = f"this should be a name, or a table with use = NAME (got {written(fault['input'])})"
        elif fault["type"].startswith("model") and fault["ctx"]["class_name"] in ("Gate", "Spot"):
            text = f"this should be 'warn', 'stop' or 'off', or a table (got {written(fault['input'])})"
        else:
            text = in_words(fault)
        place = [str(p) for p in fault["loc"]]
        of_node = place[:1] == ["node"] and len(place) > 2
        nodes = faults.setdefault((".".join(place[2:] if of_node else place), text), [])
        nodes += place[1:2] if of_node else []
    return "; ".join(f"{_where(place, nodes)}: {text}" for (place, text), nodes in faults.items())


def of_record(error: ValidationError) -> str:
    """All faults of a record that a component's code was about to make, in a line."""
    told = []
    for fault in error.errors(include_url=False):
        place = ".".join(map(str, fault["loc"]))
        told.append(f"{place}: {in_words(fault)}" if place else in_words(fault))
    return f"{error.title}: {'; '.join(told)}"


@contextmanager
def blamed(who: str, file: str | None = None) -> Iterator[None]:
    """Whatever goes wrong in a component's own code is told as one line, with the file and line: plug-ins err.

    `file`: the component's, in which the line is looked for before that of a library which it called.
    """
    try:
        yield
    except RrmError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "pydantic" not in Path(frame.filename).parts]  # which only checks records
        last = next((frame for frame in reversed(frames) if frame.filename == file), (ours or frames)[-1])
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise ComponentError(f"{who}: {type(error).__name__} in {where}: {_told(error)}") from error


def _told(error: Exception) -> str:
    return of_record(error) if isinstance(error, ValidationError) else str(error)


def _where(place: str, nodes: Sequence[str]) -> str:
    if len(nodes) < 2:
        return f"node.{nodes[0]}.{place}" if nodes else place
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return f"{place} (of the nodes {', '.join(nodes[:3])}{more})"


def _known(plan: type[BaseModel], place: Sequence[int | str], besides: Sequence[str]) -> list[str]:
    """The keys that could stand where an unknown one was found."""
    kind: Any = plan
    for step in place[:-1]:
        kind = kind.model_fields[step].annotation if _is_model(kind) and step in kind.model_fields else _inner(kind)
    while kind is not None and not _is_model(kind):
        kind = _inner(kind)
    known = [] if kind is None else [key for key in kind.model_fields if key != "folder"]
    return [*known, *besides] if kind is plan else known


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(kind: object) -> Any:
    """What a table or a list of a type holds, None of what holds nothing."""
    return next((part for part in reversed(get_args(kind)) if part is not Ellipsis), None)


def in_words(error: Any) -> str:
    """What is wrong with a value, of which pydantic says more than is asked, and in terms of Python."""
    wanted = {
        "int": "a whole number", "float": "a number", "finite": "a finite number", "bool": "true or false",
        "string": "a word", "tuple": "a list", "list": "a list", "set": "a list", "dict": "a table", "model": "a table",
    }  # fmt: skip
    kind = wanted.get(error["type"].partition("_")[0])
    if error["type"] == "value_error" and isinstance(error["input"], dict):  # several keys at odds, which are named
        return str(error["ctx"]["error"])
    if error["type"] == "value_error":
        return f"{error['ctx']['error']} (got {written(error['input'])})"
    if error["type"] == "too_short":
        least = error["ctx"]["min_length"]
        return f"this should have {least} entries or more (got {written(error['input'])})"
    if error["type"].startswith("int_") and isinstance(error["input"], float) and error["input"].is_integer():
        return f"this is too large (got {written(error['input'])})"
    text = f"this should be {kind}" if kind else f"{error['msg'][0].lower()}{error['msg'][1:]}"
    return f"{text} (got {written(error['input'])})"


def written(value: object) -> str:
    """A value as it stands in a plan, cut if it is long: not as Python has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):  # a moment is a date too
        return value.isoformat()
    if isinstance(value, dict):
        return _cut("{" + ", ".join(f"{k} = {written(v)}" for k, v in value.items()) + "}")
    if isinstance(value, list | tuple):
        return _cut(f"[{', '.join(map(written, value))}]")
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} …"


def misread(given: object, checked: object, place: str = "") -> Iterator[tuple[str, bool]]:
    """Where true or false was given and taken for 1 or 0: the place and what was given."""
    if isinstance(given, bool):
        if isinstance(checked, int | float) and not isinstance(checked, bool):
            yield place, given
    elif isinstance(given, Mapping):
        for key, value in given.items():
            inner = checked.get(key) if isinstance(checked, Mapping) else getattr(checked, str(key), None)
            yield from misread(value, inner, f"{place}.{key}" if place else str(key))
    elif isinstance(given, Sequence) and isinstance(checked, list | tuple) and len(given) == len(checked):
        for number, (value, inner) in enumerate(zip(given, checked, strict=True)):
            yield from misread(value, inner, f"{place}.{number}")
