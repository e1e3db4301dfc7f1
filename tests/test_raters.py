"""Several raters: agreement against published examples, raters' errors recovered, and flags that mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrm.raters.agreement import Scale, alpha
from rrm.raters.attention import LEVEL, missed_gold, straight_lining, too_fast, with_oneself
from rrm.raters.dawid_skene import dawid_skene

_ = None
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A, B and C to E
JON_AND_HAN = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
BEN_AND_GERRY = [[1, 1, 2, 2, 4, 3, 3, 3, 5, 4, 4, 1], [2, 1, 2, 2, 2, 3, 3, 3, 5, 4, 4, 4]]
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


@pytest.mark.parametrize(
    ("ratings", "scale", "published"),
    [
        (JON_AND_HAN, "nominal", 0.095),
        (BEN_AND_GERRY, "nominal", 0.692),
        (FOUR_OBSERVERS, "nominal", 0.743),
        (FOUR_OBSERVERS, "ordinal", 0.815),
        (FOUR_OBSERVERS, "interval", 0.849),
    ],
)
def test_alpha_is_as_published(ratings: Sequence[Sequence[float | None]], scale: Scale, published: float) -> None:
    found = alpha(ratings, scale)
    assert found
    assert found.mean == pytest.approx(published, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < published < found.high
    assert found.n == sum(sum(r[i] is not None for r in ratings) > 1 for i in range(len(ratings[0])))


def by_definition(units: np.ndarray, scale: Scale) -> float:
    """Alpha from its definition, over pairs of ratings: slow, and short enough to be read."""
    units = units[:, np.isfinite(units).sum(axis=0) > 1]
    columns = [c[np.isfinite(c)] for c in units.T]
    everything = np.concatenate(columns)

    def far(a: float, b: float) -> float:
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        between = ((everything >= low) & (everything <= high)).sum()
        return float(between - ((everything == low).sum() + (everything == high).sum()) / 2) ** 2

    def mean(values: np.ndarray) -> float:
        return sum(far(a, b) for a in values for b in values) / (len(values) - 1)

    return 1 - sum(mean(c) for c in columns) / mean(everything)


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_as_defined(seed: int, scale: Scale) -> None:
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 4, (4, 15)).astype(float)
    units[rng.random(units.shape) < 0.3] = np.nan
    found = alpha(units, scale, resamples=10)
    assert found
    assert found.mean == pytest.approx(by_definition(units, scale))


def test_the_interval_of_alpha_covers_what_raters_would_agree_on_forever() -> None:
    """Two raters, who are right in 8 of 10 cases: alpha is .36 in the limit (.6 ** 2)."""
    rng, covered = np.random.default_rng(0), 0
    for _again in range(200):
        truth = rng.integers(0, 2, 100)
        said = np.where(rng.random((2, 100)) < 0.8, truth, 1 - truth)
        found = alpha(said, resamples=300)
        covered += bool(found and found.low is not None and found.high is not None and found.low < 0.36 < found.high)
    assert covered >= 180  # 95 % of 200, less three standard deviations


def test_alpha_of_what_says_nothing() -> None:
    assert alpha([[1, 1, 1], [1, 1, 1]]) is None, "of what never varies, chance would make the same"
    assert alpha([[1, None], [None, 2]]) is None, "nobody overlaps"
    assert alpha([[1, 2, 3]]) is None, "one rater"
    one = alpha([[1, 2], [2, None]])
    assert one
    assert (one.low, one.n) == (None, 1)
    perfect = alpha([[0, 1, 2, 0], [0, 1, 2, 0]])
    assert perfect
    assert perfect.mean == 1.0
    with pytest.raises(ValueError, match="rows of numbers of one length"):
        alpha([[1, 2], [1]])
    with pytest.raises(ValueError, match=r"\(raters, cases\)"):
        alpha([1, 2, 3])


# -- Dawid and Skene --------------------------------------------------------------------------------------------------


def crowd(skills: Sequence[float], cases: int, each: int, seed: int = 0, classes: int = 2):  # type: ignore[no-untyped-def]
    """Judgements of `cases` by `each` raters, drawn from those with such skills."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, cases)
    rater = np.concatenate([rng.choice(len(skills), each, replace=False) for _ in range(cases)])
    case = np.repeat(np.arange(cases), each)
    good = rng.random(len(case)) < np.asarray(skills)[rater]
    label = np.where(good, truth[case], (truth[case] + rng.integers(1, classes, len(case))) % classes)
    return truth, case, rater, label


def test_raters_are_told_apart_and_the_crowd_beats_the_vote() -> None:
    skills = [0.95, 0.92, 0.9, 0.55, 0.52, 0.5, 0.5]
    wins = 0
    for seed in range(10):
        truth, case, rater, label = crowd(skills, 300, 5, seed)
        found = dawid_skene(case, rater, label)
        vote = np.bincount(case, weights=label, minlength=300) > 2.5
        ours, theirs = (found.posterior.argmax(axis=1) == truth).mean(), (vote == truth).mean()
        wins += ours > theirs
        assert np.abs(found.confusion[:, [0, 1], [0, 1]].mean(axis=1) - skills).max() < 0.1
        assert found.weights[:3].min() > 2 * found.weights[3:].max()
        for share, skill in zip(found.accuracy, skills, strict=True):
            assert share
            assert share.mean == pytest.approx(skill, abs=0.1)
    assert wins >= 9


