"""Trials: planted effects are found, intervals hold what they promise, and the size that is asked for is enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from rrm.measure import wilson
from rrm.seed import Seed
from rrm.trial import Judgements, People, Size, analyse, assign
from rrm.trial.analysis import calibration_error, turned
from rrm.trial.mixed import contrast, mean, share, uplift
from rrm.trial.people import _normal
from rrm.trial.power import detectable, half_width, needed, power, raters_needed


def trial(people: People, size: Size, seed: int) -> Judgements:
    design = assign(size.raters, size.cases, size.arms, of=size.of, seed=Seed(seed))
    return people.judge(design, seed=seed)


# -- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "people",
    [
        People(),
        People(uplift=0.0, uplift_rater_sd=0.04),
        People(baseline=0.8, uplift=-0.2, rater_sd=0.1, case_sd=0.2, uplift_rater_sd=0.1, uplift_case_sd=0.2),
    ],
)
def test_what_is_planted_is_what_there_is(people: People) -> None:
    rng, at, many = np.random.default_rng(0), people.latent, 1500
    skill, help_by_rater = at.skill * rng.standard_normal((many, 1)), at.help_by_rater * rng.standard_normal((many, 1))
    difficulty, help_by_case = at.difficulty * rng.standard_normal(many), at.help_by_case * rng.standard_normal(many)
    alone = _normal(at.control + skill + difficulty)
    gain = _normal(at.helped + skill + difficulty + help_by_rater + help_by_case) - alone
    assert alone.mean() == pytest.approx(people.baseline, abs=0.015)
    assert gain.mean() == pytest.approx(people.uplift, abs=0.015)
    for values, wanted in (
        (alone.mean(axis=1), people.rater_sd),
        (alone.mean(axis=0), people.case_sd),
        (gain.mean(axis=1), people.uplift_rater_sd),
        (gain.mean(axis=0), people.uplift_case_sd),
    ):
        assert values.std() == pytest.approx(wanted, rel=0.08)


def test_people_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        People(baseline=0.95, uplift=0.2).latent  # noqa: B018
    with pytest.raises(ValueError, match="cannot differ so much"):
        People(rater_sd=0.4, case_sd=0.4).latent  # noqa: B018


# -- intervals --------------------------------------------------------------------------------------------------------


def test_the_interval_of_the_uplift_covers_what_was_planted() -> None:
    """150 trials of 8 raters and 60 cases: of 95 % intervals at least 133 cover (95 %, less 3.5 standard deviations;
    measured: 141), and intervals of judgements taken for independent do not reach that (measured: 125)."""
    people = People(uplift_rater_sd=0.1, uplift_case_sd=0.2, rater_sd=0.1, case_sd=0.2)
    covered = narrow = 0
    for seed in range(150):
        j = trial(people, Size(8, 60, 60), seed)
        found = uplift(j.right, j.arm == 1, j.rater, j.case)
        assert found
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 0.12 < found.high
        one, other = (wilson(float(j.right[j.arm == a].sum()), int((j.arm == a).sum())) for a in (1, 0))
        assert one
        assert other
        spread = np.sqrt(sum(s.mean * (1 - s.mean) / s.n for s in (one, other)))
        narrow += abs(found.mean - 0.12) < 1.96 * spread
    assert covered >= 133
    assert narrow < 133, "judgements taken for independent would do as well, and the test shows nothing"


def test_the_fit_is_what_is_known_in_closed_form() -> None:
    """Raters by cases, each once: restricted maximum likelihood is then the analysis of variance, mean squares and all,
    and so are Satterthwaite's degrees of freedom."""
    rng, (raters, cases) = np.random.default_rng(0), (9, 14)
    y = 5 + rng.normal(0, 1.0, (raters, 1)) + rng.normal(0, 1.5, cases) + rng.normal(0, 1.0, (raters, cases))
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    squares = cases * y.mean(axis=1).var(ddof=1), raters * y.mean(axis=0).var(ddof=1)
    left = (raters - 1) * (cases - 1)
    noise = (rest**2).sum() / left
    spread = (squares[0] + squares[1] - noise) / y.size
    doubt = squares[0] ** 2 / (raters - 1) + squares[1] ** 2 / (cases - 1) + noise**2 / left
    half = t.ppf(0.975, (spread * y.size) ** 2 / doubt) * np.sqrt(spread)
    rater, case = np.divmod(np.arange(y.size), cases)
    found = mean(y.ravel(), rater, case)
    assert found
    assert found.mean == pytest.approx(y.mean())
    assert (found.low, found.high) == pytest.approx((y.mean() - half, y.mean() + half), abs=2e-3 * half)


