"""Causal language models of any Hugging Face architecture: built small from a config, or loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, JsonValue
from torch import Tensor, nn

from rrm.errors import PlanError
from rrm.models import sampling
from rrm.models.sampling import PAD, left_padded, right_padded
from rrm.models.scorer import AnswerNetwork, Scorer
from rrm.models.tokens import Bytes, Characters, Pretrained, Tokens
from rrm.records import Item, Record
from rrm.seed import Seed

_DEFAULT: dict[str, JsonValue] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    # transformers' default 0.02 is for widths of a thousand: at 64 the signal all but vanishes at first.
    "initializer_range": 0.06,
    # The same function as GPT-2's gelu_new, which costs a fifth of a small model's time.
    "activation_function": "gelu_pytorch_tanh",
}
"""Small sizes that an architecture gets unless the plan says otherwise."""


class LanguageSettings(Record):
    """Which language model, and how prompts and answers become tokens."""

    model: str = ""
    """Folder of a model, or its hub name. Empty: built from `architecture` and `config`, with random weights."""
    architecture: str = "llama"
    """Name of a causal architecture that transformers knows: "gpt2", "llama", "gpt_neox", "qwen2", "opt" …"""
    config: dict[str, JsonValue] = Field(default={})
    """Sizes and other settings of the architecture, by transformers' names: {"hidden_size": 128}."""
    alphabet: str = ""
    """Of a model built from a config: its characters, one token each. Empty: one token a UTF-8 byte, so any text."""
    download: bool = False
    """Whether a model that is not on this machine may be fetched from the hub."""
    chat: bool = False
    """Whether prompts go through the model's chat template."""
    longest: int = Field(default=256, ge=1)
    """Tokens that a prompt may have."""
    max_new_tokens: int = Field(default=16, ge=1)
    """Tokens of an answer at most, its end among them; longer ones are cut."""
    batch: int = Field(default=256, ge=1)
    """Prompts read at once when nothing is learnt from them."""


class Language(nn.Module):
    """A causal language model with its tokens: writes answers, and says how likely they are."""

    def __init__(self, settings: LanguageSettings) -> None:
        """Random weights come from torch's generator. Raises PlanError where there is no such model."""
        super().__init__()
        self.settings = settings
        self.tokens, self.model = _loaded(settings) if settings.model else _built(settings)

    def prompts(self, items: Sequence[Item]) -> Tensor:
        """(items, longest) left-padded tokens. Raises PlanError if one is longer than the settings say."""
        rows = [self.tokens.prompt(item.prompt) for item in items]
        most = max(map(len, rows), default=0)
        if most > self.settings.longest:
            raise PlanError(f"a prompt has {most} tokens: set the assistant's longest = {most} (or more)")
        return left_padded(rows)

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's tokens, with the end token unless it was cut, as it would be written."""
        most = self.settings.max_new_tokens
        return [[*self.tokens.answer(text), self.tokens.end][:most] for text in texts]

    def log_prob(self, items: Sequence[Item], texts: Sequence[str]) -> Tensor:
        """(items,) log-probability that text i, and nothing more, is written behind prompt i; differentiable.

        Equal items share one read. Of a text that tokens can spell in several ways, the tokenizer's way counts.
        """
        distinct = {item.prompt: item for item in items}
        place = {prompt: i for i, prompt in enumerate(distinct)}
        owner = torch.tensor([place[item.prompt] for item in items])
        codes = right_padded(self.answers(texts))
        return sampling.log_likelihood(self.model, self.prompts(list(distinct.values())), owner, codes)

    def write(
        self, items: Sequence[Item], *, numbers: Sequence[int], temperature: float, seeds: Sequence[Seed]
    ) -> list[list[str]]:
        """An answer to each item for each of `numbers`, drawn by item, seed and number alone."""
        settings, size = self.settings, self.settings.batch
        found: list[list[str]] = []
        for at in range(0, len(items), size):
            rows = sampling.write(
                self.model, self.prompts(items[at : at + size]), end=self.tokens.end, longest=settings.max_new_tokens,
                temperature=temperature, seeds=seeds[at : at + size], numbers=numbers,
            )  # fmt: skip
            found += [[self.tokens.text(said) for said in row] for row in rows]
        return found


class AnswerLikelihood(AnswerNetwork):
    """Chooses from a finite answer set: an answer's score is its log-likelihood behind the prompt, read once.

    Where no answer begins another, their ends are left out: answers of one token then cost no second read.
    """

    def __init__(self, language: Language, answers: Sequence[str]) -> None:
        super().__init__()
        self.model, self._language, self.chunk = language.model, [language], language.settings.batch
        rows = [language.tokens.answer(text) for text in answers]
        if any(a[: len(b)] == b for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j):
            rows = [[*row, language.tokens.end] for row in rows]
        self._answers = right_padded(rows)

    def encode(self, items: Sequence[Item]) -> Tensor:
        return self._language[0].prompts(items)

    def forward(self, codes: Tensor) -> Tensor:
        many, texts = len(codes), self._answers
        if texts.shape[1] == 1:
            last = sampling.read(self.model, codes).last
            return torch.log_softmax(last.float(), -1)[:, texts[:, 0]]
        owner = torch.arange(many).repeat_interleave(len(texts))
        return sampling.log_likelihood(self.model, codes, owner, texts.repeat(many, 1)).view(many, len(texts))