def test_a_rater_who_turns_everything_round_is_understood() -> None:
    truth, case, rater, label = crowd([0.9, 0.9, 0.9, 0.9, 0.05], 200, 5)
    found = dawid_skene(case, rater, label)
    assert found.confusion[4, 0, 1] > 0.85
    assert found.weights[4] == 0
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.98


def test_probabilities_are_as_good_as_they_say() -> None:
    truth, case, rater, label = crowd([0.6, 0.7, 0.75, 0.8], 2000, 3, 1)
    top = (posterior := dawid_skene(case, rater, label).posterior).max(axis=1)
    right = posterior.argmax(axis=1) == truth
    assert abs(top.mean() - right.mean()) < 0.04  # measured over seeds: .01, at most .025


def test_three_classes_and_errors_that_go_one_way() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    table = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.3, 0.0, 0.7]])
    case, rater = np.repeat(np.arange(400), 4), np.tile(np.arange(4), 400)
    label = np.array([rng.choice(3, p=table[t]) for t in truth[case]])
    found = dawid_skene(case, rater, label, classes=3)
    assert np.abs(found.confusion - table).max() < 0.1
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.95


def test_little_to_go_by_gives_what_the_prior_says() -> None:
    alone = dawid_skene([0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 1, 0])
    assert np.allclose(alone.posterior.max(axis=1), 0.8, atol=0.05), "one rater is believed as the prior says"
    alike = dawid_skene([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1])
    assert (alike.posterior.argmax(axis=1) == 1).all()
    assert np.isfinite(alike.confusion).all()
    apart = dawid_skene([0, 1], [0, 1], [0, 1])
    assert apart.posterior[0, 0] == pytest.approx(apart.posterior[1, 1], abs=1e-6)
    gap = dawid_skene([0, 3], [0, 2], [1, 1])
    assert gap.posterior.shape == (4, 2)
    assert np.allclose(gap.posterior[1], gap.prevalence)
    assert gap.accuracy[1] is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40))
def test_whatever_is_said_beliefs_are_probabilities(said: list[tuple[int, int, int]]) -> None:
    found = dawid_skene(*np.array(said, dtype=int).T)
    for part in (found.posterior, found.confusion, found.prevalence):
        assert np.allclose(part.sum(axis=-1), 1)
        assert (part >= 0).all()
    assert (found.weights >= 0).all()
    assert found.converged


def test_rows_that_do_not_fit_are_refused() -> None:
    for rows, message in (
        (([0], [0, 1], [0]), "should be as many"),
        (([], [], []), "no judgement"),
        (([0.5], [0], [0]), "whole numbers"),
        (([-1], [0], [0]), "whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            dawid_skene(*rows)
    with pytest.raises(ValueError, match="none of 2 classes"):
        dawid_skene([0], [0], [2], classes=2)


# -- flags ------------------------------------------------------------------------------------------------------------


def test_flags_are_raised_on_the_careless() -> None:
    assert missed_gold(5, 10).raised
    assert too_fast([0.5] * 20, [100] * 20).raised
    assert straight_lining([0] * 12).raised
    assert straight_lining([0, 1] * 10 + [0] * 18).raised, "by its run"
    assert with_oneself([0, 1] * 8, [0, 1, 1, 0] * 4).raised
    assert missed_gold(5, 10).words == "5 of 10 gold questions right, 90% expected"


def test_flags_are_silent_where_there_is_little_to_see() -> None:
    assert not missed_gold(1, 2).raised
    assert not missed_gold(9, 10).raised
    assert not too_fast([0.5, None], [100, 100]).raised
    assert not too_fast([20.0] * 20, [100] * 20).raised
    assert not straight_lining([0] * 5).raised
    assert not with_oneself([0, 1, None], [0, 0, 1]).raised
    for flag in (missed_gold(0, 0), too_fast([], []), straight_lining([]), with_oneself([], [])):
        assert (flag.raised, flag.share, flag.p) == (False, None, None)


def test_of_a_hundred_attentive_raters_about_one_is_flagged() -> None:
    rng, rates = np.random.default_rng(0), dict[str, int]()
    for _again in range(2000):
        flags = (
            missed_gold(int(rng.binomial(20, 0.9)), 20),
            straight_lining(rng.integers(0, 2, 40).tolist()),
            with_oneself([1] * 12, (rng.random(12) < 0.8).astype(int).tolist()),
            too_fast(np.where(rng.random(40) < 0.05, 0.1, 60.0).tolist(), [100] * 40),
        )
        for flag in flags:
            rates[flag.name] = rates.get(flag.name, 0) + flag.raised
    assert max(rates.values()) <= 2000 * LEVEL + 3 * (2000 * LEVEL) ** 0.5, rates  # discrete: most stay below


def test_how_probable_a_run_is() -> None:
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 3, (20000, 20))
    for length in (3, 5, 7):
        same = np.lib.stride_tricks.sliding_window_view(draws, length, axis=1)
        share = (same == same[..., :1]).all(axis=2).any(axis=1).mean()
        from rrm.raters.attention import _run_of

        assert _run_of(length, 20, 3) == pytest.approx(share, abs=0.012)