def test_in_a_trial_of_one_case_each_the_fit_is_the_paired_t_test() -> None:
    """Each rater judges cases of their own: what is left is one difference for each rater."""
    rng, raters, each = np.random.default_rng(1), 10, 8
    rater = np.repeat(np.arange(raters), each)
    helped = np.arange(raters * each) % 2 == 0
    y = (
        rng.normal(0, 1, raters)[rater]
        + helped * (0.5 + rng.normal(0, 1.5, raters)[rater])
        + rng.normal(0, 1, len(rater))
    )
    by_rater = y.reshape(raters, each // 2, 2).mean(axis=1)
    difference = by_rater[:, 0] - by_rater[:, 1]
    half = t.ppf(0.975, raters - 1) * difference.std(ddof=1) / np.sqrt(raters)
    found = contrast(y, helped, rater, np.zeros(len(y), dtype=np.int64))
    assert found
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=2e-3)


def test_sides_that_are_all_alike_are_not_certain() -> None:
    rater, case = np.repeat(np.arange(4), 10), np.tile(np.arange(10), 4)
    helped = (rater + case) % 2 == 0
    found = uplift(np.where(helped, 1.0, 0.5), helped, rater, case)
    assert found
    assert found.mean == 0.5
    assert found.low is not None
    assert found.high is not None
    assert 0.2 < found.low < 0.45
    assert 0.55 < found.high < 0.8
    certain = share(np.ones(20), rater[:20], case[:20])
    assert certain
    assert certain.low is not None
    assert certain.low < 0.9


def test_what_cannot_be_told_has_no_figure() -> None:
    one = np.zeros(3, dtype=np.int64)
    assert uplift(np.ones(3), np.zeros(3, dtype=bool), one, np.arange(3)) is None
    assert mean(np.zeros(0), one[:0], one[:0]) is None
    lonely = uplift(np.array([1.0, 0.0]), np.array([True, False]), one[:2], np.arange(2))
    assert lonely
    assert lonely.mean == 1.0
    alone = uplift(
        np.array([1.0, 0, 1, 1, 0, 0, 1, 0]), np.arange(8) % 2 == 0, np.zeros(8, dtype=np.int64), np.arange(8)
    )
    assert alone
    assert alone.low is not None, "one rater: it holds for other cases"


# -- what a trial found -----------------------------------------------------------------------------------------------


def test_the_analysis_finds_what_was_planted() -> None:
    people = replace(People(trust=2.5), baseline=0.6, uplift=0.2)
    found = analyse(trial(people, Size(30, 60, 90), 0), ["alone", "helped"])
    alone, helped = found.arms
    assert (alone.name, alone.judgements, alone.raters, alone.cases) == ("alone", 900, 30, 90)
    assert alone.accuracy
    assert alone.accuracy.mean == pytest.approx(0.6, abs=0.06)
    assert alone.uplift is None
    assert helped.uplift
    assert helped.uplift.low is not None
    assert helped.uplift.low > 0.1
    assert helped.slower
    assert helped.slower.mean == pytest.approx(np.exp(0.25), abs=0.1)
    assert helped.slower.low is not None
    assert helped.slower.low > 1
    assert helped.opened
    assert helped.opened.mean == pytest.approx(0.7, abs=0.06)
    assert helped.overconfidence
    assert helped.overconfidence.low is not None
    assert helped.overconfidence.low > 0, "they feel surer than they are right"
    assert helped.turned
    assert helped.turned.by_chance
    gain = helped.turned.mended.mean - helped.turned.spoiled.mean
    assert gain == pytest.approx(helped.uplift.mean, abs=0.03), "on matched cases it is the same uplift"
    assert helped.turned.mended.low is not None
    assert helped.turned.mended.low > helped.turned.by_chance.mean
    assert helped.turned.spoiled.mean < helped.turned.by_chance.mean
    assert found.notes == []


