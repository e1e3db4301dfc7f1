"""The transformer assistant: what it writes, what it chooses, what its reward network scores, and that it learns."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from inspect import Parameter, Signature
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare

from rrm import Assistant, Case, Item, PlanError, Preference, Response, RewardModel, RrmError, Scores, Seed, Task, Turn
from rrm.models import sampling
from rrm.models.language import Language, LanguageSettings, PromptedScorer
from rrm.models.learner import TorchAssistant
from rrm.registry import ASSISTANTS, POLICY_TRAINERS, REWARD_TRAINERS
from rrm.testing import check_assistant
from rrm_assistants.transformer import Transformer, TransformerChooser

torch.set_num_threads(1)

ALPHABET = "abcd>"
TINY: dict[str, Any] = {
    "alphabet": ALPHABET,
    "config": {"hidden_size": 32, "num_attention_heads": 2},
    "max_new_tokens": 3,
    "longest": 16,
}
ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "bloom"]


class Echo(Task):
    """Say the first letter of the prompt. Any text may be answered."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="echo", prompt="".join(rng.choices("abcd", k=rng.randrange(1, 4))) + ">")

    def truth(self, item: Item, text: str) -> float:
        return float(text == item.prompt[0])


class Choice(Echo):
    """The same, from an answer set."""

    def answers(self, item: Item) -> Sequence[str]:
        return ("a", "b", "c", "d")


class Long(Echo):
    """Answers of several tokens, one of which begins another."""

    def answers(self, item: Item) -> Sequence[str]:
        return ("a", "ab", "cd", "")


def made(task: Task, seed: int = 0, **settings: Any) -> TorchAssistant:
    assistant = ASSISTANTS.build("transformer", TINY | settings).prepare(task, seed=Seed(seed))
    assert isinstance(assistant, TorchAssistant)
    for parameter in assistant.network.parameters():  # surer of itself than fresh weights are
        if parameter.dim() > 1:
            parameter.data.mul_(3)
    return assistant


def drawn(task: Task, count: int, seed: int = 1) -> tuple[list[Item], list[Seed]]:
    return [task.sample(Seed(seed).at(i).rng()) for i in range(count)], [Seed(seed).at("s", i) for i in range(count)]


def by_hand(language: Language, item: Item, text: str, *, end: bool = True) -> float:
    """Log-probability of an answer from one plain read of one unpadded row, without a cache."""
    prompt = language.tokens.prompt(item.prompt)
    answer = language.answers([text])[0] if end else language.tokens.answer(text)
    with torch.inference_mode():
        logits = language.model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_written_depends_on_the_item_and_its_seed_alone(architecture: str, temperature: float) -> None:
    agent = made(Echo(), architecture=architecture, temperature=temperature, batch=5)
    items, seeds = drawn(Echo(), 12)
    together = agent.respond(items, n=2, seeds=seeds)
    alone = [agent.respond([item], n=2, seeds=[seed])[0] for item, seed in zip(items, seeds, strict=True)]
    assert together == alone
    assert temperature == 0 or len({text for row in together for text in row}) > 3
    assert [row[:1] for row in together] == agent.respond(items, n=1, seeds=seeds)
    assert agent.deterministic is (temperature == 0)


