"""A compact transformer that reads the candidate answers themselves, all of them packed behind one prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Item, Seed, Task
from rrm.models.noise import seeded
from rrm.models.scorer import AnswerNetwork, Scorer, WordCodes
from rrm_assistants._words import WordLearner, WordParts

_ANSWER = "\N{SYMBOL FOR START OF TEXT}"
"""Stands before each candidate; its score is read there."""


class PackedTransformer(WordLearner):
    """For tasks that say their vocabulary and have a finite answer set.

    Unlike `word-transformer` it knows an answer by its words, so that it can score answers made of several words by
    what they share, and, as a reward model, any answer at all.
    """

    class Settings(WordLearner.Settings):
        longest: int = Field(default=64, ge=1)
        """Words that a prompt may have."""
        longest_answer: int = Field(default=16, ge=1)
        """Words of an answer that are read; the rest is cut off."""

    settings: Settings

    def build(self, task: Task) -> AnswerNetwork:
        return PackedAnswers(self._packed(task), self.answers)

    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        """Scores the candidates that it is given, and no others."""
        with seeded(seed):
            return PackedScorer(self._packed(task))

    def _packed(self, task: Task) -> Packed:
        answered = dict.fromkeys(word for answer in self.answers for word in answer.split())
        return Packed(self.settings, WordCodes([_ANSWER, *self.vocabulary(task), *answered]))


class Packed(WordParts):
    """Scores any candidates behind any prompts.

    A candidate's words attend to the prompt and to each other, the prompt to itself alone: what a candidate is worth
    does not depend on which others stand beside it.
    """

    places: nn.Embedding
    answer_places: nn.Embedding

    def __init__(self, settings: PackedTransformer.Settings, words: WordCodes) -> None:
        most = settings.longest_answer
        super().__init__(settings, words, 1, places=settings.longest, answer_places=most + 1)
        self._most = most

    def candidates(self, texts: Sequence[str]) -> Tensor:
        """(texts, words) codes, each beginning with the mark that its score is read at, padded with 0 behind."""
        cut = [" ".join([_ANSWER, *text.split()[: self._most]]) for text in texts]
        return self.codes.encode([Item(task="", prompt=text) for text in cut])

    def forward(self, prompts: Tensor, candidates: Tensor) -> Tensor:
        """(items, K) scores, from (items, T) prompts and (items, K, L) candidates."""
        items, long = prompts.shape
        many, short = candidates.shape[1:]
        x = torch.cat(
            [
                self.words(prompts) + self.places.weight[:long],
                (self.words(candidates) + self.answer_places.weight[:short]).flatten(1, 2),
            ],
            1,
        )
        hidden = self._hidden(prompts, candidates)
        for block in self.blocks:
            x = block(x, hidden)
        marks = x[:, long:].view(items, many, short, -1)[:, :, 0]
        scores: Tensor = self.head(self.norm(marks))[:, :, 0]
        return scores

    def _hidden(self, prompts: Tensor, candidates: Tensor) -> Tensor:
        """(items or 1, 1, places, places) attention bias, -inf where a place is not to be seen."""
        long, (many, short) = prompts.shape[1], candidates.shape[1:]
        part = torch.cat([torch.zeros(long, dtype=torch.long), torch.arange(1, many + 1).repeat_interleave(short)])
        seen = (part[None, :] == 0) | (part[None, :] == part[:, None])
        bias = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))[None, None]
        padded = torch.cat([prompts, candidates.flatten(1)], 1) == 0
        if not bool(padded.any()):
            return bias
        # What pads a place still sees itself: a row with nothing to see would be NaN, and poison the gradients.
        alone = torch.eye(len(part), dtype=torch.bool)
        return bias.masked_fill(padded[:, None, None, :] & ~alone, float("-inf"))


class PackedAnswers(AnswerNetwork):
    """As an agent: every answer of the answer set is a candidate, and the scores are logits."""

    def __init__(self, packed: Packed, answers: Sequence[str]) -> None:
        super().__init__()
        self.packed = packed
        self._candidates = packed.candidates(answers)

    def encode(self, items: Sequence[Item]) -> Tensor:
        return self.packed.encode(items)

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.packed(codes, self._candidates.expand(len(codes), -1, -1))
        return scores

    def soften(self) -> None:
        self.packed.soften()


class PackedScorer(Scorer):
    """As a reward network: the candidates that it is asked for, whatever they are."""

    def __init__(self, packed: Packed) -> None:
        super().__init__()
        self.packed = packed

    def encode(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        codes = self.packed.candidates([text for row in candidates for text in row])
        return self.packed.encode(items), codes.view(len(items), -1, codes.shape[1])

    def forward(self, *codes: Tensor) -> Tensor:
        prompts, candidates = codes
        scores: Tensor = self.packed(prompts, candidates)
        return scores
