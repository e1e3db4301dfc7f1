"""A small transformer over the words of a prompt that scores every answer of a finite answer set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Item, PlanError, Task
from rrm.models.learner import Learner
from rrm.models.scorer import AnswerNetwork, WordCodes
from rrm.models.transformer import Block, hide_padding, initialise


class WordTransformer(Learner):
    """For tasks that say their vocabulary; about 60 000 weights as it stands."""

    class Settings(Learner.Settings):
        width: int = Field(default=48, ge=1)
        layers: int = Field(default=2, ge=1)
        heads: int = Field(default=4, ge=1)
        expansion: int = Field(default=2, ge=1)
        longest: int = Field(default=64, ge=1)
        """Words that a prompt may have."""
        soften: float = Field(default=0.1, ge=0, le=1)
        """What the read-out is multiplied by when an agent starts from another level's weights."""

    settings: Settings

    def build(self, task: Task) -> AnswerNetwork:
        vocabulary = task.vocabulary()
        if vocabulary is None:
            raise PlanError(f"'word-transformer' needs a task that says its vocabulary, and {task.name()!r} does not")
        return WordNetwork(self.settings, WordCodes(vocabulary), len(self.answers))


class WordNetwork(AnswerNetwork):
    """The answers' scores are read at the first word."""

    def __init__(self, settings: WordTransformer.Settings, words: WordCodes, answers: int) -> None:
        super().__init__()
        width = settings.width
        self._codes, self._soften = words, settings.soften
        self.words, self.places = nn.Embedding(words.size, width), nn.Embedding(settings.longest, width)
        self.blocks = nn.ModuleList(Block(width, settings.heads, settings.expansion) for _ in range(settings.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, answers)
        initialise(self)
        nn.init.zeros_(self.head.weight)

    def encode(self, items: Sequence[Item]) -> Tensor:
        return self._codes.encode(items)

    def forward(self, codes: Tensor) -> Tensor:
        x, hidden = self.words(codes) + self.places.weight[: codes.shape[1]], hide_padding(codes)
        for block in self.blocks[:-1]:
            x = block(x, hidden)
        scores: Tensor = self.head(self.norm(self.blocks[-1](x, hidden, only=0)[:, 0]))
        return scores

    @torch.no_grad()
    def soften(self) -> None:
        self.head.weight.mul_(self._soften)
        self.head.bias.mul_(self._soften)
