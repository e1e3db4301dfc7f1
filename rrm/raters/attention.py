"""Signs that a rater was not looking: each says how probable it would be in somebody who was, and how sure it is.

A flag is a reason to ask, not a verdict: of a hundred careful raters, each of these is raised on about one by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rrm.measure import Share, wilson

LEVEL = 0.01
"""A flag is raised where somebody attentive would look like this less often than once in a hundred times."""

WORDS_A_SECOND = 238 / 60
"""How fast adults read English to understand it (Brysbaert 2019, a meta-analysis of 190 studies)."""
FASTEST = 3
"""Nobody reads so many times faster and still understands what was read."""


class Flag(NamedTuple):
    """One sign of inattention."""

    name: str
    raised: bool
    share: Share | None
    """What was seen, with its interval; None: there was nothing to see."""
    p: float | None
    """How probably somebody attentive looks like this, or worse."""
    words: str


def missed_gold(right: int, asked: int, *, expected: float = 0.9) -> Flag:
    """Gold questions, whose answers are known: somebody attentive gets `expected` of them right."""
    share = wilson(right, asked)
    p = _at_most(right, asked, expected) if asked else None
    words = f"{right} of {asked} gold questions right, {expected:.0%} expected" if asked else "no gold question asked"
    return Flag("missed gold", p is not None and p < LEVEL, share, p, words)


def too_fast(
    seconds: Sequence[float | None], words: Sequence[int], *, allowed: float = 0.05, words_a_second: float | None = None
) -> Flag:
    """Judgements given sooner than their new words could be read, of which anybody makes `allowed` (a slip of the hand,
    a case seen before). `words[i]` counts what had to be read for `seconds[i]`; None, an unknown time, is left out."""
    speed = words_a_second or WORDS_A_SECOND * FASTEST
    timed = [(s, w) for s, w in zip(seconds, words, strict=True) if s is not None]
    fast = sum(s < w / speed for s, w in timed)
    share = wilson(fast, len(timed))
    p = _at_least(fast, len(timed), allowed) if timed else None
    told = f"{fast} of {len(timed)} judgements faster than {speed:.0f} words a second" if timed else "no time known"
    return Flag("too fast", p is not None and p < LEVEL, share, p, told)


def straight_lining(places: Sequence[int], options: int = 2) -> Flag:
    """The same place chosen again and again, where the order of answers was drawn for each case.

    Somebody attentive chooses each place as often, and in no order. Two signs are looked at, the commonest place and
    the longest run of one, each at half of the level (Bonferroni).
    """
    n = len(places)
    if n < 2 or options < 2:
        return Flag("straight-lining", False, None, None, "too few judgements to say")
    counts = np.bincount(places, minlength=options)
    most, run = int(counts.max()), _longest_run(places)
    p = min(1.0, 2 * min(1.0, options * _at_least(most, n, 1 / options), _run_of(run, n, options)))
    told = f"place {int(counts.argmax()) + 1} in {most} of {n} judgements, at most {run} times in a row"
    return Flag("straight-lining", p < LEVEL, wilson(most, n), p, told)


def with_oneself(first: Sequence[object], again: Sequence[object], *, expected: float = 0.8) -> Flag:
    """Cases judged twice: somebody attentive says the same of `expected` of them. Pairs with a None are left out."""
    pairs = [(a, b) for a, b in zip(first, again, strict=True) if a is not None and b is not None]
    alike = sum(a == b for a, b in pairs)
    share = wilson(alike, len(pairs))
    p = _at_most(alike, len(pairs), expected) if pairs else None
    told = f"{alike} of {len(pairs)} repeated cases judged alike" if pairs else "no case was repeated"
    return Flag("not alike", p is not None and p < LEVEL, share, p, told)


def _at_most(k: int, n: int, p: float) -> float:
    from scipy.special import bdtr  # type: ignore[import-untyped]

    return float(bdtr(k, n, p))


def _at_least(k: int, n: int, p: float) -> float:
    return 1.0 if k <= 0 else 1.0 - _at_most(k - 1, n, p)


def _longest_run(places: Sequence[int]) -> int:
    most = run = 1
    for before, now in pairwise(places):
        run = run + 1 if before == now else 1
        most = max(most, run)
    return most


def _run_of(length: int, n: int, options: int) -> float:
    """P(a run of at least `length` in `n` even draws from `options`), exactly: the last run, step by step."""
    if length > n:
        return 0.0
    if length <= 1:
        return 1.0
    stay, reached = 1 / options, 0.0
    at = np.zeros(length - 1)  # at[j]: no such run yet, and the last j + 1 draws are alike
    at[0] = 1.0
    for _ in range(n - 1):
        reached += at[-1] * stay
        at = np.concatenate(([at.sum() * (1 - stay)], at[:-1] * stay))
    return float(reached)
