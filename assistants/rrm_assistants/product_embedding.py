"""Counts by comparing: each character meets the letter that is asked for as the product of their embeddings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rrm import Item, PlanError, Task
from rrm.models.learner import Learner, drawn
from rrm.models.sampling import right_padded
from rrm.models.scorer import AnswerNetwork
from rrm.models.transformer import Block

ALPHABET = "abcdefghijklmnopqrstuvwxyz "


class ProductEmbedding(Learner):
    """For prompts "letter:passage" whose answers are small numbers in order; about 15 000 weights without attention.

    Without the product, a transformer of this size learnt to count letters only to .90.
    """

    class Settings(Learner.Settings):
        explore: float = Field(default=0.2, ge=0, le=1)
        width: int = Field(default=32, ge=1)
        layers: int = Field(default=0, ge=0)
        """Attention layers over the passage."""
        heads: int = Field(default=2, ge=1)
        longest: int = Field(default=128, ge=1)
        """Characters that a passage may have."""
        soften: float = Field(default=0.2, ge=0, le=1)
        """What the scores are multiplied by when an agent starts from another level's weights."""

    settings: Settings

    def check(self, task: Task) -> None:
        for item in drawn(task):
            if not re.fullmatch("[a-z]:.*", item.prompt, re.DOTALL):
                raise PlanError(
                    f"'product-embedding' reads prompts of a letter and a passage, like 'e:the sea', and not those of "
                    f"{task.name()!r}, like {item.prompt[:60]!r}: cast another learner"
                )
            if len(item.prompt) - 2 > self.settings.longest:
                raise PlanError(
                    f"'product-embedding' reads passages of at most {self.settings.longest} characters, and "
                    f"{task.name()!r} has one of {len(item.prompt) - 2}: set longest = {len(item.prompt) - 2} or more"
                )
        super().check(task)

    def build(self, task: Task) -> AnswerNetwork:
        return CountNetwork(self.settings, len(self.answers))


class CountNetwork(AnswerNetwork):
    """What is read of each character is summed over the passage, as counts are, and compared with every answer."""

    def __init__(self, settings: ProductEmbedding.Settings, answers: int) -> None:
        super().__init__()
        width = settings.width
        self._soften = settings.soften
        self.letter, self.character = nn.Embedding(26, width), nn.Embedding(27, width)
        self.place = nn.Embedding(settings.longest, width)
        self.mix = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, settings.heads, 2) for _ in range(settings.layers))
        self.norm, self.value = nn.LayerNorm(width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.table = nn.Parameter(torch.zeros(answers, width))
        self.register_buffer("features", _features(answers), persistent=False)
        self.features: Tensor
        self.project = nn.Parameter(torch.zeros(self.features.shape[1], width))
        self.gain = nn.Parameter(torch.ones(()))
        for embedding, deviation in ((self.letter, 0.5), (self.character, 0.5), (self.place, 0.05)):
            nn.init.normal_(embedding.weight, std=deviation)

    def encode(self, items: Sequence[Item]) -> Tensor:
        code = {c: i for i, c in enumerate(ALPHABET)}
        return right_padded([[code.get(c, 26) for c in i.prompt[:1] + i.prompt[2:]] for i in items], 26)

    def forward(self, codes: Tensor) -> Tensor:
        asked = codes[:, :1].clamp(max=25)
        letter, text = self.letter(asked), self.character(codes[:, 1:])
        x = text + letter + self.mix(text * self.character(asked)) + self.place.weight[: codes.shape[1] - 1]
        for block in self.blocks:
            x = block(x)
        h = self.value(functional.relu(self.norm(x))).sum(1) / 4
        h = h + self.down(functional.relu(self.up(h)))
        scores: Tensor = self.gain * (h @ (self.table + self.features @ self.project).T)
        return scores

    @torch.no_grad()
    def soften(self) -> None:
        self.gain.mul_(self._soften)


def _features(answers: int) -> Tensor:
    """(answers, 19): powers and waves of the answer as a number, so that neighbours are scored alike."""
    a = torch.arange(answers).float()
    periods = [2 * 10 ** (i / 7 * math.log10(2 * answers)) for i in range(8)]
    waves = [wave(2 * math.pi * a / p) for p in periods for wave in (torch.sin, torch.cos)]
    return torch.stack([torch.ones(answers), a / answers, (a / answers) ** 2, *waves], 1)
