from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrm import measure
from rrm.measure import Figure
from rrm.records import Approval, Preference, Ranking, Rating


def pref(p: float) -> Preference:
    return Preference(case="c", evaluator="e", first_better=p)


def ranking(*tiers: tuple[int, ...]) -> Ranking:
    return Ranking(case="c", evaluator="e", tiers=tiers)


def test_wilson_by_hand() -> None:
    f = measure.wilson(8, 10)
    assert f is not None
    assert f.mean == 0.8
    assert f.n == 10
    assert f.low == pytest.approx(0.490162, abs=1e-6)  # (p + z²/2n ± z√(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964
    assert f.high == pytest.approx(0.943318, abs=1e-6)
    assert measure.wilson(0, 0) is None
    none, every = measure.wilson(0, 20), measure.wilson(20, 20)
    assert none is not None
    assert every is not None
    assert none.low == 0
    assert none.high == pytest.approx(0.161125, abs=1e-6)
    assert every.high == 1
    assert every.low == pytest.approx(1 - 0.161125, abs=1e-6)
    with pytest.raises(ValueError, match="no share"):
        measure.wilson(3, 2)


def test_t_interval_by_hand() -> None:
    f = measure.t_interval([0.8, 0.9, 1.0])
    assert f is not None
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert f == pytest.approx((0.9, 0.9 - half, 0.9 + half, 3), abs=1e-6)
    assert measure.t_interval([0.4]) == Figure(0.4, None, None, 1)
    assert measure.t_interval([]) is None


def test_intervals_cover_what_they_promise() -> None:
    rng = random.Random(0)
    wilson = t = 0
    for _ in range(2000):
        f = measure.wilson(sum(rng.random() < 0.9 for _ in range(60)), 60)
        g = measure.t_interval([rng.gauss(3, 2) for _ in range(4)])
        assert f is not None
        assert g is not None
        wilson += f.low <= 0.9 <= f.high  # type: ignore[operator]
        t += g.low <= 3 <= g.high  # type: ignore[operator]
    # The binomial standard error of 2000 draws at .95 is .005.
    assert 0.93 <= wilson / 2000 <= 0.975
    assert 0.93 <= t / 2000 <= 0.97


def test_differences_cover_too_and_pair_by_position() -> None:
    rng, covered = random.Random(1), 0
    for _ in range(600):
        ones: list[Figure] = []
        others: list[Figure] = []
        for _ in range(4):
            luck = rng.gauss(0, 0.03)
            for runs, p in ((ones, 0.8 + luck), (others, 0.6 + luck)):
                f = measure.wilson(sum(rng.random() < p for _ in range(100)), 100)
                assert f is not None
                runs.append(f)
        d = measure.difference(ones, others)
        assert d is not None
        covered += d.low <= 0.2 <= d.high  # type: ignore[operator]
    assert covered / 600 >= 0.93


def test_seeds_that_agree_exactly_still_leave_the_doubt_of_their_items() -> None:
    perfect = measure.wilson(64, 64)
    assert perfect is not None
    f = measure.over_seeds([perfect] * 3)
    assert f is not None
    assert f.mean == f.high == 1
    assert f.n == 3
    pooled = measure.wilson(192, 192)
    assert pooled is not None
    assert f.low == pooled.low
    assert measure.over_seeds([perfect]) == perfect
    assert measure.over_seeds([]) is None
    chance = measure.wilson(8, 64)
    assert chance is not None
    d = measure.difference([perfect] * 3, [chance] * 3)
    assert d is not None
    assert d.mean == 0.875
    assert 0.80 < d.low < 0.875 < d.high < 0.93  # type: ignore[operator]
    with pytest.raises(ValueError, match="paired"):
        measure.difference([perfect], [])


def test_newcombe_by_hand() -> None:
    """Newcombe 1998, table II, case (a): 56/70 - 48/80 has the interval (0.0524, 0.3339) by method 10."""
    one, other = measure.wilson(56, 70), measure.wilson(48, 80)
    assert one is not None
    assert other is not None
    assert measure.difference([one], [other]) == pytest.approx((0.2, 0.0524, 0.3339, 1), abs=5e-5)


