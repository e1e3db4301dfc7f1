"""How a person reads what agents wrote: strictly, since it is untrusted, at a cost that its length cannot raise."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from rrm import Case

_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,14}")
WORST = 1_000_000
"""How far off an answer counts at most; what is no number at all is this far off."""


def number(text: str) -> int | None:
    """The whole number that is all of `text` (spaces around it aside); None for anything else.

    Every number has one spelling, in ASCII: "007", "+7", "7.0", "٧" and "seven" are no numbers.
    """
    return _short_number(text) if len(text) <= 32 else None


@lru_cache(maxsize=4096)
def _short_number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text := text.strip()) else None


def nearness(text: str, value: int) -> float:
    """0 where the answer says `value`, else minus the distance to it, never below `-WORST`."""
    said = number(text)
    return float(-WORST if said is None else -min(abs(said - value), WORST))


def told(case: Case, subtask: str, prompt: str, *, most: int) -> int | None:
    """What helpers answered to one question: a number from 0 to `most`, or None where nobody said any.

    Where it was put to several helpers the majority counts, and the first of several majorities. An exhibit that
    answers another question than this one counts for nothing, whatever it says.
    """
    said = [
        value
        for exhibit in case.exhibits
        if exhibit.kind == "answer"
        and exhibit.query is not None
        and exhibit.query.subtask == subtask
        and exhibit.query.item.prompt == prompt
        and (value := number(exhibit.text)) is not None
        and 0 <= value <= most
    ]
    if len(said) <= 1:
        return said[0] if said else None
    return Counter(said).most_common(1)[0][0]
