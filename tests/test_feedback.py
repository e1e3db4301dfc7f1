"""Feedback of every kind is choices under one likelihood, and together they train one reward model."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from rrm import (
    Abstention,
    Advice,
    Approval,
    Case,
    Correction,
    Demonstration,
    Feedback,
    Item,
    Preference,
    Ranking,
    Rating,
    Response,
    Seed,
    StepLabels,
    Task,
    Turn,
)
from rrm.records import FEEDBACK
from rrm.registry import ASSISTANTS, REWARD_TRAINERS
from rrm.training.choice_table import ROW, ChoiceTable
from rrm.training.feedback import choices, favourite

torch.set_num_threads(1)
torch.manual_seed(0)

LIGHT = settings(max_examples=40, deadline=None)

WORTH = {"a": 2.0, "b": 1.0, "c": 0.0, "d": -1.0, "e": -2.0}
"""Planted rewards: what the person of these tests wants."""


class Planted(Task):
    """Answers of planted worth, the same for every item."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="planted", prompt=f"p{rng.randrange(3)}")

    def answers(self, item: Item) -> Sequence[str]:
        return tuple(WORTH)

    def vocabulary(self) -> Sequence[str]:
        return ("p0", "p1", "p2")


TASK = Planted()
ITEM = Item(task="planted", prompt="p0")
TEXTS = st.lists(st.sampled_from(list(WORTH)), min_size=2, max_size=5, unique=True)
CHANCE = st.floats(0, 1)


def case(*texts: str, item: Item = ITEM, place: str = "") -> Case:
    return Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in texts), place=place)


def said(kind: type[Any], of: Case, **what: Any) -> tuple[Case, Feedback]:
    return of, kind(case=of.id, evaluator="test", **what)


def table(*judged: tuple[Case, Feedback], tie_weight: float = 1.0) -> ChoiceTable:
    return ChoiceTable.of(judged, TASK, tie_weight=tie_weight)


def loss(judged: Sequence[tuple[Case, Feedback]], rewards: dict[str, float], **settings: float) -> float:
    """The mean negative log-likelihood under these rewards."""
    made = table(*judged, **settings)
    scores = torch.tensor([[rewards[t] for t in row] for row in made.candidates], dtype=torch.float64)
    return float(made.loss(scores, slice(None)))


def pull(judged: tuple[Case, Feedback], rewards: dict[str, float] | None = None) -> dict[str, float]:
    """Where a step downhill moves each answer's reward."""
    made = table(judged)
    texts = made.candidates[0]
    scores = torch.tensor([[(rewards or {}).get(t, 0.0) for t in texts]], requires_grad=True)
    made.loss(scores, slice(None)).backward()
    assert scores.grad is not None
    return {t: -float(g) for t, g in zip(texts, scores.grad[0], strict=True) if g != 0}


def rewards_of(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(WORTH, values, strict=True))


REWARDS = st.lists(st.floats(-5, 5), min_size=5, max_size=5).map(rewards_of)

# -- the likelihood ---------------------------------------------------------------------------------------------------


@LIGHT
@given(TEXTS, CHANCE, REWARDS)
def test_swapping_the_answers_negates_the_preference(texts: list[str], p: float, rewards: dict[str, float]) -> None:
    one, other = texts[:2]
    first = said(Preference, case(one, other), first_better=p)
    swapped = said(Preference, case(other, one), first_better=1 - p)
    assert loss([first], rewards) == pytest.approx(loss([swapped], rewards), abs=1e-9)
    turned = said(Preference, case(one, other), first_better=1 - p)
    negated = {text: -reward for text, reward in rewards.items()}
    assert loss([first], rewards) == pytest.approx(loss([turned], negated), abs=1e-9)


@LIGHT
@given(st.integers(0, 2**20), CHANCE, REWARDS)
def test_a_preference_is_the_logistic_of_the_difference(seed: int, p: float, rewards: dict[str, float]) -> None:
    one, other = Random(seed).sample(list(WORTH), 2)
    chance = 1 / (1 + np.exp(rewards[other] - rewards[one]))
    expected = -p * np.log(chance) - (1 - p) * np.log(1 - chance)
    judged = said(Preference, case(one, other), first_better=p)
    assert loss([judged], rewards) == pytest.approx(expected, abs=1e-5)


