"""Assistants that learn by gradient: what trainers may ask of any of them, and those with a finite answer set."""

from __future__ import annotations

import copy
import functools
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from rrm.errors import PlanError
from rrm.models import weights
from rrm.models.noise import gumbel, seeded
from rrm.models.optimizer import Memory
from rrm.models.scorer import AnswerNetwork, AnswerScorer, Scorer, in_chunks
from rrm.records import Item
from rrm.roles import Assistant, Task, Wrapper
from rrm.seed import Seed


class TorchAssistant(Assistant):
    """An assistant with weights. It never changes: trainers make `successor`s of it."""

    network: nn.Module
    memory: Memory
    """What the optimiser goes on from, within a level."""

    @abstractmethod
    def log_prob(self, items: Sequence[Item], texts: Sequence[str]) -> Tensor:
        """(items,) log-probability of answering each item with its text, differentiable."""

    @abstractmethod
    def sample(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` independent draws for each item from the very distribution that `log_prob` gives, repeats and all."""

    @abstractmethod
    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        """A fresh reward network of this assistant's architecture."""

    def groups(self, *, fresh: bool) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters with what multiplies their learning rate; as in `Scorer.groups`."""
        return [([p for p in self.network.parameters() if p.requires_grad], 1.0)]

    def successor(self, network: nn.Module, memory: Memory) -> Self:
        """This assistant with other weights."""
        new = copy.copy(self)
        new.network, new.memory = network, memory
        return new

    def begun(self, network: nn.Module, start: Assistant | None) -> Self:
        """With a fresh network, or the weights of `start` in it. Raises PlanError if those are of another network."""
        source = torch_in(start)
        if source is not None:
            misfit = f"the weights to start from are of another network than {self.name()!r}"
            weights.adopt(network, source.network.state_dict(), misfit)
        return self.successor(network.eval(), {})

    def save(self, folder: Path) -> None:
        weights.save_all(folder, self.network, self.memory)

    def load(self, folder: Path) -> Self:
        network = copy.deepcopy(self.network)
        memory = weights.restore_all(folder, network)
        return self.successor(network.eval(), memory)


def torch_in(assistant: Assistant | None) -> TorchAssistant | None:
    """The assistant with weights inside any wrappers, if there is one."""
    while isinstance(assistant, Wrapper):
        assistant = assistant.inner
    return assistant if isinstance(assistant, TorchAssistant) else None


def source_in(assistant: Assistant, need: str, instead: str) -> TorchAssistant:
    """As `torch_in`. Raises PlanError, saying who is in need and what to cast `instead`, if there is none."""
    source = torch_in(assistant)
    if source is None:
        raise PlanError(f"{need}, and {assistant.name()!r} has none: cast one that learns, or {instead}")
    return source


def rewrapped(old: Assistant, new: TorchAssistant) -> Assistant:
    """`new` inside the wrappers that `old` stands in."""
    return old.around(rewrapped(old.inner, new), old.task) if isinstance(old, Wrapper) else new


class Learner(TorchAssistant):
    """Chooses from a task's finite answer set by a network that scores every answer."""

    class Settings(TorchAssistant.Settings):
        explore: float = Field(default=0.4, ge=0, le=1)
        """Share of a uniform draw mixed into the answers that are shown to be judged."""
        temperature: float = Field(default=0.0, ge=0)
        """Of the answers given as a helper or in an exam; 0: always the likeliest."""

    settings: Settings
    network: AnswerNetwork
    answers: tuple[str, ...]

    @abstractmethod
    def build(self, task: Task) -> AnswerNetwork:
        """A network for the task, with weights drawn from torch's generator."""

    @property
    def deterministic(self) -> bool:
        return self.settings.temperature == 0

    def check(self, task: Task) -> None:
        """Reads a few items. Raises PlanError if it cannot: another family's prompts may be of another shape."""
        _read_a_few(type(self), self.settings.model_dump_json(), type(task), task.settings.model_dump_json())

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Self:
        new = copy.copy(self)
        new.answers = _answers(task, seed)
        new = new.begun(new._drawn(task, seed), start)
        if torch_in(start):
            new.network.soften()
        return new

    def _drawn(self, task: Task, seed: Seed) -> AnswerNetwork:
        with seeded(seed):
            return self.build(task)

    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        return AnswerScorer(self._drawn(task, seed), self.answers)

    def groups(self, *, fresh: bool) -> list[tuple[list[nn.Parameter], float]]:
        return self.network.groups(fresh=fresh)

    def logits(self, items: Sequence[Item]) -> NDArray[np.float64]:
        """(items, answers), nothing learnt from them."""
        network, width = self.network, len(self.answers)
        return in_chunks(network, len(items), lambda at: network(network.encode(items[at])), width)

    def log_prob(self, items: Sequence[Item], texts: Sequence[str]) -> Tensor:
        place = {text: i for i, text in enumerate(self.answers)}
        index = torch.tensor([place[text] for text in texts])
        logits: Tensor = self.network(self.network.encode(items))
        return torch.log_softmax(logits, -1).gather(1, index[:, None])[:, 0]

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        logits = self.logits(items)
        if self.settings.temperature == 0:
            return [[self.answers[i]] * n for i in logits.argmax(1)]
        return self._draws(logits / self.settings.temperature, n, seeds)

    def sample(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self._draws(self.logits(items), n, seeds)

    def _draws(self, logits: NDArray[np.float64], n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        picks = [(logits + gumbel(seeds, len(self.answers), salt=number)).argmax(1) for number in range(n)]
        return [[self.answers[i] for i in row] for row in np.stack(picks, 1)]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` different answers, drawn without replacement from the policy mixed with a uniform draw."""
        logits, width = self.logits(items), len(self.answers)
        chance = np.exp(logits - logits.max(1, keepdims=True))
        chance = (1 - self.settings.explore) * chance / chance.sum(1, keepdims=True) + self.settings.explore / width
        order = np.argsort(-(np.log(chance + 1e-300) + gumbel(seeds, width)), axis=1, kind="stable")[:, :n]
        return [[self.answers[i] for i in row] for row in order]


def drawn(task: Task, count: int = 8) -> list[Item]:
    """A few items, by which an assistant may find as a plan is loaded that a task is not for it."""
    return [task.sample(Seed(0).at("check", i).rng()) for i in range(count)]


@functools.lru_cache(maxsize=256)
def _read_a_few(kind: type[Learner], settings: str, of: type[Task], its: str) -> None:
    """Once for all arms and seeds, since a network is built for it."""
    learner, task = kind(kind.Settings.model_validate_json(settings)), of(of.Settings.model_validate_json(its))
    items = drawn(task)
    try:
        reader = learner.prepare(task, seed=Seed(0)).network
        with torch.inference_mode():
            reader(reader.encode(items))
    except PlanError:
        raise
    except Exception as error:
        raise PlanError(
            f"{learner.name()!r} cannot read items of the task {task.name()!r}, such as {items[0].prompt[:60]!r} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:120]}): cast another, or mend its settings"
        ) from None


def _answers(task: Task, seed: Seed) -> tuple[str, ...]:
    answers = task.answers(task.sample(seed.at("answers").rng()))
    if answers is None:
        raise PlanError(
            f"task {task.name()!r} has no finite answer set to choose from: cast an assistant that writes text"
        )
    return tuple(answers)
