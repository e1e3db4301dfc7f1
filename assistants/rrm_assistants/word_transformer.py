"""A small transformer over the words of a prompt that scores every answer of a finite answer set."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from rrm import Task
from rrm.models.scorer import AnswerNetwork, WordCodes
from rrm.models.transformer import hide_padding
from rrm_assistants._words import WordLearner, WordParts


class WordTransformer(WordLearner):
    """For tasks that say their vocabulary; about 60 000 weights as it stands."""

    class Settings(WordLearner.Settings):
        longest: int = Field(default=64, ge=1)
        """Words that a prompt may have."""

    settings: Settings

    def build(self, task: Task) -> AnswerNetwork:
        return WordNetwork(self.settings, WordCodes(self.vocabulary(task)), len(self.answers))


class WordNetwork(WordParts, AnswerNetwork):
    """The answers' scores are read at the first word."""

    places: nn.Embedding

    def __init__(self, settings: WordTransformer.Settings, words: WordCodes, answers: int) -> None:
        super().__init__(settings, words, answers, places=settings.longest)

    def forward(self, codes: Tensor) -> Tensor:
        x, hidden = self.words(codes) + self.places.weight[: codes.shape[1]], hide_padding(codes)
        *before, last = self.blocks
        for block in before:
            x = block(x, hidden)
        scores: Tensor = self.head(self.norm(last(x, hidden, only=0)[:, 0]))
        return scores