@LIGHT
@given(TEXTS, REWARDS, st.data())
def test_a_ranking_is_its_pairs(texts: list[str], rewards: dict[str, float], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.booleans(), min_size=len(texts) - 1, max_size=len(texts) - 1))
    tiers: list[list[int]] = [[0]]
    for i, cut in enumerate(cuts, start=1):
        tiers = [*tiers, [i]] if cut else [*tiers[:-1], [*tiers[-1], i]]
    rank = {texts[i]: number for number, tier in enumerate(tiers) for i in tier}
    pairs = [
        said(
            Preference,
            case(one, other),
            first_better=0.5 if rank[one] == rank[other] else float(rank[one] < rank[other]),
        )
        for i, one in enumerate(texts)
        for other in texts[i + 1 :]
    ]
    ranking = said(Ranking, case(*texts), tiers=tuple(map(tuple, tiers)))
    for tie_weight in (1.0, 0.25):
        whole, parts = (loss(j, rewards, tie_weight=tie_weight) for j in ([ranking], pairs))
        assert whole == pytest.approx(parts, abs=1e-9)


def test_a_partial_ranking_says_nothing_of_those_left_out() -> None:
    found = choices(*said(Ranking, case("a", "b", "c"), tiers=((2,), (0,))))
    assert [c.options for c in found] == [("c", "a")]


@LIGHT
@given(CHANCE, REWARDS)
def test_ratings_and_approvals_are_measured_from_the_outside_option(score: float, rewards: dict[str, float]) -> None:
    chance = 1 / (1 + np.exp(-rewards["b"]))
    expected = -score * np.log(chance) - (1 - score) * np.log(1 - chance)
    assert loss([said(Rating, case("a", "b"), response=1, score=score)], rewards) == pytest.approx(expected, abs=1e-5)
    labels = said(StepLabels, case("b"), labels=(score, score))
    assert loss([labels], rewards) == pytest.approx(expected, abs=1e-5)
    yes = said(Approval, case("b"), approved=True)
    assert loss([yes], rewards) == pytest.approx(-np.log(chance), abs=1e-5)
    above, below = said(Approval, case("a"), approved=True), said(Approval, case("a"), approved=False)
    assert pull(above)["a"] > 0 > pull(below)["a"]


@LIGHT
@given(REWARDS)
def test_a_demonstration_is_chosen_from_all_that_could_be_answered(rewards: dict[str, float]) -> None:
    judged = said(Demonstration, case("a", "b"), text="c")
    values = np.array(list(rewards.values()))
    assert loss([judged], rewards) == pytest.approx(np.log(np.exp(values).sum()) - rewards["c"], abs=1e-5)
    moved, chance = pull(judged, rewards), np.exp(values) / np.exp(values).sum()
    for text, p in zip(WORTH, chance, strict=True):
        assert moved.get(text, 0.0) == pytest.approx((text == "c") - p, abs=1e-5)


def test_a_demonstration_without_an_answer_set_stands_against_what_was_shown() -> None:
    judged = said(Demonstration, case("x", "y"), text="z")
    assert [c.options for c in choices(*judged)] == [("z", "x", "y")]
    assert choices(*said(Demonstration, case("z"), text="z")) == []


def test_a_correction_prefers_what_was_mended() -> None:
    moved = pull(said(Correction, case("a", "b"), response=1, text="c"))
    assert moved["c"] == pytest.approx(-moved["b"])
    assert moved["c"] > 0
    assert "a" not in moved
    assert choices(*said(Correction, case("a"), text="a")) == []


def test_a_tie_pulls_together() -> None:
    tie = said(Preference, case("a", "b"), first_better=0.5)
    moved = pull(tie, {"a": 1.0, "b": -1.0})
    assert moved["a"] < 0 < moved["b"]
    assert not pull(tie)  # equal already: nothing to do
    both = [tie, said(Preference, case("c", "d"), first_better=1.0)]
    apart = {"a": 3.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0}
    assert loss(both, apart, tie_weight=0.1) < loss(both, apart, tie_weight=1.0)


