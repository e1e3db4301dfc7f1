"""Reward and policy trainers: they learn what they should, change nothing that they were given, and resume exactly."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, spearmanr, ttest_rel

from rrm import (
    Assistant,
    Case,
    GivenTerm,
    Item,
    Judged,
    PlanError,
    Preference,
    Response,
    RewardModel,
    RewardTerm,
    RewardTrainer,
    Scores,
    Seed,
    Task,
    Turn,
)
from rrm.models.learner import Learner, TorchAssistant
from rrm.registry import ASSISTANTS, POLICY_TRAINERS, REWARD_TERMS, REWARD_TRAINERS
from rrm.training.objective import objective
from rrm.training.policy.best_of_n import Best, BestOfN
from rrm.training.reward.bradley_terry import NetworkReward
from rrm_assistants.word_transformer import WordTransformer

torch.set_num_threads(1)

ARMS = ("a", "b", "c", "d")
PLACES = tuple(f"p{i}" for i in range(8))
SMALL = {"width": 16, "layers": 1, "heads": 2, "longest": 4}


class Bandit(Task):
    """Each of eight places has an arm that is best: 1, and the next two each a third less."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="bandit", prompt=rng.choice(PLACES))

    def items(self, *, held_out: bool = False) -> Sequence[Item]:
        return [Item(task="bandit", prompt=place) for place in PLACES]

    def answers(self, item: Item) -> Sequence[str]:
        return ARMS

    def vocabulary(self) -> Sequence[str]:
        return PLACES

    def truth(self, item: Item, text: str) -> float:
        return 1 - (ARMS.index(text) - int(item.prompt[1:])) % 4 / 3


class Open(Bandit):
    """The same, to be written."""

    def answers(self, item: Item) -> Sequence[str]:
        return None  # type: ignore[return-value]


class Truth(RewardModel):
    """The truth as a reward; whatever is no arm is worth nothing."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        mean = [
            [Bandit().truth(i, t) if t in ARMS else 0.0 for t in row] for i, row in zip(items, candidates, strict=True)
        ]
        return Scores(self.scale * np.array(mean), np.zeros((len(mean), len(mean[0]))))


class Scripted(Assistant):
    """Has no weights."""

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [["a"] * n for _ in items]


TASK = Bandit()
ITEMS = TASK.items()


def agent(seed: int = 0, **settings: Any) -> Learner:
    made = ASSISTANTS.build("word-transformer", SMALL | settings).prepare(TASK, seed=Seed(seed))
    assert isinstance(made, WordTransformer)
    return made


def writer(seed: int = 0) -> TorchAssistant:
    settings = {"alphabet": "abcdp01234567", "max_new_tokens": 1, "longest": 4, "config": {"hidden_size": 32}}
    made = ASSISTANTS.build("transformer", settings).prepare(Open(), seed=Seed(seed))
    assert isinstance(made, TorchAssistant)
    return made


def judged(count: int, seed: int = 0, places: Sequence[str] = PLACES) -> list[Judged]:
    """Preferences of a person who sees the truth."""
    found: list[Judged] = []
    for i in range(count):
        rng = Seed(seed).at("judged", i).rng()
        item, texts = Item(task="bandit", prompt=rng.choice(places)), rng.sample(ARMS, 2)
        case = Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in texts), place=str(i))
        better = TASK.truth(item, texts[0]) > TASK.truth(item, texts[1])
        found.append((case, Preference(case=case.id, evaluator="t", first_better=float(better))))
    return found


def chance(policy: Assistant) -> np.ndarray[Any, Any]:
    """(places, arms) of a learner's policy."""
    assert isinstance(policy, Learner)
    return np.asarray(torch.softmax(torch.from_numpy(policy.logits(ITEMS)), -1))


