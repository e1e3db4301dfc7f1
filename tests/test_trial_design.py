"""The design of a trial: balanced within raters and across cases, not to be guessed, fixed by its seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrm.seed import Seed
from rrm.trial import Assigned, assign


def spread(counts: Counter[int], keys: range) -> int:
    """How far the counts of these differ."""
    return max(counts[k] for k in keys) - min(counts[k] for k in keys)


def balanced(design: list[Assigned], raters: int, cases: int, arms: int, of: int) -> None:
    assert len(design) == raters * cases
    assert len({(a.rater, a.case) for a in design}) == len(design), "nobody judges a case twice"
    assert spread(Counter(a.case for a in design), range(of)) <= 1
    for rater in range(raters):
        own = [a for a in design if a.rater == rater]
        assert [a.place for a in own] == list(range(cases))
        assert spread(Counter(a.arm for a in own), range(arms)) <= 1
    for case in range(of):
        assert spread(Counter(a.arm for a in design if a.case == case), range(arms)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.integers(0, 20), st.integers(0, 99))
def test_arms_are_balanced_within_raters_and_across_cases(
    raters: int, cases: int, arms: int, more: int, seed: int
) -> None:
    balanced(assign(raters, cases, arms, of=cases + more, seed=Seed(seed)), raters, cases, arms, cases + more)


@pytest.mark.parametrize(("raters", "cases", "arms", "of"), [(8, 40, 2, 40), (4, 60, 3, 90), (20, 20, 4, 100)])
def test_trials_of_common_sizes_are_balanced(raters: int, cases: int, arms: int, of: int) -> None:
    design = assign(raters, cases, arms, of=of, seed=Seed(0))
    balanced(design, raters, cases, arms, of)
    assert design == assign(raters, cases, arms, of=of, seed=Seed(0))
    assert design != assign(raters, cases, arms, of=of, seed=Seed(1))


def test_neither_rater_case_nor_place_tells_the_arm() -> None:
    """Over many seeds each judgement falls to each arm as often; the bound is 4 standard deviations of a fair coin."""
    seen: dict[str, Counter[int]] = {}
    pairs: Counter[int] = Counter()
    draws = 600
    for seed in range(draws):
        design = assign(4, 6, 2, seed=Seed(seed))
        for a in design:
            for name in (f"cell {a.rater} {a.case}", f"place {a.rater} {a.place}"):
                seen.setdefault(name, Counter())[a.arm] += 1
        own = [a.arm for a in design if a.rater == 0]
        pairs[sum(x == y for x, y in pairwise(own))] += 1
    assert max(abs(c[0] - draws / 2) for c in seen.values()) < 4 * (draws / 4) ** 0.5
    assert len(pairs) >= 5, "the arms come in no fixed order"


def test_what_no_design_has_is_refused() -> None:
    with pytest.raises(ValueError, match="without judging one twice"):
        assign(2, 5, 2, of=4, seed=Seed(0))
    with pytest.raises(ValueError, match="a trial has raters"):
        assign(0, 5, 2, seed=Seed(0))
