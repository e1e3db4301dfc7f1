"""Reads the JSON that a model was asked for out of what it said, and nothing that it does not say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

TRIES = 100
"""Places where JSON might begin that are looked at."""
LONGEST = 200_000
"""Characters of a reply that are looked at."""

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


def spoken(text: str) -> str:
    """What was said, without the thoughts that some models write before it."""
    return _THOUGHT.sub("", text, count=1).strip()


def value_in(text: str, name: str) -> Any:
    """What the reply gives as `name`; None where it gives nothing, or several things.

    A model that quotes an answer with JSON in it has said two things: which of them it meant is not for us to guess.
    """
    found = [thing[name] for thing in objects(spoken(text)[:LONGEST]) if name in thing]
    return found[0] if found and all(thing == found[0] and type(thing) is type(found[0]) for thing in found) else None


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that stands in a text, whole; not those inside of others."""
    reader, at = json.JSONDecoder(), text.find("{")
    for _ in range(TRIES):
        if at < 0:
            return
        try:
            thing, end = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(thing, dict):
                yield thing
        at = text.find("{", end)