def written_chance(policy: Assistant) -> np.ndarray[Any, Any]:
    """(places, texts) of a writer's policy over all that it can write: nothing, or one character."""
    assert isinstance(policy, TorchAssistant)
    texts = ["", *"abcdp01234567", "\N{REPLACEMENT CHARACTER}"]
    with torch.no_grad():
        rows = [policy.log_prob([item] * len(texts), texts).exp().double().numpy() for item in ITEMS]
    assert np.allclose(np.sum(rows, 1), 1, atol=1e-4)
    return np.stack(rows)


def worth(policy: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(places,) expected truth."""
    truth = np.array([[TASK.truth(item, arm) for arm in ARMS] for item in ITEMS])
    return np.asarray((policy * truth).sum(1))


def divergence(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float((one * np.log(one / other)).sum(1).mean())


def digest(folder: Path) -> str:
    """Of all that was saved."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    assert files
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


# -- Bradley-Terry ----------------------------------------------------------------------------------------------------


def bradley_terry(**settings: Any) -> RewardTrainer:
    return REWARD_TRAINERS.build("bradley-terry", {"steps": 10, "last_steps": 60, "rate": 0.02, **settings})


def fit(trainer: RewardTrainer, data: Sequence[Judged], **given: Any) -> RewardModel:
    more: dict[str, Any] = {"assistant": agent(), "start": None, "turn": Turn(0, 1), "seed": Seed(0), **given}
    return trainer.fit(data, task=TASK, **more)


def test_bradley_terry_recovers_planted_utilities() -> None:
    reward = fit(bradley_terry(), judged(300))
    learnt = reward.score(ITEMS, [ARMS] * 8).mean
    truth = np.array([[TASK.truth(i, a) for a in ARMS] for i in ITEMS])
    centred = learnt - learnt.mean(1, keepdims=True)
    assert spearmanr(centred.ravel(), truth.ravel()).pvalue < 1e-6
    assert (learnt.argmax(1) == truth.argmax(1)).mean() == 1


def test_rewards_depend_on_the_evidence_and_not_on_the_batch() -> None:
    reward = fit(bradley_terry(), judged(50))
    whole = reward.score(ITEMS, [ARMS] * 8).mean
    parts = np.concatenate([reward.score([i], [ARMS]).mean for i in ITEMS])
    assert np.allclose(whole, parts, atol=1e-5)
    turned = reward.score(ITEMS, [ARMS[::-1]] * 8).mean
    assert np.allclose(whole, turned[:, ::-1], atol=1e-6)


def test_an_ensemble_differs_more_where_nothing_was_judged() -> None:
    reward = fit(bradley_terry(ensemble=4, last_steps=80), judged(200, places=PLACES[:4]))
    seen, unseen = (reward.score(items, [ARMS] * 4).spread.ravel() for items in (ITEMS[:4], ITEMS[4:]))
    assert mannwhitneyu(unseen, seen, alternative="greater").pvalue < 0.01
    assert (fit(bradley_terry(), judged(20)).score(ITEMS, [ARMS] * 8).spread == 0).all()


@pytest.mark.parametrize(("whole", "alike"), [(0, False), (256, True)])
def test_the_members_of_an_ensemble_learn_from_batches_of_their_own(whole: int, alike: bool) -> None:
    """From the same weights they become different networks, unless each step sees all items."""
    (one,) = fit(bradley_terry(), judged(50), turn=Turn(0, 2)).members  # type: ignore[attr-defined]
    trainer = bradley_terry(ensemble=2, whole=whole, batch=4)
    reward = fit(trainer, judged(90), start=NetworkReward([one, one]), turn=Turn(1, 2))
    spread = reward.score(ITEMS, [ARMS] * 8).spread
    assert (spread.max() == 0) == alike


def test_a_reward_model_is_never_changed_by_what_is_made_of_it(tmp_path: Path) -> None:
    trainer = bradley_terry(ensemble=2)
    first = fit(trainer, judged(50), turn=Turn(0, 2))
    before = first.score(ITEMS, [ARMS] * 8).mean
    second = fit(trainer, judged(100), start=first, turn=Turn(1, 2))
    assert (first.score(ITEMS, [ARMS] * 8).mean == before).all()
    assert (second.score(ITEMS, [ARMS] * 8).mean != before).any()


@pytest.mark.parametrize("ensemble", [1, 2])
def test_going_on_from_what_was_saved_equals_never_having_stopped(ensemble: int, tmp_path: Path) -> None:
    trainer, source = bradley_terry(ensemble=ensemble, whole=4, batch=16), agent()
    first = fit(trainer, judged(50), turn=Turn(0, 2))
    (tmp_path / "first").mkdir()
    first.save(tmp_path / "first")
    again = trainer.load(tmp_path / "first", task=TASK, assistant=source)
    assert (again.score(ITEMS, [ARMS] * 8).mean == first.score(ITEMS, [ARMS] * 8).mean).all()
    digests = []
    for name, start in (("never", first), ("stopped", again)):
        (tmp_path / name).mkdir()
        fit(trainer, judged(90), start=start, turn=Turn(1, 2), seed=Seed(1)).save(tmp_path / name)
        digests.append(digest(tmp_path / name))
    assert digests[0] == digests[1]
    (tmp_path / "again").mkdir()
    again.save(tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "first")


def test_no_feedback_is_no_lesson() -> None:
    reward = fit(bradley_terry(), [])
    assert isinstance(reward, NetworkReward)
    assert (reward.score(ITEMS, [ARMS] * 8).mean == 0).all()  # the read-out begins at 0


def test_a_tally_counts_and_comes_back_from_disk(tmp_path: Path) -> None:
    trainer = REWARD_TRAINERS.build("tally")
    reward = fit(trainer, judged(300), assistant=Scripted())
    learnt = reward.score(ITEMS, [ARMS] * 8).mean
    assert (learnt.argmax(1) == [int(i.prompt[1:]) % 4 for i in ITEMS]).all()
    assert reward.score([Item(task="bandit", prompt="new")], [ARMS]).mean.tolist() == [[0.0] * 4]
    reward.save(tmp_path)
    again = trainer.load(tmp_path, task=TASK, assistant=Scripted())
    assert (again.score(ITEMS, [ARMS] * 8).mean == learnt).all()


# -- policies over an answer set --------------------------------------------------------------------------------------

POLICIES: dict[str, dict[str, Any]] = {
    "regression": {"last_steps": 40, "rate": 0.02, "pool": "all"},
    "policy-gradient": {"last_steps": 80, "rate": 0.02, "batch": 16},
    "expert-iteration": {"last_steps": 40, "rate": 0.02, "pool": 64, "batch": 32, "n": 4},
}


def improved(policy: str, source: Assistant, *, seed: int = 0, task: Task = TASK, **settings: Any) -> Assistant:
    trainer = POLICY_TRAINERS.build(policy, POLICIES.get(policy, {}) | settings)
    return trainer.improve(source, task, Truth(), turn=Turn(0, 1), seed=Seed(seed))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_becomes_better_and_the_old_one_stays_as_it_was(policy: str) -> None:
    source = agent()
    before = chance(source)
    after = chance(improved(policy, source))
    assert (chance(source) == before).all()
    assert ttest_rel(worth(after), worth(before), alternative="greater").pvalue < 1e-3
    assert worth(after).mean() > 0.85


@pytest.mark.parametrize("policy", ["policy-gradient", "expert-iteration"])
def test_a_writer_becomes_better(policy: str) -> None:
    source = writer()
    before = written_chance(source)[:, 1:5]
    settings = {"n": 16} if policy == "expert-iteration" else {}
    after = written_chance(improved(policy, source, task=Open(), last_steps=40, rate=5e-3, **settings))[:, 1:5]
    assert ttest_rel(worth(after), worth(before), alternative="greater").pvalue < 1e-3


def test_regression_fits_the_softmax_of_the_reward() -> None:
    for beta in (0.3, 1.0):
        after = chance(improved("regression", agent(), beta=beta, last_steps=150))
        wanted = torch.softmax(torch.from_numpy(Truth().score(ITEMS, [ARMS] * 8).mean) / beta, -1).numpy()
        assert np.abs(after - wanted).max() < 0.03


@pytest.mark.parametrize("pool", ["all", "stream", 50])
def test_regression_takes_any_pool(pool: str | int) -> None:
    assert worth(chance(improved("regression", agent(), pool=pool))).mean() > 0.8


def test_the_divergence_keeps_an_agent_near_its_start() -> None:
    orders = []
    for seed in range(3):
        start = agent(seed)
        after = [improved("policy-gradient", start, kl=kl, seed=seed, last_steps=40) for kl in (0.0, 0.5, 5.0)]
        moved = [divergence(chance(a), chance(start)) for a in after]
        orders.append(moved == sorted(moved, reverse=True))
    assert all(orders)  # by chance one time in 216


def test_the_divergence_keeps_a_writer_near_its_start_and_entropy_keeps_it_open() -> None:
    start, settings = writer(), {"task": Open(), "last_steps": 25, "rate": 5e-3, "batch": 8}
    before = written_chance(start)
    after = [written_chance(improved("policy-gradient", start, kl=kl, **settings)) for kl in (0.0, 1.0, 10.0)]
    moved = [divergence(a, before) for a in after]
    assert moved[0] > 1.5 * moved[1] > 3 * moved[2]
    opened = written_chance(improved("policy-gradient", start, kl=0.0, entropy=1.0, **settings))
    entropies = [float(-(p * np.log(p)).sum(1).mean()) for p in (after[0], opened)]
    assert entropies[1] > entropies[0] + 0.3


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_goes_on_from_what_was_saved_as_if_it_had_never_stopped(policy: str, tmp_path: Path) -> None:
    trainer = POLICY_TRAINERS.build(policy, POLICIES[policy] | {"steps": 5, "last_steps": 5})
    first = trainer.improve(agent(), TASK, Truth(), turn=Turn(0, 2), seed=Seed(0))
    (tmp_path / "first").mkdir()
    first.save(tmp_path / "first")
    again = trainer.load(tmp_path / "first", task=TASK, assistant=agent(seed=9), reward=Truth())
    digests = []
    for name, source in (("never", first), ("stopped", again)):
        (tmp_path / name).mkdir()
        trainer.improve(source, TASK, Truth(), turn=Turn(1, 2), seed=Seed(1)).save(tmp_path / name)
        digests.append(digest(tmp_path / name))
    assert digests[0] == digests[1]


def test_weights_inside_wrappers_are_trained_and_stay_wrapped() -> None:
    wrapper = ASSISTANTS.build("corrupted", {"rate": 0.5})
    wrapped = wrapper.around(agent(), TASK)  # type: ignore[attr-defined]
    after = improved("regression", wrapped)
    assert type(after) is type(wrapper)
    assert worth(chance(after.inner)).mean() > 0.85  # type: ignore[attr-defined]


# -- best of n --------------------------------------------------------------------------------------------------------


def test_best_of_n_picks_the_best_and_does_not_nest() -> None:
    source = agent(explore=1.0)
    best = improved("best-of-n", source, n=4)
    seeds = [Seed(i) for i in range(8)]
    said = best.respond(ITEMS, n=3, seeds=seeds)
    assert all(row == [ARMS[int(i.prompt[1:]) % 4]] * 3 for i, row in zip(ITEMS, said, strict=True))
    again = improved("best-of-n", best, n=4)
    assert isinstance(again, Best)
    assert again.inner is source
    assert best.propose(ITEMS, n=2, seeds=seeds) == source.propose(ITEMS, n=2, seeds=seeds)
    assert len(improved("best-of-n", source, n=9).respond(ITEMS, n=2, seeds=seeds)[0]) == 2  # more than there are


def test_best_of_n_works_with_no_weights_and_loads_what_it_stands_on(tmp_path: Path) -> None:
    assert improved("best-of-n", Scripted()).respond(ITEMS, seeds=[Seed(0)] * 8) == [["a"]] * 8
    best = improved("best-of-n", agent())
    best.save(tmp_path)
    again = BestOfN().load(tmp_path, task=TASK, assistant=agent(seed=5), reward=Truth())
    seeds = [Seed(i) for i in range(8)]
    assert again.respond(ITEMS, n=2, seeds=seeds) == best.respond(ITEMS, n=2, seeds=seeds)


# -- given terms ------------------------------------------------------------------------------------------------------


class Likes(RewardTerm):
    """1 for the arm `b`."""

    def value(self, item: Item, text: str) -> float:
        return float(text == "b")


def test_a_shaping_term_fades_to_nothing_and_a_known_one_stays() -> None:
    shaping, known = GivenTerm(Likes(), 2.0, shaping=True), GivenTerm(Likes(), 2.0, shaping=False)
    assert [shaping.weight_at(Turn(n, 5)) for n in range(5)] == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    assert [known.weight_at(Turn(n, 5)) for n in range(5)] == [2.0] * 5
    assert shaping.weight_at(Turn(0, 1)) == 0  # the only round is the last
    learnt = Truth().score(ITEMS, [ARMS] * 8).mean
    extra = np.array([[0.0, 2.0, 0.0, 0.0]] * 8)
    first, last = (objective(Truth(), [shaping], Turn(n, 3), TASK).score(ITEMS, [ARMS] * 8).mean for n in (0, 2))
    assert np.allclose(first, learnt + extra)
    assert np.allclose(last, learnt)
    assert np.allclose(
        objective(Truth(), [known, known], Turn(2, 3), TASK).score(ITEMS, [ARMS] * 8).mean, learnt + 2 * extra
    )
    plain = Truth()
    assert objective(plain, [], Turn(0, 3), TASK) is plain


def test_a_given_term_changes_what_is_learnt() -> None:
    aim = objective(Truth(), [GivenTerm(Likes(), 5.0, shaping=False)], Turn(0, 1), TASK)
    trainer = POLICY_TRAINERS.build("regression", POLICIES["regression"])
    after = trainer.improve(agent(), TASK, aim, turn=Turn(0, 1), seed=Seed(0))
    assert (chance(after).argmax(1) == 1).all()
    length = REWARD_TERMS.build("length", {"per": 2.0})
    assert [length.value(ITEMS[0], t) for t in ("", "abcd")] == [0.0, -2.0]
    pattern = REWARD_TERMS.build("pattern", {"pattern": "[ab]+"})
    assert [pattern.value(ITEMS[0], t) for t in ("abba", "abc", "")] == [1.0, 0.0, 0.0]


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda: fit(bradley_terry(), judged(4), assistant=Scripted()), "tally"),
        (lambda: improved("regression", Scripted()), "'scripted' has none"),
        (lambda: improved("policy-gradient", Scripted()), "'scripted' has none"),
        (lambda: improved("expert-iteration", Scripted()), "'scripted' has none"),
        (lambda: improved("regression", writer(), task=Open()), "finite answer set"),
    ],
)
def test_a_trainer_says_what_it_cannot_train(run: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said) as caught:
        run()
    assert "\n" not in str(caught.value)


# -- determinism ------------------------------------------------------------------------------------------------------


def everything(folder: Path) -> str:
    """A digest of what each trainer makes."""
    reward = fit(bradley_terry(ensemble=2, last_steps=10), judged(40))
    for name in POLICIES:
        place = folder / name
        place.mkdir(parents=True)
        improved(name, agent(), last_steps=8).save(place)
    (folder / "reward").mkdir()
    reward.save(folder / "reward")
    return digest(folder)


def test_the_same_seed_is_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    torch.manual_seed(123)  # whatever was drawn before
    here = everything(tmp_path / "here")
    code = "import pathlib, sys; import test_trainers as t; print(t.everything(pathlib.Path(sys.argv[1])))"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    there = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert there.stdout.strip() == here
