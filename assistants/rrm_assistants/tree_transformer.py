"""A small transformer over expressions written in order, whose places are places in a full binary tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Item, PlanError, Task
from rrm.models.learner import Learner
from rrm.models.scorer import AnswerNetwork, WordCodes
from rrm.models.transformer import Block, initialise


class TreeTransformer(Learner):
    """For prompts that are full binary trees in order ("3 max 4 min 7 max 0").

    Its prior should be told beside any figure: a place is known by its height and its turns left and right, and each
    head starts out looking at a node's children and little outside its subtree. Both are soft and learnt on.
    """

    class Settings(Learner.Settings):
        width: int = Field(default=48, ge=1)
        layers: int = Field(default=3, ge=1)
        heads: int = Field(default=4, ge=1)
        expansion: int = Field(default=2, ge=1)
        highest: int = Field(default=6, ge=1)
        """Height of the tallest tree of the family."""
        child: float = 2.0
        """What the attention to a node's children starts with."""
        unrelated: float = -4.0
        """What the attention to nodes neither above nor below starts with."""
        soften: float = Field(default=0.1, ge=0, le=1)
        """What the read-out is multiplied by when an agent starts from another level's weights."""

    settings: Settings

    def build(self, task: Task) -> AnswerNetwork:
        vocabulary = task.vocabulary()
        if vocabulary is None:
            raise PlanError(f"'tree-transformer' needs a task that says its vocabulary, and {task.name()!r} does not")
        return TreeNetwork(self.settings, WordCodes(vocabulary), len(self.answers))


class TreeNetwork(AnswerNetwork):
    """The answers' scores are read at the root."""

    def __init__(self, settings: TreeTransformer.Settings, words: WordCodes, answers: int) -> None:
        super().__init__()
        width, highest = settings.width, settings.highest
        self._codes, self._highest, self._soften = words, highest, settings.soften
        self.words, self.heights = nn.Embedding(words.size, width), nn.Embedding(highest + 2, width)
        self.sides = nn.Embedding(2 * highest, width)
        self.blocks = nn.ModuleList(Block(width, settings.heads, settings.expansion) for _ in range(settings.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, answers)
        initialise(self)
        nn.init.zeros_(self.head.weight)
        relations = torch.zeros(2 * highest + 2, settings.layers, settings.heads)
        relations[1], relations[-1] = settings.child, settings.unrelated
        self.relations = nn.Parameter(relations)
        self._shapes: dict[int, Shape] = {}

    def encode(self, items: Sequence[Item]) -> Tensor:
        return self._codes.encode(items)

    def forward(self, codes: Tensor) -> Tensor:
        nodes = codes.shape[1]
        shape = self._shapes.setdefault(nodes, Shape.of(nodes, self._highest))
        place = self.heights(shape.height) + (self.sides(shape.side) * shape.meant[..., None]).sum(1)
        x = self.words(codes) + place
        bias = self.relations[shape.relation].permute(2, 3, 0, 1)
        for layer, block in enumerate(self.blocks[:-1]):
            x = block(x, bias[layer])
        scores: Tensor = self.head(self.norm(self.blocks[-1](x, bias[-1], only=nodes // 2)[:, 0]))
        return scores

    @torch.no_grad()
    def soften(self) -> None:
        self.head.weight.mul_(self._soften)
        self.head.bias.mul_(self._soften)


class Shape(NamedTuple):
    """Where the nodes of a full tree stand, numbered in order from 1, so that leaves are odd."""

    height: Tensor
    """(nodes,) from 0 at the leaves."""
    side: Tensor
    """(nodes, heights) code of the turn, left or right, under each height."""
    meant: Tensor
    """(nodes, heights) 1 where a turn stands above the node, so that it says something."""
    relation: Tensor
    """(nodes, nodes) distance down if the second is below the first, code of the distance up if above, or unrelated."""

    @classmethod
    def of(cls, nodes: int, highest: int) -> Shape:
        """The shape of a tree of `nodes` = 2^(h+1) - 1. Raises PlanError for another number, or too tall a one."""
        levels = (nodes + 1).bit_length() - 1
        if nodes != 2**levels - 1 or levels - 1 > highest:
            raise PlanError(f"a prompt of {nodes} words is not a full binary tree of height at most {highest}")
        number = torch.arange(1, nodes + 1)
        height = torch.tensor([(n & -n).bit_length() - 1 for n in range(1, nodes + 1)])
        turn = torch.arange(1, levels)
        side = ((number[:, None] >> (turn + 1)) & 1) + 2 * (turn - 1)
        meant = (height[:, None] < turn).float()
        span = 2 ** height[:, None]
        below = (number[None] > number[:, None] - span) & (number[None] < number[:, None] + span)
        down = height[:, None] - height[None]
        relation = torch.full((nodes, nodes), 2 * highest + 1)
        relation[below] = down[below]
        above = below.T & (down < 0)
        relation[above] = highest - down[above]
        return cls(height, side, meant, relation)