def test_all_texts_together_have_probability_one_and_are_written_that_often() -> None:
    agent, item = made(Echo(), max_new_tokens=2), Item(task="echo", prompt="ab>")
    letters = [*ALPHABET, "\N{REPLACEMENT CHARACTER}"]
    texts = ["", *letters, *map("".join, itertools.product(letters, repeat=2))]
    chance = agent.log_prob([item] * len(texts), texts).exp().detach().double().numpy()
    assert chance.sum() == pytest.approx(1, abs=1e-5)
    written = agent.sample([item], n=3000, seeds=[Seed(2)])[0]
    counts = np.array([written.count(text) for text in texts])
    few = 3000 * chance < 5  # chi-squared needs a few of each: the rare ones count together
    observed, expected = [*counts[~few], counts[few].sum()], [*(3000 * chance[~few]), 3000 * chance[few].sum()]
    assert chisquare(observed, np.array(expected) / sum(expected) * 3000).pvalue > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_are_those_of_one_plain_read(architecture: str) -> None:
    agent = made(Echo(), architecture=architecture)
    assert isinstance(agent.network, Language)
    items = [Item(task="echo", prompt=p) for p in ("a>", "abcd>", "a>", "cc>")]
    texts = ["a", "bb", "", "dcba"]  # the last is cut at three tokens, so that its end is never written
    found = agent.log_prob(items, texts)
    expected = [by_hand(agent.network, item, text) for item, text in zip(items, texts, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    found.sum().backward()
    gradients = [p.grad for p in agent.network.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_keys_and_values_go_by_the_name_that_the_model_has_for_them(name: str) -> None:
    """Versions of transformers differ in it: the model is one of the other version."""
    agent = made(Echo())
    assert isinstance(agent.network, Language)
    items, seeds = drawn(Echo(), 6)
    expected = agent.log_prob(items, ["ab"] * 6).tolist(), agent.respond(items, seeds=seeds)
    model = agent.network.model
    its = sampling.cache_name(model)

    class Renamed(torch.nn.Module):
        def forward(self, **given: Any) -> dict[str, Any]:
            out = model(**{its if key == name else key: value for key, value in given.items()})
            return {"logits": out.logits, name: out[its]}

    Renamed.forward.__signature__ = Signature(  # type: ignore[attr-defined]
        Parameter(key, Parameter.KEYWORD_ONLY) for key in ("position_ids", name)
    )
    agent.network.model = Renamed()
    assert (agent.log_prob(items, ["ab"] * 6).tolist(), agent.respond(items, seeds=seeds)) == expected


def test_the_likeliest_is_written_at_temperature_0() -> None:
    agent = made(Echo(), max_new_tokens=1)
    items, seeds = drawn(Echo(), 6)
    said = [row[0] for row in agent.respond(items, seeds=seeds)]
    for item, text in zip(items, said, strict=True):
        texts = ["", *ALPHABET, "\N{REPLACEMENT CHARACTER}"]
        assert text == texts[int(agent.log_prob([item] * len(texts), texts).argmax())]


def test_proposals_repeat_less_than_samples() -> None:
    agent = made(Echo())
    items, seeds = drawn(Echo(), 40)
    proposed, sampled = agent.propose(items, n=4, seeds=seeds), agent.sample(items, n=4, seeds=seeds)
    assert all(len(row) == 4 for row in proposed)
    distinct = [sum(len(set(row)) for row in rows) for rows in (proposed, sampled)]
    assert distinct[0] > distinct[1]
    assert all(set(one) >= set(other) for one, other in zip(proposed, sampled, strict=True))


@pytest.mark.parametrize("task", [Echo(), Choice(), Long()])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_it_keeps_the_contract(task: Task, architecture: str) -> None:
    check_assistant(ASSISTANTS.build("transformer", TINY | {"architecture": architecture, "temperature": 1.0}), task)


def test_bytes_write_any_text() -> None:
    check_assistant(ASSISTANTS.build("transformer", TINY | {"alphabet": ""}), Echo())


# -- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("task", [Choice(), Long()])
def test_answers_are_scored_by_their_likelihood(architecture: str, task: Task) -> None:
    agent = made(task, architecture=architecture)
    assert isinstance(agent, TransformerChooser)
    language = Language(LanguageSettings.model_validate(TINY | {"architecture": architecture}))
    language.load_state_dict(agent.network.state_dict())
    items, _ = drawn(task, 5)
    end = isinstance(task, Long)  # where an answer begins another, their ends tell them apart
    expected = np.array([[by_hand(language, item, text, end=end) for text in agent.answers] for item in items])
    assert np.allclose(agent.logits(items), expected, atol=1e-4)
    chance = torch.log_softmax(torch.from_numpy(expected), -1)
    found = agent.log_prob(items, [agent.answers[i % 4] for i in range(5)])
    assert torch.allclose(found.double(), chance[torch.arange(5), torch.arange(5) % 4], atol=1e-4)


def test_a_chooser_can_go_on_from_a_writer_and_the_other_way() -> None:
    writer = made(Echo(), seed=3)
    for task in (Choice(), Echo()):
        source = ASSISTANTS.build("transformer", TINY).prepare(task, start=writer, seed=Seed(9))
        assert isinstance(source, TorchAssistant)
        for name, tensor in source.network.state_dict().items():
            assert torch.equal(tensor, writer.network.state_dict()[name])
    with pytest.raises(PlanError, match="another network"):
        ASSISTANTS.build("transformer", TINY | {"architecture": "gpt2"}).prepare(Echo(), start=writer, seed=Seed(0))


# -- reward networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_candidates_behind_one_read_score_as_if_read_apart(architecture: str) -> None:
    agent = made(Echo(), architecture=architecture)
    network = agent.scorer(Echo(), seed=Seed(4)).eval()
    assert isinstance(network, PromptedScorer)
    torch.nn.init.normal_(network.head.weight)
    items, _ = drawn(Echo(), 4)
    texts = ["a", "", "bcd", "dd"]
    with torch.inference_mode():
        together = network(*network.encode(items, [texts] * 4))
        for i, item in enumerate(items):
            for j, text in enumerate(texts):
                apart = network(*network.encode([item], [[text]]))
                assert float(together[i, j]) == pytest.approx(float(apart), abs=1e-5)
    assert together.std() > 0.01


def test_reward_networks_are_drawn_by_seed() -> None:
    agent = made(Echo())
    one, same, other = (agent.scorer(Echo(), seed=Seed(s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


# -- loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with a tokenizer, as `save_pretrained` leaves it; its embeddings are tied."""
    import tokenizers
    import transformers

    place = tmp_path_factory.mktemp("model")
    words = {word: i for i, word in enumerate(["</s>", "<s>", *ALPHABET])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="</s>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    raw.decoder = tokenizers.decoders.Fuse()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", bos_token="<s>").save_pretrained(place)
    torch.manual_seed(5)
    config = transformers.GPT2Config(
        vocab_size=9, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    return str(place)


def test_a_loaded_model_writes_chooses_and_starts_rewards_from_its_weights(folder: str, tmp_path: Path) -> None:
    settings = {"model": folder, "max_new_tokens": 3, "temperature": 1.0}
    for task in (Echo(), Choice()):
        check_assistant(ASSISTANTS.build("transformer", settings), task)
    agent = ASSISTANTS.build("transformer", settings).prepare(Echo(), seed=Seed(0))
    assert isinstance(agent, Transformer)
    tokens = agent.network.tokens
    assert tokens.text([*tokens.answer("abca"), tokens.end]) == "abca"
    own = agent.network.model.base_model.state_dict()
    rewards = [agent.scorer(Echo(), seed=Seed(s)) for s in (1, 2)]
    for network in rewards:
        assert isinstance(network, PromptedScorer)
        assert all(torch.equal(tensor, own[name]) for name, tensor in network.model.state_dict().items())
    heads = [network.head.weight for network in rewards if isinstance(network, PromptedScorer)]
    assert not torch.equal(heads[0], heads[1])
    agent.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"architecture": "lama"}, "knows no causal language model"),
        ({"architecture": "mamba", "config": {}}, "keeps no keys and values"),
        ({"config": {"hiden_size": 8}}, "no config key 'hiden_size'"),
        ({"config": {"vocab_size": 8}}, "set alphabet instead"),
        ({"architecture": "gpt2", "config": {"hidden_size": 33}}, "cannot be built"),
        ({"config": {"hidden_size": "wide"}}, "cannot be built"),
        ({"model": "/no/such/folder"}, "there is no such folder"),
        ({"model": "./no"}, "there is no such folder"),
        ({"model": "nobody/nothing"}, "download = true"),
        ({"temperature": -1}, "temperature"),
        ({"longest": 2}, "set the assistant's longest = "),
    ],
)
def test_what_cannot_be_is_one_clear_line(settings: dict[str, Any], said: str) -> None:
    def run() -> None:
        built = ASSISTANTS.build("transformer", {**TINY, **settings})
        built.check(Echo())
        agent = built.prepare(Echo(), seed=Seed(0))
        agent.respond([Item(task="echo", prompt="abcd>")], seeds=[Seed(0)])

    with pytest.raises(RrmError, match=said) as caught:
        run()
    assert "\n" not in str(caught.value)


def test_a_damaged_folder_is_one_clear_line(folder: str, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(folder) / name).read_bytes())
    with pytest.raises(PlanError, match="cannot be loaded"):  # no weights
        ASSISTANTS.build("transformer", {"model": str(tmp_path)}).prepare(Echo(), seed=Seed(0))
    (tmp_path / "model.safetensors").write_bytes((Path(folder) / "model.safetensors").read_bytes()[:-8])
    with pytest.raises(PlanError, match="cannot be loaded"):
        ASSISTANTS.build("transformer", {"model": str(tmp_path)}).prepare(Echo(), seed=Seed(0))
    with pytest.raises(PlanError, match="chat template"):
        ASSISTANTS.build("transformer", {"model": folder, "chat": True}).prepare(Echo(), seed=Seed(0))


def test_naming_it_imports_no_transformers() -> None:
    code = "import sys, rrm_assistants.transformer; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# -- learning ---------------------------------------------------------------------------------------------------------


class Truth(RewardModel):
    """The truth as a reward, for tests of policy trainers alone."""

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        mean = np.array([[Echo().truth(i, t) for t in row] for i, row in zip(items, candidates, strict=True)])
        return Scores(mean, np.zeros_like(mean))


def right(agent: Assistant, count: int = 60) -> int:
    items, seeds = drawn(Echo(), count, seed=77)
    return int(sum(Echo().truth(i, row[0]) for i, row in zip(items, agent.respond(items, seeds=seeds), strict=True)))


LEARNING: list[tuple[str, dict[str, Any], type[Task]]] = [
    ("policy-gradient", {"last_steps": 80, "batch": 16, "rate": 5e-3, "kl": 0.01, "entropy": 0.02}, Echo),
    ("policy-gradient", {"last_steps": 60, "batch": 32, "rate": 3e-3}, Choice),
    ("expert-iteration", {"last_steps": 60, "batch": 64, "rate": 3e-3, "pool": 200, "n": 16}, Echo),
    ("regression", {"last_steps": 60, "batch": 64, "rate": 3e-3, "pool": 200}, Choice),
    ("best-of-n", {"n": 40}, Echo),
]


@pytest.mark.parametrize(("policy", "settings", "kind"), LEARNING)
def test_policy_trainers_make_it_better(policy: str, settings: dict[str, Any], kind: type[Task]) -> None:
    task = kind()
    agent = ASSISTANTS.build("transformer", TINY | {"max_new_tokens": 2}).prepare(task, seed=Seed(0))
    trainer = POLICY_TRAINERS.build(policy, settings)
    before = right(agent)
    better = trainer.improve(agent, task, Truth(), turn=Turn(0, 1), seed=Seed(1))
    after = right(better)
    assert right(agent) == before  # the old agent is as it was
    assert binomtest(after, 60, max(before / 60, 0.3), alternative="greater").pvalue < 1e-3, (before, after)


@pytest.mark.parametrize("kind", [Echo, Choice])
def test_the_same_seed_is_the_same_bytes_and_goes_on_from_disk(kind: type[Task], tmp_path: Path) -> None:
    task, digests = kind(), []
    trainer = POLICY_TRAINERS.build("policy-gradient", {"steps": 3, "last_steps": 3, "batch": 4, "group": 4})
    for name in ("one", "other", "stopped"):
        torch.manual_seed(len(digests))  # whatever was drawn before
        agent = ASSISTANTS.build("transformer", TINY | {"architecture": "gpt2"}).prepare(task, seed=Seed(0))
        agent = trainer.improve(agent, task, Truth(), turn=Turn(0, 2), seed=Seed(1))
        folder = tmp_path / name
        folder.mkdir()
        if name == "stopped":
            agent.save(folder)
            blank = ASSISTANTS.build("transformer", TINY | {"architecture": "gpt2"}).prepare(task, seed=Seed(5))
            agent = blank.load(folder)
        trainer.improve(agent, task, Truth(), turn=Turn(1, 2), seed=Seed(2)).save(folder)
        digests.append([(p.name, p.read_bytes()) for p in sorted(folder.iterdir())])
    assert digests[0] == digests[1] == digests[2]


def test_regression_needs_a_finite_answer_set() -> None:
    agent = ASSISTANTS.build("transformer", TINY).prepare(Echo(), seed=Seed(0))
    with pytest.raises(PlanError, match="policy-gradient"):
        POLICY_TRAINERS.build("regression").improve(agent, Echo(), Truth(), turn=Turn(0, 1), seed=Seed(0))


def test_a_reward_model_learns_from_comparisons_of_written_answers() -> None:
    task, agent = Echo(), ASSISTANTS.build("transformer", TINY).prepare(Echo(), seed=Seed(0))
    judged = []
    for i in range(240):
        item, rng = task.sample(Seed(8).at(i).rng()), Seed(8).at("texts", i).rng()
        texts = rng.sample("abcd", 2)
        case = Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in texts))
        worth = [task.truth(item, t) for t in texts]
        judged.append((case, Preference(case=case.id, evaluator="t", first_better=0.5 + (worth[0] - worth[1]) / 2)))
    trainer = REWARD_TRAINERS.build("bradley-terry", {"last_steps": 100, "batch": 64, "rate": 3e-3})
    reward = trainer.fit(judged, task=task, assistant=agent, start=None, turn=Turn(0, 1), seed=Seed(0))
    items, _ = drawn(task, 60, seed=99)
    best = reward.score(items, [list("abcd")] * 60).mean.argmax(1)
    found = sum("abcd"[int(b)] == item.prompt[0] for b, item in zip(best, items, strict=True))
    assert binomtest(found, 60, 0.5, alternative="greater").pvalue < 1e-3, found