def test_gap_recovered() -> None:
    assert measure.gap_recovered(0.9, 0.1, 1.0) == pytest.approx(8 / 9)
    assert measure.gap_recovered(0.05, 0.1, 1.0) == pytest.approx(-1 / 18)
    assert measure.gap_recovered(0.99, 0.97, 1.0) is None  # a gap of .03 is noise
    assert measure.gap_recovered(0.5, 1.0, 0.2) is None


def test_error_growth() -> None:
    def truths(*shares: float) -> list[Figure]:
        return [f for share in shares if (f := measure.wilson(share * 100, 100))]

    f = measure.error_growth(truths(0.9, 0.8), [truths(1.0, 0.95), truths(0.95, 0.9)])
    assert f is not None
    assert f.mean == pytest.approx((0.05 + 0.10) / 2)
    assert measure.error_growth(truths(0.9), []) is None
    same = measure.error_growth(truths(0.9, 0.9, 0.9), [truths(0.9, 0.9, 0.9)])
    assert same is not None
    assert same.low is not None
    assert -0.06 < same.low < -0.03 < 0 == same.mean  # 300 items each leave doubt, though seeds agree


def trio(*shares: float, n: int = 100) -> measure.Trio:
    return measure.Trio(*(f for share in shares if (f := measure.wilson(share * n, n))))


def test_the_gap_over_seeds_that_agree_leaves_the_doubt_of_their_items() -> None:
    f = measure.mean_gap([[trio(1, 0.2, 1)]] * 3)
    assert f is not None
    assert (f.mean, f.n) == (1, 3)
    assert 0.97 < f.low < 0.99 < 1.01 < f.high < 1.03  # type: ignore[operator]
    one = measure.mean_gap([[trio(1, 0.2, 1)]])
    assert one is not None
    assert (one.mean, one.low) == (1, None)
    assert measure.mean_gap([[trio(0.5, 0.5, 0.5)]]) is None


def test_intervals_of_the_gap_cover_it() -> None:
    """Two seeds with the same truths: the items alone make the seeds differ."""
    rng, covered, of = random.Random(5), 0, 300

    def drawn(*shares: float) -> measure.Trio:
        return trio(*(sum(rng.random() < share for _ in range(200)) / 200 for share in shares), n=200)

    for _ in range(of):
        f = measure.mean_gap([[drawn(0.7, 0.3, 0.9)] for _ in range(2)])
        assert f is not None
        covered += f.low <= 2 / 3 <= f.high  # type: ignore[operator]
    assert covered / of > 0.93


def test_only_shares_end_at_0_and_1() -> None:
    worths = [measure.t_interval([x - 0.02, x, x + 0.02]) for x in (0.01, 0.4, 0.6)]
    f = measure.over_seeds([w for w in worths if w])
    assert f is not None
    assert f.low is not None
    assert f.low < 0
    shares = [measure.wilson(x, 100) for x in (1, 40, 60)]
    g = measure.over_seeds([s for s in shares if s])
    assert isinstance(g, measure.Share)
    assert g.low == 0
    alike = measure.over_seeds([w for w in [worths[1]] * 3 if w])
    assert alike is not None
    assert alike.high is not None
    assert 0.4 < alike.high < 0.45  # the items' doubt, not that of a share of 9


def test_agreement_of_pairs() -> None:
    assert measure.agreement(pref(1), [1, 0]) == (1, 1)
    assert measure.agreement(pref(1), [0, 1]) == (0, 1)
    assert measure.agreement(pref(0.8), [0.2, 0.1]) == (0.8, 1)
    assert measure.agreement(pref(0.5), [1, 0]) == (0.5, 1)
    assert measure.agreement(pref(1), [1, 1]) == (0, 0)  # the truth tells nothing apart
    assert measure.agreement(pref(1), [None, 1]) == (0, 0)


def test_agreement_of_rankings() -> None:
    marked = ranking((2,), (0, 1, 3))
    assert measure.agreement(marked, [0, 0, 1, 0]) == (3, 3)
    # Marking a wrong one: it loses to the right one, and ties with the others, which the truth does not tell apart.
    assert measure.agreement(marked, [1, 0, 0, 0]) == (0, 1)
    # Of the rest nothing was said, though the truth tells two of them apart.
    assert measure.agreement(marked, [0.5, 0, 1, 0]) == (3, 3)
    assert measure.agreement(ranking((0, 1)), [1, 0]) == (0.5, 1)  # "all alike" was said
    assert measure.agreement(ranking((0, 1), (2,)), [1, 0, 0.5]) == (1.5, 3)
    assert measure.agreement(ranking((0,), (1,), (2,)), [0, 0.5, 1]) == (0, 3)


