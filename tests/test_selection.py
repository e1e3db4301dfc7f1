"""Which items are asked about: as many as wanted, by seed alone, evenly, and where the doubt is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare, mannwhitneyu

from rrm import Assistant, Item, PlanError, RewardModel, Scores, Seed, SoFar, Task, Turn
from rrm.registry import ASSISTANTS, SELECTIONS

NAMES = ("random", "margin", "disagreement")


class Numbers(Task):
    """Any of a million numbers."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="numbers", prompt=str(rng.randrange(10**6)))

    def answers(self, item: Item) -> Sequence[str] | None:
        return ("x", "y", "z")


class Few(Numbers):
    """Forty numbers that can be listed."""

    def items(self, *, held_out: bool = False) -> Sequence[Item]:
        return [Item(task="numbers", prompt=str(i)) for i in range(40)]

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return rng.choice(self.items())


class Open(Numbers):
    """Numbers with no answer set."""

    def answers(self, item: Item) -> Sequence[str] | None:
        return None


class Doubt(RewardModel):
    """Doubts an item the more, the smaller its number is modulo 1000 (a small margin, a large spread)."""

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        sure = np.array([[int(i.prompt) % 1000 / 1000] for i in items])
        mean = np.concatenate([sure, 0 * sure, 0 * sure - 5], 1)[:, : len(candidates[0])]
        return Scores(mean, np.repeat(1 - sure, len(candidates[0]), 1))


class Guess(Assistant):
    """Proposes the answer set."""

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [["x", "y", "z", "x"][:n] for _ in items]


def chosen(
    name: str,
    task: Task,
    count: int,
    seed: int = 0,
    *,
    first: bool = False,
    unsettled: Sequence[Item] = (),
    **more: Any,
) -> list[Item]:
    so_far = SoFar(Turn(0 if first else 1, 3), Guess(), None if first else Doubt(), unsettled)
    return SELECTIONS.build(name, more).choose(task, count, so_far=so_far, seed=Seed(seed))


def numbers(items: Sequence[Item]) -> list[int]:
    return [int(i.prompt) % 1000 for i in items]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", [Numbers(), Few()])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_as_many_as_wanted_by_seed_alone(name: str, task: Task, first: bool, count: int) -> None:
    one = chosen(name, task, count, first=first)
    assert len(one) == count
    assert one == chosen(name, task, count, first=first)
    assert count < 7 or one != chosen(name, task, count, seed=1, first=first)


@pytest.mark.parametrize("name", ["margin", "disagreement"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_may_be_chosen_by_doubt(name: str, share: float) -> None:
    for task in (Numbers(), Few()):
        assert len(chosen(name, task, 20, active=share)) == 20


def test_random_is_uniform() -> None:
    drawn = numbers(chosen("random", Numbers(), 4000))
    assert chisquare(np.histogram(drawn, 20, (0, 1000))[0]).pvalue > 1e-3


@pytest.mark.parametrize("name", ["margin", "disagreement"])
def test_a_first_round_goes_through_the_whole_list_before_any_item_comes_again(name: str) -> None:
    every = {i.prompt for i in Few().items()}
    for count in (40, 80):
        drawn = chosen(name, Few(), count, first=True)
        assert Counter(i.prompt for i in drawn) == dict.fromkeys(every, count // 40)
    partial = chosen(name, Few(), 50, first=True)
    assert {i.prompt for i in partial[:40]} == every
    assert len({i.prompt for i in partial[40:]}) == 10
    assert chosen(name, Few(), 40, first=True) != chosen(name, Few(), 40, seed=5, first=True)  # in another order


@pytest.mark.parametrize("name", ["margin", "disagreement"])
def test_later_rounds_are_half_even_and_half_doubtful(name: str) -> None:
    for task in (Numbers(), Few()):
        drawn = numbers(chosen(name, task, 80))
        even, active = drawn[:40], drawn[40:]
        assert mannwhitneyu(active, even, alternative="less").pvalue < 1e-4
    assert max(active) < 10  # of forty listed items, the most doubtful quarter
    assert sorted(even) == list(range(40))  # and the other half is one lap of them all
    assert len(set(active)) > 3  # not the one most doubtful again and again
    few = numbers(chosen(name, Numbers(), 80, active=0.25))
    assert mannwhitneyu(few[60:], few[:60], alternative="less").pvalue < 1e-4


@pytest.mark.parametrize("name", ["margin", "disagreement"])
def test_more_to_choose_from_makes_for_more_doubt(name: str) -> None:
    little, much = (numbers(chosen(name, Numbers(), 60, active=1.0, oversample=k)) for k in (2, 12))
    assert mannwhitneyu(much, little, alternative="less").pvalue < 1e-4


def test_unsettled_items_come_again_first() -> None:
    again = [Item(task="numbers", prompt=str(i)) for i in range(30)]
    drawn = chosen("margin", Numbers(), 40, unsettled=again)
    assert {i.prompt for i in drawn[:30]} == {i.prompt for i in again}
    assert len(drawn) == 40
    assert len(chosen("margin", Numbers(), 20, unsettled=again)) == 20  # more of them than fit
    some = chosen("margin", Numbers(), 40, unsettled=again, again=0.25)
    assert len({i.prompt for i in some} & {i.prompt for i in again}) == 10


def test_margin_needs_an_answer_set() -> None:
    with pytest.raises(PlanError, match="finite answer set"):
        chosen("margin", Open(), 4)


class Committee(Doubt):
    """Two members that nearly agree on all answers but "z"."""

    def each(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Any:
        one = np.array([[{"x": 0.0, "y": 0.5, "z": 3.0}[text] for text in texts] for texts in candidates])
        other = np.array([[{"x": 0.0, "y": 0.6, "z": -3.0}[text] for text in texts] for texts in candidates])
        return np.stack([one, other])


def test_of_many_answers_the_two_are_shown_about_which_the_members_disagree_most() -> None:
    """Between x and y they nearly agree; x against z is where one is as sure as the other of the contrary."""
    so_far = SoFar(Turn(1, 3), Guess(), Committee(), ())
    selection, items = SELECTIONS.build("disagreement", {"among": 2}), Few().items()[:3]
    proposed = [["x", "y", "z"], ["z", "y", "x"], ["y", "x", "z"]]
    shown = selection.narrow(items, proposed, 2, so_far=so_far)
    assert [sorted(texts) for texts in shown] == [["x", "z"]] * 3


def test_disagreement_asks_a_real_assistant_and_ensemble() -> None:
    from rrm.registry import REWARD_TRAINERS, TASKS

    task = TASKS.build("glossary")
    agent = ASSISTANTS.build("word-transformer").prepare(task, seed=Seed(0))
    trainer = REWARD_TRAINERS.build("bradley-terry", {"ensemble": 2, "last_steps": 1})
    reward = trainer.fit([], task=task, assistant=agent, start=None, turn=Turn(0, 1), seed=Seed(0))
    so_far = SoFar(Turn(1, 2), agent, reward, ())
    assert len(SELECTIONS.build("disagreement").choose(task, 10, so_far=so_far, seed=Seed(0))) == 10