def test_ties_that_count_nothing_are_left_out() -> None:
    tie = said(Preference, case("a", "b"), first_better=0.5)
    assert len(table(tie, tie_weight=0)) == 0
    sure = said(Preference, case("a", "c"), first_better=1.0)
    zero = dict.fromkeys(WORTH, 0.0)
    assert loss([tie, sure], zero, tie_weight=0) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    "judged",
    [
        said(Abstention, case("a", "b"), reason="too hard"),
        said(Advice, case("a", "b"), text="be brief"),
        said(Preference, case("a"), first_better=1.0),
        said(Ranking, case("a", "b"), tiers=((0,),)),
    ],
)
def test_what_chooses_nothing_teaches_nothing(judged: tuple[Case, Feedback]) -> None:
    assert choices(*judged) == []
    assert len(table(judged)) == 0
    assert favourite(*judged) is None


def test_favourites() -> None:
    found = {
        "b": said(Preference, case("a", "b"), first_better=0.2),
        "c": said(Ranking, case("a", "b", "c"), tiers=((2,), (0, 1))),
        "d": said(Demonstration, case("a"), text="d"),
        "e": said(Approval, case("e"), approved=True),
        None: said(Ranking, case("a", "b", "c"), tiers=((0, 1), (2,))),
    }
    for expected, judged in found.items():
        assert favourite(*judged) == expected
    assert favourite(*said(Rating, case("a"), score=0.4)) is None
    assert favourite(*said(Preference, case("a", "b"), first_better=0.5)) is None


# -- the table --------------------------------------------------------------------------------------------------------


@LIGHT
@given(st.lists(st.tuples(TEXTS, CHANCE, st.integers(0, 2)), min_size=1, max_size=2 * ROW), REWARDS)
def test_merging_choices_changes_no_likelihood(
    drawn: list[tuple[list[str], float, int]], rewards: dict[str, float]
) -> None:
    judged = [
        said(Preference, case(t[0], t[1], item=Item(task="planted", prompt=f"p{n}"), place=str(i)), first_better=p)
        for i, (t, p, n) in enumerate(drawn)
    ]
    assert loss(judged, rewards) == pytest.approx(float(np.mean([loss([j], rewards) for j in judged])), abs=1e-5)


def test_a_row_holds_only_so_many_choices() -> None:
    ratings = [said(Rating, case(f"t{i}"), score=0.3) for i in range(ROW + 5)]
    made = table(*ratings)
    assert len(made) == 2
    assert {t for row in made.candidates for t in row} == {f"t{i}" for i in range(ROW + 5)}
    assert float(made.weight.sum()) == ROW + 5


# -- one reward model from all kinds ----------------------------------------------------------------------------------


def spoken(kind: str, rng: Random, number: int) -> tuple[Case, Feedback]:
    """One feedback of a kind, by a person who chooses by planted worth (Boltzmann-rational)."""
    item, texts = TASK.sample(rng), rng.sample(list(WORTH), 3)
    worth = [WORTH[t] for t in texts]
    here, one = case(*texts, item=item, place=str(number)), case(texts[0], item=item, place=str(number))
    good = 1 / (1 + np.exp(-worth[0]))
    order = sorted(range(3), key=lambda i: -worth[i])
    match kind:
        case "preference":
            pair = case(*texts[:2], item=item, place=str(number))
            first = rng.random() < 1 / (1 + np.exp(worth[1] - worth[0]))
            return said(Preference, pair, first_better=float(first))
        case "ranking":
            return said(Ranking, here, tiers=tuple((i,) for i in order))
        case "best":
            return said(Ranking, here, tiers=((order[0],), tuple(order[1:])))
        case "rating":
            return said(Rating, one, score=good)
        case "approval":
            return said(Approval, one, approved=rng.random() < good)
        case "demonstration":
            (text,) = rng.choices(list(WORTH), [np.exp(w) for w in WORTH.values()])
            return said(Demonstration, one, text=text)
        case "correction":
            better = rng.choice([t for t in WORTH if WORTH[t] >= worth[0]])
            return said(Correction, one, text=better)
    return said(Abstention, one, reason="none")


KINDS = ("preference", "ranking", "best", "rating", "approval", "demonstration", "correction", "abstention")


def fitted(judged: Sequence[tuple[Case, Feedback]], seed: int) -> np.ndarray[Any, Any]:
    """(3 items, 5 answers) learnt rewards."""
    agent = ASSISTANTS.build("word-transformer", {"width": 8, "layers": 1, "heads": 2})
    agent = agent.prepare(TASK, seed=Seed(seed))
    trainer = REWARD_TRAINERS.build("bradley-terry", {"last_steps": 40, "rate": 0.08, "warm_up": 4})
    turn = Turn(0, 1)
    reward = trainer.fit(judged, task=TASK, assistant=agent, start=None, turn=turn, seed=Seed(seed).at("fit"))
    items = [Item(task="planted", prompt=f"p{n}") for n in range(3)]
    return np.asarray(reward.score(items, [list(WORTH)] * 3).mean)