def test_ratings_make_pairs_per_item() -> None:
    assert measure.rated(Rating(case="c", evaluator="e", score=0.7)) == (0, 0.7)
    assert measure.rated(Approval(case="c", evaluator="e", approved=True)) == (0, 1.0)
    assert measure.rated(pref(1)) is None
    assert measure.rated_agreement([(1, 0.9), (0, 0.1), (0, 0.9)]) == (1.5, 2)
    assert measure.agreement(Rating(case="c", evaluator="e", score=0.7), [1]) == (0, 0)


def test_judge_accuracy_counts_cases_as_independent() -> None:
    f = measure.judge_accuracy([(3, 3), (0, 1), (0, 0)])
    assert f is not None
    assert f.mean == 0.75
    assert f.n == 2
    assert measure.judge_accuracy([(0, 0)]) is None


def test_nearest_wrong() -> None:
    # Answers 0…3, the true one is 2; 1 and 3 are nearest, and of these the reward likes 3 best.
    truths = [0.2, 0.9, 1, 0.9]
    assert measure.nearest_wrong(truths, [9, 0, 3, 2]) == 1  # the far one that it loves does not count
    assert measure.nearest_wrong(truths, [0, 0, 3, 4]) == 0
    assert measure.nearest_wrong(truths, [0, 0, 3, 3]) == 0.5
    assert measure.nearest_wrong([0, 1, 1], [2, 0, 5]) == 1
    assert measure.nearest_wrong([1, 1], [0, 1]) is None
    assert measure.nearest_wrong([0, None], [0, 1]) is None


def test_majority_and_coverage() -> None:
    assert measure.majority([["a"], ["b"], ["b", "a"], ["c"]]) == "a"  # a and b twice: the first by name
    assert measure.majority([["a"], ["b"], ["b"]]) == "b"
    assert measure.majority([]) is None
    assert measure.coverage({}) is None
    f = measure.coverage({"x": True, "y": False})
    assert f is not None
    assert f.mean == 0.5


def test_calibration_by_hand() -> None:
    found = measure.calibration([math.log(3)] * 4, [1, 1, 1, 0])  # p = .75, and 3 of 4 is what came
    assert found.log_loss == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)
    assert found.error == pytest.approx(0)
    assert found.temperature == pytest.approx(1, rel=1e-6)
    twice = measure.calibration([2 * math.log(3)] * 4, [1, 1, 1, 0])  # p = .9
    assert twice.error == pytest.approx(0.15)
    assert twice.temperature == pytest.approx(2, rel=1e-6)
    assert measure.calibration([], []) == (None, None, None)
    nothing_learnt = measure.calibration([0.0, 0.0, 0.0], [1, 0, 1])
    assert nothing_learnt == (pytest.approx(math.log(2)), pytest.approx(0), None)
    assert measure.calibration([1.0, 2.0], [1, 1]).temperature == pytest.approx(measure.TEMPERATURES[0])
    assert measure.calibration([1.0, 2.0], [0, 0]).temperature == pytest.approx(measure.TEMPERATURES[1])


@pytest.mark.parametrize(("m", "y"), [([1.0], [2.0]), ([math.nan], [1.0]), ([1.0, 2.0], [1.0]), ([[1.0]], [[1.0]])])
def test_calibration_refuses_nonsense(m: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="should be"):
        measure.calibration(m, y)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(0, 1)), min_size=1, max_size=30))
def test_which_answer_stood_first_changes_nothing(pairs: list[tuple[float, float]]) -> None:
    m, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    for one, other in zip(measure.calibration(m, y), measure.calibration(-m, 1 - y), strict=True):
        assert one == (None if other is None else pytest.approx(other, rel=1e-6, abs=1e-9))


def test_temperature_finds_what_drew_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    m = rng.normal(0, 4, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-m / 2.5))).astype(float)
    found = measure.calibration(m, y)
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.temperature is not None
    mended = measure.calibration(m / found.temperature, y)
    assert mended.log_loss < found.log_loss  # type: ignore[operator]
    assert mended.error < 0.02 < found.error  # type: ignore[operator]


def test_needs_neither_torch_nor_scipy_to_import() -> None:
    code = "import sys, rrm.measure, rrm.report, rrm.picture; print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
