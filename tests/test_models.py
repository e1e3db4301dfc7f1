"""The torch that rooms share: draws by address, masks, the optimiser's memory, words and tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from torch import nn

from rrm import Item, MissingWeights, PlanError, RrmError, Seed, Task, Turn
from rrm.models import weights
from rrm.models.learner import TorchAssistant
from rrm.models.noise import gumbel, uniform
from rrm.models.optimizer import Optimizer, Schedule
from rrm.models.scorer import WordCodes
from rrm.models.tokens import Bytes, Characters, Tokens
from rrm.models.transformer import Block, hide_padding
from rrm.registry import ASSISTANTS, TASKS
from rrm.testing import check_assistant
from rrm_assistants.packed_transformer import PackedAnswers, PackedScorer, PackedTransformer

torch.set_num_threads(1)

# -- draws by address -------------------------------------------------------------------------------------------------


def test_uniform_draws_are_uniform_along_rows_along_columns_and_between_salts() -> None:
    seeds = [Seed(7).at(i) for i in range(400)]
    drawn = uniform(seeds, 50)
    assert kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    assert kstest(uniform([Seed(0)], 20_000)[0], "uniform").pvalue > 1e-3
    assert kstest(uniform([Seed(i) for i in range(20_000)], 1)[:, 0], "uniform").pvalue > 1e-3  # neighbouring seeds
    pairs = np.floor(4 * drawn[:, :-1]) * 4 + np.floor(4 * drawn[:, 1:])  # neighbours are independent
    assert chisquare(np.bincount(pairs.astype(int).ravel(), minlength=16)).pvalue > 1e-3
    assert abs(np.corrcoef(drawn.ravel(), uniform(seeds, 50, salt=1).ravel())[0, 1]) < 4 / np.sqrt(drawn.size)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(1, 7), st.integers(0, 3))
def test_a_row_depends_on_its_seed_alone(values: list[int], width: int, salt: int) -> None:
    seeds = [Seed(v) for v in values]
    together = uniform(seeds, width, salt)
    assert ((together > 0) & (together < 1)).all()
    for row, seed in zip(together, seeds, strict=True):
        assert (row == uniform([seed], width, salt)[0]).all()
    longer = uniform(seeds, width * (salt + 1))  # salt s of width w is columns sw … of one long stream
    assert (longer[:, salt * width :] == together).all()


def test_gumbel_noise_samples_a_softmax() -> None:
    chance = np.array([0.5, 0.3, 0.15, 0.05])
    picks = (np.log(chance) + gumbel([Seed(1).at(i) for i in range(8000)], 4)).argmax(1)
    assert chisquare(np.bincount(picks, minlength=4), 8000 * chance).pvalue > 1e-3


# -- packing ----------------------------------------------------------------------------------------------------------


def packed() -> PackedScorer:
    ready = PackedTransformer().prepare(TASKS.build("glossary"), seed=Seed(0))
    assert isinstance(ready, TorchAssistant)
    scorer = ready.scorer(TASKS.build("glossary"), seed=Seed(1))
    assert isinstance(scorer, PackedScorer)
    torch.manual_seed(0)
    for parameter in scorer.parameters():  # the read-out starts at 0, where everything agrees
        nn.init.normal_(parameter, std=0.3)
    return scorer.eval()


def scores(scorer: PackedScorer, item: Item, texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        return scorer(*scorer.encode([item], [texts]))[0]


def test_packed_candidates_do_not_see_each_other() -> None:
    scorer, item = packed(), TASKS.build("glossary").sample(Seed(3).rng())
    one, other = scores(scorer, item, ["1", "2 3", "4"]), scores(scorer, item, ["1", "5 6", "4"])
    assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert (one[1] - other[1]).abs() > 1e-3  # and yet each is read, word by word
    assert (scores(scorer, item, ["2 3"])[0] - scores(scorer, item, ["3 2"])[0]).abs() > 1e-3
    turned = scores(scorer, item, ["4", "2 3", "1"])
    assert torch.allclose(turned, one.flip(0), atol=1e-6)
    alone = torch.cat([scores(scorer, item, [text]) for text in ("1", "2 3", "4")])
    assert torch.allclose(one, alone, atol=1e-5)


def test_padding_changes_no_packed_score_and_makes_no_nan() -> None:
    scorer, task = packed(), TASKS.build("glossary")
    item = task.sample(Seed(3).rng())
    long = item.model_copy(update={"prompt": item.prompt + " 1 2 3"})
    with torch.enable_grad():
        both = scorer(*scorer.encode([item, long], [["1", ""], ["2", "1 2 3 4"]]))
        both.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in scorer.parameters() if p.grad is not None)
    assert torch.allclose(both[0], scores(scorer, item, ["1", ""]), atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_a_packed_agent_scores_the_answer_set_as_its_candidates() -> None:
    task = TASKS.build("glossary")
    ready = PackedTransformer().prepare(task, seed=Seed(0))
    assert isinstance(ready, PackedTransformer)
    assert isinstance(ready.network, PackedAnswers)
    nn.init.normal_(ready.network.packed.head.weight)
    items = [task.sample(Seed(i).rng()) for i in range(3)]
    as_scorer = PackedScorer(ready.network.packed)
    with torch.inference_mode():
        expected = as_scorer(*as_scorer.encode(items, [ready.answers] * 3)).numpy()
    assert np.allclose(ready.logits(items), expected, atol=1e-6)
    check_assistant(PackedTransformer(), task)
    with pytest.raises(PlanError, match="vocabulary"):
        PackedTransformer().prepare(TASKS.build("letter-count"), seed=Seed(0))


@pytest.mark.parametrize("name", ["word-transformer", "packed-transformer", "tree-transformer"])
def test_who_reads_words_asks_for_a_vocabulary_before_anything_is_trained(name: str) -> None:
    with pytest.raises(
        PlanError, match=f"^'{name}' needs a task that says its vocabulary, and 'letter-count' does not"
    ):
        ASSISTANTS.build(name).check(TASKS.build("letter-count"))


@pytest.mark.parametrize("name", ["word-transformer", "packed-transformer"])
def test_a_vocabulary_that_lacks_words_of_prompts_is_refused_before_anything_is_trained(name: str) -> None:
    """Such a network would read every prompt as the same row of unknown words, and learn nothing, without a word."""
    bits = Bits(Bits.Settings(words=("x",)))
    with pytest.raises(PlanError, match=r"^vocabulary of task 'bits' lacks words of its own prompts: '0', '1'") as told:
        ASSISTANTS.build(name).check(bits)
    assert "\n" not in str(told.value)
    with pytest.raises(PlanError, match=r"prompts: '1'\. List every word"):
        ASSISTANTS.build(name).check(Bits(Bits.Settings(words=("0", "of another level"))))
    ASSISTANTS.build(name).check(Bits(Bits.Settings(words=("x", "1", "0"))))


class Bits(Task):
    """Prompts of "0" and "1", and the vocabulary that it is told to say."""

    class Settings(Task.Settings):
        words: tuple[str, ...]

    settings: Settings

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="bits", prompt=" ".join(rng.choice("01") for _ in range(3)))

    def answers(self, item: Item) -> Sequence[str]:
        return ("no", "yes")

    def vocabulary(self) -> Sequence[str]:
        return self.settings.words


def test_hidden_places_change_nothing_in_a_block() -> None:
    torch.manual_seed(0)
    block, codes = Block(8, 2), torch.tensor([[1, 2, 3, 0, 0]])
    x = torch.randn(1, 5, 8)
    seen = block(x, hide_padding(codes))[:, :3]
    assert torch.allclose(seen, block(x[:, :3]), atol=1e-6)
    assert torch.allclose(block(x, hide_padding(codes), only=1)[:, 0], seen[:, 1], atol=1e-6)
    assert hide_padding(codes[:, :3]) is None
    with pytest.raises(ValueError, match="multiple"):
        Block(9, 2)


# -- words and tokens -------------------------------------------------------------------------------------------------


def test_words_that_are_not_known_are_one_word() -> None:
    words = WordCodes(["a", "b", "a"])
    assert words.size == 4
    items = [Item(task="", prompt="a x b"), Item(task="", prompt="y"), Item(task="", prompt="")]
    assert words.encode(items).tolist() == [[2, 1, 3], [1, 0, 0], [0, 0, 0]]
    assert words.encode([]).shape == (0, 0)


@pytest.mark.parametrize("tokens", [Bytes(), Characters("abc 0123é")])
def test_tokens_come_back_as_text(tokens: Tokens) -> None:
    for text in ("abc", "é 01", "", "a\N{REPLACEMENT CHARACTER}b"):
        assert tokens.text(tokens.answer(text)) == text
        assert max([*tokens.answer(text), 0]) < tokens.end < tokens.size
    assert tokens.prompt("")  # something for the answer to stand behind
    assert tokens.prompt("ab") == [*tokens.answer("ab"), tokens.end]


@given(st.text(max_size=20))
def test_any_text_has_tokens(text: str) -> None:
    assert Bytes().text(Bytes().answer(text)) == text.encode(errors="replace").decode()
    assert len(Characters("ab").answer(text)) == len(text)


# -- the optimiser ----------------------------------------------------------------------------------------------------


def squares(line: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (line(x)[:, 0] - x.sum(1) - 1).square().mean()


def learn(rounds: list[int], stop_after: int | None, folder: Path) -> list[float]:
    """Fit a line over rounds, writing to disk and reading back after round `stop_after`."""
    torch.manual_seed(0)
    line, memory = nn.Linear(3, 1), {}
    x = torch.randn(64, 3)
    schedule = Schedule(steps=7, last_steps=11, rate=0.05, warm_up=4)
    for number in rounds:
        optimizer = Optimizer.over([([line.weight], 1.0), ([line.bias], 0.5)], schedule, memory)
        fit = functools.partial(squares, line, x)
        optimizer.run(Turn(number, len(rounds)), lambda _, fit=fit: fit())  # type: ignore[misc]
        memory = optimizer.memory()
        if number == stop_after:
            weights.save(folder / "weights.safetensors", line.state_dict())
            weights.save(folder / "memory.safetensors", memory)
            line, memory = nn.Linear(3, 1), weights.read(folder / "memory.safetensors")
            weights.restore(line, folder / "weights.safetensors")
    return [*line.weight.detach().flatten().tolist(), float(line.bias.detach())]


@pytest.mark.parametrize(
    ("settings", "rounds", "expected"),
    [({}, 3, [7, 7, 11]), ({"first_steps": 5}, 3, [5, 7, 11]), ({"first_steps": 0}, 2, [0, 11]),
     ({"first_steps": 5}, 1, [11])],
)  # fmt: skip
def test_the_first_and_the_last_round_may_have_other_steps(
    settings: dict[str, int], rounds: int, expected: list[int]
) -> None:
    schedule = Schedule(steps=7, last_steps=11, **settings)
    assert [schedule.steps_in(Turn(number, rounds)) for number in range(rounds)] == expected


def test_an_interrupted_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    never = learn([0, 1, 2], None, tmp_path)
    for stop in (0, 1):
        assert learn([0, 1, 2], stop, tmp_path) == never


def test_a_parameter_that_was_never_reached_begins_anew_from_the_memory() -> None:
    used, spare = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    schedule = Schedule(steps=3, warm_up=0, weight_decay=0)
    first = Optimizer.over([([spare, used], 1.0)], schedule, {})
    first.run(Turn(0, 3), lambda _: used.square().sum())
    memory = first.memory()
    assert memory["step"].tolist() == [0, 3]
    second = Optimizer.over([([spare, used], 1.0)], schedule, memory)
    second.run(Turn(1, 3), lambda _: spare.square().sum())
    never = nn.Parameter(torch.ones(3))
    Optimizer.over([([never], 1.0)], schedule, {}).run(Turn(0, 3), lambda _: never.square().sum())
    assert torch.equal(spare, never)  # its moments and its step count are those of the first step
    assert second.memory()["step"].tolist() == [3, 3]


@pytest.mark.parametrize("size", [0.3, 0.9985, 0.9995, 1.0, 40.0, float("nan")])
def test_gradients_are_clipped_as_torch_clips_them(size: float) -> None:
    ours, theirs = (
        [nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(1))] for _ in "ab"
    )
    draws = torch.randn(11, generator=torch.Generator().manual_seed(3))
    parts = (draws * size / draws.norm()).split([5, 6])
    for parameters in (ours, theirs):
        for parameter, part in zip(parameters, parts, strict=False):  # the last one has no gradient
            parameter.grad = part.view_as(parameter).clone()
    Optimizer.over([(ours, 1.0)], Schedule(), {}).clip()
    nn.utils.clip_grad_norm_(theirs, 1.0)
    for mine, its in zip(ours[:2], theirs[:2], strict=True):
        assert mine.grad is not None
        assert its.grad is not None
        assert torch.equal(mine.grad.nan_to_num(7), its.grad.nan_to_num(7))


def test_rates_warm_up_and_decay_only_in_the_last_round() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    schedule = Schedule(steps=4, last_steps=4, rate=1.0, warm_up=2, min_rate=0.5, weight_decay=0)
    optimizer = Optimizer.over([([parameter], 2.0)], schedule, {})
    rates: list[float] = []

    def loss(_: int) -> torch.Tensor:
        rates.append(optimizer.adam.param_groups[0]["lr"])
        return parameter.sum()

    optimizer.run(Turn(0, 2), loss)
    optimizer.run(Turn(1, 2), loss)
    assert rates == [1.0, 2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("rate", "loss"),
    [(1.0, lambda w: w.sum() / 0.0), (1e30, lambda w: (w * 1e30).square().sum()), (3e38, lambda w: w.sum())],
    ids=["the loss is infinite", "the loss becomes infinite", "the weights alone become infinite"],
)
def test_training_that_diverged_ends_in_a_line(rate: float, loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weight = nn.Parameter(torch.ones(2))
    schedule = Schedule(steps=2, rate=rate, warm_up=0, weight_decay=0)
    optimizer = Optimizer.over([([weight], 1.0)], schedule, {})
    with pytest.raises(RrmError, match=r"training diverged: after 2 steps at rate = .*; set a lower rate"):
        optimizer.run(Turn(0, 2), lambda _: loss(weight))


# -- weights ----------------------------------------------------------------------------------------------------------


def tied() -> nn.ModuleDict:
    both = nn.ModuleDict({"read": nn.Embedding(5, 3), "write": nn.Linear(3, 5, bias=False)})
    both["write"].weight = both["read"].weight
    return both


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    one, other = tied(), tied()
    weights.save(tmp_path / "w.safetensors", one.state_dict())
    assert list(weights.read(tmp_path / "w.safetensors")) == ["read.weight"]
    weights.restore(other, tmp_path / "w.safetensors")
    assert torch.equal(one["write"].weight, other["write"].weight)
    assert other["write"].weight is other["read"].weight


def test_weights_are_the_same_bytes_and_damage_is_one_clear_line(tmp_path: Path) -> None:
    line = nn.Linear(2, 2)
    weights.save(tmp_path / "a", line.state_dict())
    weights.save(tmp_path / "b", dict(reversed(line.state_dict().items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-3])
    for path in (tmp_path / "b", tmp_path / "none"):
        with pytest.raises(MissingWeights, match="run the plan again"):
            weights.read(path)
    with pytest.raises(MissingWeights, match="another network"):
        weights.restore(nn.Linear(3, 2), tmp_path / "a")
    with pytest.raises(MissingWeights, match="another network"):
        weights.restore(tied(), tmp_path / "a")


# -- learners ---------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_proposals_are_different_answers_and_explore(seed: int) -> None:
    task = TASKS.build("glossary")
    ready = ASSISTANTS.build("word-transformer", {"explore": 0.5}).prepare(task, seed=Seed(0))
    items = [task.sample(Seed(seed).at(i).rng()) for i in range(4)]
    rows = ready.propose(items, n=5, seeds=[Seed(seed).at("a", i) for i in range(4)])
    assert all(len(set(row)) == 5 for row in rows)


def test_samples_follow_the_log_probabilities() -> None:
    task = TASKS.build("glossary")
    ready = PackedTransformer(PackedTransformer.Settings(explore=0.9)).prepare(task, seed=Seed(0))
    assert isinstance(ready, PackedTransformer)
    assert isinstance(ready.network, PackedAnswers)
    nn.init.normal_(ready.network.packed.head.weight, std=0.3)
    item = task.sample(Seed(1).rng())
    drawn = ready.sample([item], n=4000, seeds=[Seed(5)])[0]
    chance = ready.log_prob([item] * len(ready.answers), ready.answers).exp().detach().double().numpy()
    assert chance.max() - chance.min() > 0.05
    counts = [drawn.count(answer) for answer in ready.answers]
    assert chisquare(counts, 4000 * chance / chance.sum()).pvalue > 1e-3
