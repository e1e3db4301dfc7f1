"""A small transformer over expressions written in order, whose places are places in a full binary tree."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import PlanError, Task
from rrm.models.scorer import AnswerNetwork, WordCodes
from rrm_assistants._words import WordLearner, WordParts


class TreeTransformer(WordLearner):
    """For prompts that are full binary trees in order ("3 max 4 min 7 max 0").

    Its prior should be told beside any figure: a place is known by its height and its turns left and right, and each
    head starts out looking at a node's children and little outside its subtree. Both are soft and learnt on.
    """

    class Settings(WordLearner.Settings):
        layers: int = Field(default=3, ge=1)
        highest: int = Field(default=6, ge=1)
        """Height of the tallest tree of the family."""
        child: float = 2.0
        """What the attention to a node's children starts with."""
        unrelated: float = -4.0
        """What the attention to nodes neither above nor below starts with."""

    settings: Settings

    def build(self, task: Task) -> AnswerNetwork:
        return TreeNetwork(self.settings, WordCodes(self.vocabulary(task)), len(self.answers))


class TreeNetwork(WordParts, AnswerNetwork):
    """The answers' scores are read at the root."""

    heights: nn.Embedding
    sides: nn.Embedding

    def __init__(self, settings: TreeTransformer.Settings, words: WordCodes, answers: int) -> None:
        highest = settings.highest
        super().__init__(settings, words, answers, heights=highest + 2, sides=2 * highest)
        self._highest = highest
        relations = torch.zeros(2 * highest + 2, settings.layers, settings.heads)
        relations[1], relations[-1] = settings.child, settings.unrelated
        self.relations = nn.Parameter(relations)
        self._shapes: dict[int, Shape] = {}

    def forward(self, codes: Tensor) -> Tensor:
        nodes = codes.shape[1]
        shape = self._shapes.setdefault(nodes, Shape.of(nodes, self._highest))
        place = self.heights(shape.height) + (self.sides(shape.side) * shape.meant[..., None]).sum(1)
        x = self.words(codes) + place
        bias = self.relations[shape.relation].permute(2, 3, 0, 1)
        *before, last = self.blocks
        for layer, block in enumerate(before):
            x = block(x, bias[layer])
        scores: Tensor = self.head(self.norm(last(x, bias[-1], only=nodes // 2)[:, 0]))
        return scores


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
