"""A causal language model of any Hugging Face architecture: writes text, or chooses from a finite answer set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from rrm import Assistant, Item, Seed, Task
from rrm.models.language import AnswerLikelihood, Language, LanguageSettings, PromptedScorer, check_place
from rrm.models.learner import Learner, TorchAssistant
from rrm.models.noise import seeded
from rrm.models.scorer import AnswerNetwork, Scorer


class Transformer(TorchAssistant):
    """Built small from a config, or loaded from a folder or the hub's cache.

    Where the task has a finite answer set, `prepare` makes a chooser of it, which any policy trainer can train; else
    it writes, and is trained by policy-gradient, expert-iteration or best-of-n.
    """

    class Settings(Learner.Settings, LanguageSettings):
        answers: Literal["auto", "generate"] = "auto"
        """"auto": chooses from the task's answer set where there is one; "generate": always writes."""
        proposal_temperature: float = Field(default=1.0, gt=0)
        """Of written answers that are shown to be judged."""

    paths = ("model",)

    settings: Settings
    network: Language

    @property
    def deterministic(self) -> bool:
        return self.settings.temperature == 0

    def reads(self) -> Sequence[Path]:
        """The model's folder, if it is on this machine: a name on the hub is a name only."""
        folder = Path(self.settings.model).expanduser()
        return (folder,) if self.settings.model and folder.is_dir() else ()

    def check(self, task: Task) -> None:
        check_place(self.settings)

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Assistant:
        """Raises PlanError if the model cannot be built or loaded, or if `start` is of another architecture."""
        answers = task.answers(task.sample(seed.at("answers").rng()))
        if answers is not None and self.settings.answers == "auto":
            return TransformerChooser(self.settings).prepare(task, start=start, seed=seed)
        with seeded(seed):
            network = Language(self.settings)
        return self.begun(network, start)

    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        return _scorer(self.settings, seed)

    def log_prob(self, items: Sequence[Item], texts: Sequence[str]) -> Tensor:
        return self.network.log_prob(items, texts)

    def sample(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self.network.write(items, numbers=range(n), temperature=1.0, seeds=seeds)

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        if self.deterministic:
            once = self.network.write(items, numbers=[0], temperature=0.0, seeds=seeds)
            return [row * n for row in once]
        return self.network.write(items, numbers=range(n), temperature=self.settings.temperature, seeds=seeds)

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` answers; where some are the same, `n` more are drawn to take the place of the repeats."""
        warmth = self.settings.proposal_temperature
        drawn = self.network.write(items, numbers=range(n), temperature=warmth, seeds=seeds)
        poor = [i for i, row in enumerate(drawn) if len(set(row)) < n]
        more = self.network.write(
            [items[i] for i in poor], numbers=range(n, 2 * n), temperature=warmth, seeds=[seeds[i] for i in poor]
        )
        for i, row in zip(poor, more, strict=True):
            distinct = list(dict.fromkeys(drawn[i] + row))
            drawn[i] = (distinct + drawn[i])[:n]
        return drawn


class TransformerChooser(Learner):
    """A `Transformer` on a task with a finite answer set: the likelihoods of the answers are its choice."""

    settings: Transformer.Settings

    def build(self, task: Task) -> AnswerNetwork:
        return AnswerLikelihood(Language(self.settings), self.answers)

    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        return _scorer(self.settings, seed)


def _scorer(settings: LanguageSettings, seed: Seed) -> Scorer:
    """A reward network of the agent's architecture, and with its pretrained weights where it was loaded."""
    with seeded(seed):
        return PromptedScorer(Language(settings))
