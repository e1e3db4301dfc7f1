"""Networks that score answers: the architecture that agents and reward models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rrm.models.sampling import right_padded
from rrm.records import Item

CHUNK = 2048
"""Items read at once when nothing is learnt from them, unless a network says otherwise."""


class Scorer(nn.Module, ABC):
    """Scores candidate answers to items; what a reward model is made of."""

    chunk: int = CHUNK
    """Items that it reads at once when nothing is learnt from them: fewer where each takes much memory."""

    @abstractmethod
    def encode(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        """Codes whose first dimension is the item; every item has the same number K of candidates."""

    @abstractmethod
    def forward(self, *codes: Tensor) -> Tensor:
        """(items, K) scores."""

    def groups(self, *, fresh: bool) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters with what multiplies their learning rate. `fresh`: nothing was learnt before this level."""
        return [(list(self.parameters()), 1.0)]


class AnswerNetwork(nn.Module, ABC):
    """Scores every answer of a finite answer set from one read of the item. As an agent, the scores are logits."""

    chunk: int = CHUNK
    """As in `Scorer`."""

    @abstractmethod
    def encode(self, items: Sequence[Item]) -> Tensor:
        """Codes (items, …), long."""

    @abstractmethod
    def forward(self, codes: Tensor) -> Tensor:
        """(items, answers) scores."""

    def soften(self) -> None:
        """Called on an agent that starts from another level's weights: make it less sure of itself, so it explores."""

    def groups(self, *, fresh: bool) -> list[tuple[list[nn.Parameter], float]]:
        """As in `Scorer`."""
        return [(list(self.parameters()), 1.0)]


class AnswerScorer(Scorer):
    """A reward network over a finite answer set: the item is read once, however many candidates are asked for."""

    def __init__(self, network: AnswerNetwork, answers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.chunk = network, network.chunk
        self._place = {text: i for i, text in enumerate(answers)}

    def encode(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        place = self._place
        index = torch.tensor([[place.get(text, -1) for text in row] for row in candidates])
        return self.network.encode(items), index

    def forward(self, *codes: Tensor) -> Tensor:
        read, index = codes
        scores: Tensor = self.network(read)
        if index.shape == scores.shape and torch.equal(index[0], torch.arange(index.shape[1])):
            every = torch.equal(index, index[:1].expand_as(index))
            if every:
                return scores
        # An answer outside the set is worth less than anything in it, and teaches nothing.
        worst = scores.detach().min(dim=1, keepdim=True).values - 1
        return torch.where(index >= 0, scores.gather(1, index.clamp(min=0)), worst)

    def groups(self, *, fresh: bool) -> list[tuple[list[nn.Parameter], float]]:
        return self.network.groups(fresh=fresh)


def in_chunks(
    network: Scorer | AnswerNetwork, count: int, scores: Callable[[slice], Tensor], width: int = 0
) -> NDArray[np.float64]:
    """(count, …) scores of so many items, a chunk at a time, nothing learnt from them; (0, width) of none."""
    network.eval()
    with torch.inference_mode():
        parts = [scores(slice(i, i + network.chunk)) for i in range(0, count, network.chunk)]
    found: NDArray[np.float64] = torch.cat(parts).double().numpy() if parts else np.zeros((0, width))
    return found


class WordCodes:
    """Words to numbers, for prompts that are split at spaces; 0 pads, 1 stands for any word that is not known."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.place = {word: i for i, word in enumerate(dict.fromkeys(vocabulary), start=2)}

    @property
    def size(self) -> int:
        """Codes in all, padding and the unknown word among them."""
        return len(self.place) + 2

    def encode(self, items: Sequence[Item]) -> Tensor:
        """(items, longest prompt) codes, padded at the end."""
        place = self.place
        return right_padded([[place.get(word, 1) for word in item.prompt.split()] for item in items], 0)
