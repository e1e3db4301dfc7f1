"""What the transformers over words share: their sizes, the vocabulary that they need, and their parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Item, PlanError, Seed, Task
from rrm.models.learner import Learner
from rrm.models.scorer import WordCodes
from rrm.models.transformer import Block, initialise


class WordLearner(Learner):
    """For tasks that say their vocabulary."""

    class Settings(Learner.Settings):
        width: int = Field(default=48, ge=1)
        layers: int = Field(default=2, ge=1)
        heads: int = Field(default=4, ge=1)
        expansion: int = Field(default=2, ge=1)
        soften: float = Field(default=0.1, ge=0, le=1)
        """What the read-out is multiplied by when an agent starts from another level's weights."""

    settings: Settings

    def vocabulary(self, task: Task) -> Sequence[str]:
        """Raises PlanError if the task does not say it, or says another than that of its prompts: a word that is not
        in it is read as any other unknown one."""
        vocabulary = task.vocabulary()
        if vocabulary is None:
            raise PlanError(f"{self.name()!r} needs a task that says its vocabulary, and {task.name()!r} does not")
        lacking = _lacking(type(task), task.settings.model_dump_json())
        if lacking:
            raise PlanError(
                f"vocabulary of task {task.name()!r} lacks words of its own prompts: {lacking}. "
                f"List every word that prompts are made of, split at spaces, or {self.name()!r} cannot tell them apart"
            )
        return vocabulary


@functools.lru_cache(maxsize=256)
def _lacking(of: type[Task], settings: str) -> str:
    """Words of a few prompts, of both splits, that the task's vocabulary does not have: once for all arms and seeds."""
    task = of(of.Settings.model_validate_json(settings))
    seeds = [Seed(0).at("vocabulary", i) for i in range(16)]
    prompts = [task.sample(seed.rng(), held_out=held_out).prompt for held_out in (False, True) for seed in seeds]
    known = set(task.vocabulary() or ())
    lacking = sorted({word for prompt in prompts for word in prompt.split()} - known)
    return ", ".join(repr(word[:40]) for word in lacking[:5])


class WordParts(nn.Module):
    """Embeddings of the words and of each kind of place, transformer blocks, and a read-out that begins at 0."""

    def __init__(self, settings: WordLearner.Settings, codes: WordCodes, outputs: int, **places: int) -> None:
        """`places`: how many of each kind there are, under the name that its embedding gets."""
        super().__init__()
        width = settings.width
        self.codes, self._soften = codes, settings.soften
        self.words = nn.Embedding(codes.size, width)
        for kind, many in places.items():
            self.add_module(kind, nn.Embedding(many, width))
        self.blocks = nn.ModuleList(Block(width, settings.heads, settings.expansion) for _ in range(settings.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        initialise(self)
        nn.init.zeros_(self.head.weight)

    def encode(self, items: Sequence[Item]) -> Tensor:
        """(items, longest prompt) codes."""
        return self.codes.encode(items)

    @torch.no_grad()
    def soften(self) -> None:
        """Make it less sure of itself."""
        self.head.weight.mul_(self._soften)
        self.head.bias.mul_(self._soften)
