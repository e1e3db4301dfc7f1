from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rrm import Seed

KEYS = st.lists(st.text(max_size=8) | st.integers(), max_size=4).map(tuple)


@given(st.integers(0, 2**64 - 1), KEYS)
def test_an_address_is_always_the_same_place(value: int, keys: tuple[str | int, ...]) -> None:
    assert Seed(value).at(*keys) == Seed(value).at(*keys)
    assert Seed(value).at(*keys).rng().random() == Seed(value).at(*keys).rng().random()


@given(KEYS, KEYS)
def test_other_addresses_are_other_places(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert (Seed(0).at(*one) == Seed(0).at(*other)) == (repr(one) == repr(other))


def test_a_place_does_not_depend_on_the_process() -> None:
    """Written out, so that a change which would make all records of the past irreproducible is noticed."""
    code = "from rrm.seed import Seed; s = Seed(0).at('round', 3); print(s.value, s.rng().random())"
    said = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    here = Seed(0).at("round", 3)
    assert said == {f"{here.value} {here.rng().random()}\n"}
    assert here.value == 6479746068270130084


def test_draws_below_different_addresses_look_independent() -> None:
    draws = [Seed(0).at("case", i).rng().random() for i in range(2000)]
    assert abs(sum(draws) / len(draws) - 0.5) < 0.03
    products = [(x - 0.5) * (y - 0.5) for x, y in pairwise(draws)]
    assert abs(sum(products) / len(products)) < 0.01


def test_short_lists_are_shuffled_evenly() -> None:
    counts = Counter()
    for number in range(6000):
        things = ["a", "b", "c"]
        Seed(1).at(number).shuffle(things)
        counts["".join(things)] += 1
    assert len(counts) == 6
    # 6000 draws of 1/6 have a standard deviation of 29: five of them are never seen by chance.
    assert all(abs(count - 1000) < 145 for count in counts.values()), counts


def test_long_lists_keep_every_element() -> None:
    things = list(range(40))
    Seed(2).shuffle(things)
    assert sorted(things) == list(range(40))
    assert things != list(range(40))