class PromptedScorer(Scorer):
    """A language model's body with a scalar read at an answer's end; all candidates share one read of the prompt."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.model, self._language, self.chunk = language.model.base_model, [language], language.settings.batch
        with torch.no_grad():  # what comes out of a body may be narrower or wider than what goes in
            width = sampling.read(self.model, torch.tensor([[language.tokens.end]])).last.shape[-1]
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=0.1 * width**-0.5)  # small, and not 0: members of an ensemble differ
        nn.init.zeros_(self.head.bias)

    def encode(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        language = self._language[0]
        most = language.settings.max_new_tokens
        texts = [language.tokens.answer(text)[: most - 1] for row in candidates for text in row]
        codes = right_padded([[*row, language.tokens.end] for row in texts])
        return language.prompts(items), codes.view(len(items), -1, codes.shape[1])

    def forward(self, *codes: Tensor) -> Tensor:
        prompts, candidates = codes
        many, each, _ = candidates.shape
        texts = candidates.flatten(0, 1)
        length = (texts != PAD).sum(1)
        owner = torch.arange(many).repeat_interleave(each)
        before = sampling.spread_out(sampling.read(self.model, prompts), owner)
        out = sampling.follow(self.model, before, texts[:, : int(length.max())])
        scores: Tensor = self.head(out[torch.arange(len(texts)), length - 1].float())
        return scores.view(many, each)


# -- building and loading ---------------------------------------------------------------------------------------------


def _built(settings: LanguageSettings) -> tuple[Tokens, Any]:
    transformers = import_module("transformers")
    tokens: Tokens = Characters(settings.alphabet) if settings.alphabet else Bytes()
    name, version = settings.architecture, transformers.__version__
    if name not in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise PlanError(f"transformers {version} knows no causal language model of architecture {name!r}")
    config = _sizes(transformers.AutoConfig.for_model(name), settings, tokens)
    try:
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(name, **config))
    except Exception as error:  # whatever transformers makes of sizes that do not fit together
        raise PlanError(f"architecture {name!r} cannot be built with {settings.config}: {_line(error)}") from None
    return tokens, _checked(model, name)


def _sizes(known: Any, settings: LanguageSettings, tokens: Tokens) -> dict[str, JsonValue]:
    """An architecture's config: what the plan says, small sizes for the rest. `known` has the architecture's keys."""
    follows = {"vocab_size": "alphabet", "max_position_embeddings": "longest and max_new_tokens"}
    for key in settings.config:
        if key in follows:
            raise PlanError(f"config key {key!r} follows from the assistant's settings: set {follows[key]} instead")
        if not _settable(known, key):
            where = f"see {type(known).__name__} in transformers"
            raise PlanError(f"architecture {settings.architecture!r} has no config key {key!r}: {where}")
    sizes = _DEFAULT | settings.config
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    derived: dict[str, JsonValue] = {"num_key_value_heads": heads, "word_embed_proj_dim": width}
    if isinstance(width, int) and isinstance(heads, int) and heads > 0:
        derived |= {"intermediate_size": 2 * width, "n_inner": 2 * width, "ffn_dim": 2 * width}
        derived |= {"head_dim": width // heads}
    needed = {"bos_token_id": tokens.end, "eos_token_id": tokens.end, "pad_token_id": None}
    longest = settings.longest + settings.max_new_tokens
    sizes = derived | sizes | needed | {"vocab_size": tokens.size, "max_position_embeddings": longest}
    return {key: value for key, value in sizes.items() if key in needed or _settable(known, key)}


def _settable(config: Any, key: str) -> bool:
    return hasattr(config, key) and not isinstance(getattr(type(config), key, None), property)


def _loaded(settings: LanguageSettings) -> tuple[Tokens, Any]:
    check_place(settings)
    transformers = import_module("transformers")
    folder = Path(settings.model).expanduser()
    local = folder.is_dir()
    name = str(folder) if local else settings.model
    # Never pickled weights, never a repository's own code; the network only where the plan allows it.
    trust = {"local_files_only": local or not settings.download, "trust_remote_code": False}
    try:
        with _quiet(transformers):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, **trust
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **trust)
    except Exception as error:  # a damaged file can raise nearly anything
        advice = "" if local or settings.download else " If it is a hub name, download = true fetches it."
        raise PlanError(f"model {settings.model!r} cannot be loaded: {_line(error)}{advice}") from None
    if tokenizer.eos_token_id is None:
        raise PlanError(f"model {settings.model!r}: its tokenizer has no end token, so its answers would never end")
    if settings.chat and not tokenizer.chat_template:
        raise PlanError(f"model {settings.model!r} has no chat template: set chat = false")
    size = int(model.get_input_embeddings().weight.shape[0])
    return Pretrained(tokenizer, size=size, chat=settings.chat), _checked(model, settings.model)


def check_place(settings: LanguageSettings) -> None:
    """Raise PlanError if `model` is a path, and there is no such folder: a path is never looked for on the hub."""
    path = Path(settings.model).expanduser()
    is_path = settings.model.startswith(("/", "./", "../", "~")) or settings.model.count("/") > 1
    if settings.model and is_path and not path.is_dir():
        raise PlanError(
            f"model {settings.model!r}: there is no such folder; a path is relative to the plan, or else to "
            "where `rrm` is called"
        )


def _checked(model: Any, name: str) -> Any:
    # Of a model that keeps a running state (mamba and its kin), what was read cannot be continued in several ways.
    if not sampling.cache_name(model) or model._is_stateful:
        raise PlanError(f"{name!r} keeps no keys and values of what it read, which this assistant needs; try 'llama'")
    return model.eval()


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without transformers' own progress bars: the run shows its own."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