def in_order(rewards: np.ndarray[Any, Any]) -> tuple[int, int]:
    """How many of an item's pairs of answers stand in the planted order, of how many."""
    right = [row[i] > row[j] for row in rewards for i in range(5) for j in range(i + 1, 5)]
    return sum(map(bool, right)), len(right)


def test_what_did_not_matter_may_be_left_out_and_what_did_speaks_for_the_answer() -> None:
    mask = {"kind": "mask", "case": "", "evaluator": "x", "marks": (None, True, False, True, False)}
    here = case("he  did not see it", "no")
    idle = [(("he  did not see it", "he did see it"), (0.5, 0.5), 0.25),
            (("he  did not see it", "he did not see"), (0.5, 0.5), 0.25)]  # fmt: skip
    assert choices(here, FEEDBACK.validate_python(mask), tie_weight=0.5) == idle
    good = choices(here, FEEDBACK.validate_python({**mask, "good": 0.75}), tie_weight=0.5)
    assert good == [*idle, (("he  did not see it", "he not it"), (0.75, 0.25), 1.0)]
    only = FEEDBACK.validate_python({**mask, "marks": (True,), "response": 1, "good": 0})
    assert choices(here, only) == [(("no", None), (0, 1), 1.0)], "without it, there is nothing"


def test_of_steps_those_that_did_not_matter_brought_nothing() -> None:
    mask = {"kind": "mask", "case": "", "evaluator": "x", "of": "steps", "marks": (None, True, False)}
    here = case("URD")
    assert choices(here, FEEDBACK.validate_python(mask), moves="UDLR") == [(("URD", "UR"), (0.5, 0.5), 1.0)]
    good = choices(here, FEEDBACK.validate_python({**mask, "good": 1}), moves="UDLR")
    assert good == [(("UR", "U"), (1, 0), 1.0), (("URD", "UR"), (0.5, 0.5), 1.0)]
    assert choices(here, FEEDBACK.validate_python(mask)) == [], "of answers without steps nothing"


@pytest.mark.parametrize("kind", [*KINDS[:-1], "all"])
def test_each_kind_and_all_together_recover_the_planted_order(kind: str) -> None:
    # Seeds are independent; pairs within one are not. So each seed is one trial: are more than half of its pairs right?
    wins, total = 0, 0
    for seed in range(7):
        rng = Random(seed)
        judged = [spoken(KINDS[i % len(KINDS)] if kind == "all" else kind, rng, i) for i in range(120)]
        right, of = in_order(fitted(judged, seed))
        wins, total = wins + (right > of / 2), total + right
    assert binomtest(wins, 7, 0.5, alternative="greater").pvalue < 0.01, wins
    assert total / (7 * 30) > 0.8


def test_rewards_recover_the_planted_zero_where_the_outside_option_gives_one() -> None:
    zeros = []
    for seed in range(6):
        rng = Random(seed)
        found = fitted([spoken("rating", rng, i) for i in range(150)], seed)
        zeros.append(found.mean(0))
    assert np.abs(np.mean(zeros, 0) - list(WORTH.values())).max() < 0.3


def test_a_model_fitted_on_swapped_data_is_the_same_and_on_reversed_data_the_opposite() -> None:
    rng = Random(0)
    judged = [spoken("preference", rng, i) for i in range(100)]

    def turned(what: str) -> list[tuple[Case, Feedback]]:
        out = []
        for c, f in judged:
            assert isinstance(f, Preference)
            texts = [r.text for r in c.responses]
            texts = texts[::-1] if what == "swapped" else texts
            out.append(said(Preference, case(*texts, item=c.item, place=c.place), first_better=1 - f.first_better))
        return out

    same, swapped, reversed_ = fitted(judged, 1), fitted(turned("swapped"), 1), fitted(turned("reversed"), 1)
    assert (same == swapped).all()
    centred, opposite = (r - r.mean(1, keepdims=True) for r in (same, reversed_))
    # The read-out begins at 0, so both fits go the same way but for the sign; only the layers below bend a little.
    assert np.corrcoef(centred.ravel(), -opposite.ravel())[0, 1] > 0.99
