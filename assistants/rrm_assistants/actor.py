"""Acts in an environment, by a small network that sees one state at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from rrm import Assistant, Item, PlanError, Seed, Task
from rrm.control import ControlTask, Floats, Policy
from rrm.models import weights
from rrm.models.actor import ActorNetwork, live, sampled
from rrm.models.learner import TorchAssistant
from rrm.models.noise import seeded, uniform
from rrm.models.optimizer import Memory
from rrm.models.scorer import Scorer
from rrm.models.steps import StepScorer


class Actor(TorchAssistant, Policy):
    """Samples its actions. What it shows to be judged comes in three kinds, for pairs of its newest behaviour alone
    soon tie and teach nothing: its own, that of its younger selves, and that of nobody who learns (`Task.wander`)."""

    class Settings(TorchAssistant.Settings):
        width: int = Field(default=64, ge=1)
        """Units in each of the two layers of policy and value, and of the reward model's step network."""
        past: int = Field(default=8, ge=0)
        """Younger selves that are kept, one a round, the oldest dropped."""
        own: float = Field(default=1 / 3, ge=0, le=1)
        """Share of the answers after an item's first that are its own; the first always is, but for round 0."""
        young: float = Field(default=1 / 3, ge=0, le=1)
        """Share that a younger self gives. The rest wander."""
        greedy: bool = False
        """Whether as an agent it takes its likeliest action, rather than sampling."""

    settings: Settings
    network: ActorNetwork
    task: ControlTask
    younger: tuple[ActorNetwork, ...] = ()

    def check(self, task: Task) -> None:
        _acting(task, self.name())

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Assistant:
        new = copy.copy(self)
        new.task, new.memory, new.younger = _acting(task, self.name()), {}, ()
        observed = new.task.episodes([task.sample(seed.at("observed").rng())]).observe().shape[1]
        with seeded(seed):
            new.network = ActorNetwork(observed, len(new.task.actions), self.settings.width)
        if isinstance(start, Actor):
            new.network.load_state_dict(start.network.state_dict())
        return new

    @property
    def deterministic(self) -> bool:
        return self.settings.greedy

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        if not self.settings.greedy:
            return self.sample(items, n=n, seeds=seeds)
        lived = live(self.network, self.task, items, lambda t: 0.0)
        return [[text] * n for text in lived.texts(self.task.actions)]

    def sample(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        drawn = [self._texts(self.network, items, seeds, number) for number in range(n)]
        return [list(row) for row in zip(*drawn, strict=True)]

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        texts = [[""] * n for _ in items]
        places: dict[int, list[tuple[int, int]]] = {}
        for row, draws in enumerate(uniform(seeds, n).tolist()):
            for number, u in enumerate(draws):
                places.setdefault(self._who(u, first=number == 0), []).append((row, number))
        for source, where in sorted(places.items()):
            some, at = [items[row] for row, _ in where], [seeds[row].at("propose", k) for row, k in where]
            if source < 0:
                said = self.task.wander(some, at)
            else:
                said = self._texts((self.network, *self.younger)[source], some, at, 0)
            for (row, number), text in zip(where, said, strict=True):
                texts[row][number] = text
        return texts

    def _who(self, u: float, *, first: bool) -> int:
        """0: itself; k: the k-th of its younger selves; -1: nobody who learns."""
        if not self.memory:  # nothing is learnt yet
            return -1
        if first or u < self.settings.own:
            return 0
        u = (u - self.settings.own) / max(self.settings.young, 1e-9)
        return 1 + int(u * len(self.younger)) if u < 1 and self.younger else -1

    def _texts(self, network: ActorNetwork, items: Sequence[Item], seeds: Sequence[Seed], number: int) -> list[str]:
        return live(network, self.task, items, sampled(seeds, self.task, number)).texts(self.task.actions)

    def chances(self, observed: Floats) -> Floats:
        with torch.inference_mode():
            found: Floats = torch.softmax(self.network.policy(torch.from_numpy(observed)), -1).numpy()
        return found

    def log_prob(self, items: Sequence[Item], texts: Sequence[str]) -> Tensor:
        episodes, place = self.task.episodes(items), {letter: i for i, letter in enumerate(self.task.actions)}
        total = torch.zeros(len(items))
        for t in range(self.task.horizon):
            taken = torch.tensor([place[text[t]] for text in texts])
            logits, _ = self.network(torch.from_numpy(episodes.observe()))
            alive = torch.from_numpy(episodes.alive.copy())
            total = total + torch.log_softmax(logits, -1).gather(1, taken[:, None])[:, 0] * alive
            episodes.step(taken.numpy())
        return total

    def scorer(self, task: Task, *, seed: Seed) -> Scorer:
        acting = _acting(task, self.name())
        sample = [task.sample(seed.at("features").rng())]
        features = acting.episodes(sample).step(torch.zeros(1, dtype=torch.long).numpy()).features.shape[1]
        with seeded(seed):
            return StepScorer(acting, features, width=self.settings.width)

    def successor(self, network: nn.Module, memory: Memory) -> Self:
        """This actor with other weights, which remembers what it was."""
        new = super().successor(network, memory)
        if self.memory and self.settings.past:
            new.younger = (*self.younger, self.network)[-self.settings.past :]
        return new

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, network in enumerate(self.younger):
            weights.save(folder / f"optimizer-younger-{number}.safetensors", network.state_dict())

    def load(self, folder: Path) -> Self:
        new = super().load(folder)
        younger: list[ActorNetwork] = []
        while (path := folder / f"optimizer-younger-{len(younger)}.safetensors").is_file():
            network = copy.deepcopy(self.network)
            weights.restore(network, path)
            younger.append(network.eval())
        new.younger = tuple(younger)
        return new


def _acting(task: Task, name: str) -> ControlTask:
    if not isinstance(task, ControlTask):
        raise PlanError(f"assistant {name!r} acts in environments, and task {task.name()!r} is none: cast another one")
    return task
