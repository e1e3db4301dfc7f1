"""Points to one step of a whole episode, or says that there is none to point to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Item, Seed, Task
from rrm.models.learner import Learner
from rrm.models.scorer import AnswerNetwork
from rrm_assistants import _frames
from rrm_assistants.step_reader import read

ABSENT = -8.0
"""The score of a step that an episode does not have."""


class StepPointer(Learner):
    """For prompts "name: frame action frame action frame …"; the first answer is for none, answer k for step k.

    Each step is read by itself, twice: how well one would point to it, and how much it speaks against "none".
    """

    class Settings(Learner.Settings):
        width: int = Field(default=48, ge=1)

    settings: Settings

    def check(self, task: Task) -> None:
        super().check(task)
        read(task, self.name(), longest=len(task.answers(task.sample(Seed(0).rng())) or ()) - 1)

    def build(self, task: Task) -> AnswerNetwork:
        longest = len(self.answers) - 1
        return PointerNetwork(read(task, self.name(), longest=longest), longest, self.settings.width)


class PointerNetwork(AnswerNetwork):
    """Scores for "none" and for each step."""

    def __init__(self, characters: int, longest: int, width: int) -> None:
        super().__init__()
        self._longest, self._wide = longest, characters
        self.reader = _frames.StepReader(characters, 2, width)
        self.none = nn.Parameter(torch.zeros(()))

    def encode(self, items: Sequence[Item]) -> Tensor:
        """(items, steps, characters); -1 where an episode has no such step."""
        steps = [_frames.steps_of(item.prompt)[: self._longest] for item in items]
        codes = torch.full((len(items), self._longest, self._wide), -1)
        flat = _frames.codes([step for row in steps for step in row])
        there = torch.tensor([[k < len(row) for k in range(self._longest)] for row in steps])
        if len(flat):
            codes[there] = flat
        return codes

    def forward(self, codes: Tensor) -> Tensor:
        there = codes[..., 0] >= 0
        point, against = self.reader(codes.clamp(min=0)).unbind(-1)
        against = torch.where(there, against, torch.full_like(against, ABSENT))
        none = self.none - torch.logsumexp(2 * against, -1, keepdim=True) / 2
        return torch.cat([none, torch.where(there, point, torch.full_like(point, ABSENT))], -1)
