"""Reads each image of a set as a number and adds the readings up: deep sets (Zaheer et al. 2017) for sums of scans."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rrm import Item, PlanError, Task
from rrm.models.learner import Learner, drawn
from rrm.models.scorer import AnswerNetwork


class DeepSets(Learner):
    """For prompts that are numbers of scikit-learn's digit images, as many as a power of two; about 51 000 weights.

    Its prior should be told beside any figure: that the answer is a sum of one number an image is built in, so an agent
    that reads images well answers longer sums without having been trained on them. Compare with the zero-shot column.
    """

    class Settings(Learner.Settings):
        explore: float = Field(default=0.2, ge=0, le=1)
        width: int = Field(default=256, ge=1)
        hidden: int = Field(default=128, ge=1)
        values: int = Field(default=10, ge=2)
        """Numbers that one image may stand for, from 0."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        shift: float = Field(default=0.5, ge=0)
        """Images are moved by up to so many pixels while learning: 1297 of them are few to learn reading from."""
        rotate: float = Field(default=0.1, ge=0)
        """… turned by up to so many radians, …"""
        scale: float = Field(default=0.05, ge=0, lt=1)
        """… grown or shrunk by up to this share, …"""
        noise: float = Field(default=0.05, ge=0)
        """… and blurred by noise of this deviation, of a brightness of 1."""
        soften: float = Field(default=0.2, ge=0, le=1)
        """What the scores are multiplied by when an agent starts from another level's weights."""

    settings: Settings

    def check(self, task: Task) -> None:
        for item in drawn(task):
            if not all(w.isascii() and w.isdigit() and int(w) < len(_images()) for w in item.prompt.split()):
                raise PlanError(
                    f"'deep-sets' reads prompts of numbers of images, like '17 4', and not those of "
                    f"{task.name()!r}, like {item.prompt[:60]!r}: cast another learner"
                )
        super().check(task)

    def build(self, task: Task) -> AnswerNetwork:
        return SumOfReadings(self.settings, _images(), len(self.answers))


class SumOfReadings(AnswerNetwork):
    """An answer's score is the log-probability that independent readings of the images add up to it."""

    def __init__(self, settings: DeepSets.Settings, images: Tensor, answers: int) -> None:
        super().__init__()
        self._settings, self._answers = settings, answers
        self.register_buffer("images", images, persistent=False)
        self.images: Tensor
        self.read = nn.Sequential(
            nn.Flatten(),
            nn.Linear(images[0].numel(), settings.width),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, settings.values),
        )
        self.gain = nn.Parameter(torch.ones(()))

    def encode(self, items: Sequence[Item]) -> Tensor:
        last = len(self.images) - 1
        rows = [[min(int(w), last) if w.isascii() and w.isdigit() else 0 for w in i.prompt.split()] for i in items]
        return torch.tensor(rows, dtype=torch.long).view(len(rows), -1)

    def forward(self, codes: Tensor) -> Tensor:
        pixels = self.images[codes.flatten()]
        if self.training:
            pixels = _distorted(pixels, self._settings)
        chance = self.read((pixels - 0.3) * 2.5).unflatten(0, codes.shape).softmax(-1)
        while chance.shape[1] > 1:
            chance = _added(chance[:, ::2], chance[:, 1::2])
        total = functional.pad(chance[:, 0], (0, max(0, self._answers - chance.shape[-1])))[:, : self._answers]
        # A floor: what seems impossible must still be comparable, and its gradient finite.
        return self.gain * total.clamp_min(1e-20).log()

    @torch.no_grad()
    def soften(self) -> None:
        self.gain.mul_(self._settings.soften)


def _distorted(images: Tensor, settings: DeepSets.Settings) -> Tensor:
    """A small random affine map of each (1, side, side) image, then noise."""
    count, side = len(images), images.shape[-1]
    draw = torch.rand(4, count) * 2 - 1
    angle, size = draw[0] * settings.rotate, 1 + draw[1] * settings.scale
    cos, sin = size * angle.cos(), size * angle.sin()
    move = draw[2:] * (2 * settings.shift / side)
    maps = torch.stack([torch.stack([cos, -sin, move[0]], 1), torch.stack([sin, cos, move[1]], 1)], 1)
    grid = functional.affine_grid(maps, [count, 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False) + settings.noise * torch.randn_like(images)


def _added(left: Tensor, right: Tensor) -> Tensor:
    """The distribution of the sum of two independent numbers: (…, m) and (…, n) give (…, m + n - 1)."""
    m, n = left.shape[-1], right.shape[-1]
    products = functional.pad(left[..., :, None] * right[..., None, :], (0, m))
    # Flattened with m columns of padding, row i of the products starts i places later: the columns are the sums.
    skewed = products.flatten(-2)[..., : m * (m + n - 1)]
    return skewed.view(*skewed.shape[:-1], m, m + n - 1).sum(-2)


@functools.lru_cache(maxsize=1)
def _images() -> Tensor:
    """(1797, 1, 8, 8) in 0..1."""
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().data / 16).float()
    side = math.isqrt(pixels.shape[1])
    return pixels.view(len(pixels), 1, side, side)