def test_people_who_are_as_sure_as_they_should_be_are_calibrated() -> None:
    j = trial(People(), Size(60, 60, 120), 1)
    error = calibration_error(j.confidence, j.right)
    assert error is not None
    surer = calibration_error(trial(People(trust=3.0), Size(60, 60, 120), 1).confidence, j.right)
    assert surer is not None
    assert error < surer
    assert calibration_error(np.zeros(0), np.zeros(0)) is None


def test_turns_are_counted_between_raters_of_one_case() -> None:
    rater, case = np.array([0, 1, 2, 3]), np.array([0, 0, 0, 0])
    j = Judgements(rater=rater, case=case, arm=np.array([0, 0, 1, 1]), right=np.array([1.0, 0.0, 1.0, 1.0]))
    found = turned(j, j.arm == 1)
    assert found
    assert found.by_chance
    assert (found.mended.mean, found.spoiled.mean, found.by_chance.mean) == (0.5, 0.0, 0.5)
    wide = Judgements(
        rater=np.array([0, 1, 2, 3, 4, 0, 1, 0, 1]),
        case=np.array([7, 7, 7, 9, 9, 4, 4, 2, 2]),  # two were judged in both arms, three by two people alone
        arm=np.array([0, 0, 1, 0, 1, 0, 0, 0, 0]),
        right=np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
    )
    found = turned(wide, wide.arm == 1)
    assert found
    assert found.by_chance
    assert (found.mended.n, found.spoiled.n, found.by_chance.n) == (2, 2, 3)
    apart = replace(j, case=np.array([0, 0, 1, 1]))
    assert turned(apart, apart.arm == 1) is None


def test_help_that_is_wrong_is_told_apart() -> None:
    j = trial(People(), Size(8, 40, 40), 0)
    wrong = (j.case % 4 == 0) & (j.arm == 1)
    led = replace(j, right=np.where(wrong, 0.0, j.right), helped_right=np.where(j.arm == 1, 1.0 - wrong, np.nan))
    alone, helped = analyse(led, ["alone", "helped"]).arms
    assert helped.help_wrong
    assert helped.help_right
    assert helped.help_wrong.mean == 0
    assert helped.help_right.mean > 0.6
    assert alone.help_right is None


def test_few_raters_and_few_cases_are_said() -> None:
    assert "One rater" in analyse(trial(People(), Size(1, 20, 20), 0), ["a", "b"]).notes[0]
    few = analyse(trial(People(), Size(4, 6, 6), 0), ["a", "b"]).notes
    assert [note.split()[0] for note in few] == ["4", "6"]
    with pytest.raises(ValueError, match="column 'seconds' has 1 rows"):
        Judgements(rater=np.arange(2), case=np.arange(2), arm=np.arange(2), right=np.ones(2), seconds=np.ones(1))


# -- how large --------------------------------------------------------------------------------------------------------


def test_power_is_what_simulated_trials_have() -> None:
    """200 trials: the formula is within .1, three standard deviations of which are the simulation's own."""
    people, size = People(uplift=0.15), Size(10, 24, 24)
    seen = 0
    for seed in range(200):
        j = trial(people, size, seed)
        found = uplift(j.right, j.arm == 1, j.rater, j.case)
        seen += bool(found and found.low is not None and found.low > 0)
    assert seen / 200 == pytest.approx(power(people, size), abs=0.1)


def test_the_size_that_is_needed_is_the_least_that_is_enough() -> None:
    size = Size(8, 40, 40)
    enough = needed(People(), size)
    assert enough
    assert power(People(), enough) >= 0.8 > power(People(), enough._replace(cases=enough.cases - 1, of=enough.of - 1))
    people = raters_needed(People(), size)
    assert people
    assert power(People(), people) >= 0.8 > power(People(), people._replace(raters=people.raters - 1))
    assert needed(People(uplift_rater_sd=0.3), Size(3, 40, 40)) is None, "no number of cases makes up for three raters"
    least = detectable(People(), size)
    assert least is not None
    assert power(replace(People(), uplift=least), size) == pytest.approx(0.8, abs=0.01)
    assert (half_width(People(), size) or 0) > (half_width(People(), Size(16, 40, 40)) or 1)
    assert power(People(), Size(1, 40, 40)) == 0
    assert half_width(People(), Size(1, 40, 40)) is None
    assert power(People(uplift=0.3, uplift_rater_sd=0.0, uplift_case_sd=0.0), Size(100, 500, 500)) == 1
