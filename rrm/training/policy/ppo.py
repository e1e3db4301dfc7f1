"""Proximal policy optimisation of an agent that acts, on the reward of each step (Schulman et al. 2017).

By Stable-Baselines3 (Raffin et al. 2021), on episodes lived in batches: within 1.3 of a bare loop's time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from rrm.control import ControlTask, StepReward
from rrm.errors import PlanError, RrmError
from rrm.models.actor import ActorNetwork, live, sampled
from rrm.models.learner import rewrapped, torch_in
from rrm.models.noise import seeded
from rrm.records import Item
from rrm.roles import Assistant, PolicyTrainer, RewardModel, Scores, Task, Turn
from rrm.seed import Seed

if TYPE_CHECKING:
    from stable_baselines3 import PPO

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Ppo(PolicyTrainer):
    """For assistants that act. Rewards are divided by the spread of whole returns; rate and entropy fall linearly over
    the level."""

    class Settings(PolicyTrainer.Settings):
        iterations: int = Field(default=7, ge=1)
        """Batches of steps that are taken and learnt from in a round."""
        episodes: int = Field(default=128, ge=2)
        """Lived side by side; a batch is as many steps of each as the task's horizon has."""
        epochs: int = Field(default=3, ge=1)
        """How often each batch is gone through."""
        parts: int = Field(default=4, ge=1)
        """Optimiser steps in which it is gone through."""
        rate: float = Field(default=2e-3, gt=0)
        min_rate: float = Field(default=0.1, ge=0, le=1)
        """The share of `rate` that the level ends with."""
        entropy: float = Field(default=0.4, ge=0)
        """Weight of the entropy at the level's start. What is never tried is never judged: a start at .2 or below
        let agents settle before the reward model had seen what they should have done."""
        last_entropy: float = Field(default=0.003, ge=0)
        """At its end."""
        discount: float = Field(default=0.99, gt=0, le=1)
        smoothing: float = Field(default=0.95, ge=0, le=1)
        """Lambda of the advantages (Schulman et al. 2016)."""
        clip: float = Field(default=0.2, gt=0)
        pessimism: float = Field(default=0.0, ge=0)
        """Kappa: steps are worth mean - kappa * spread of an ensemble."""

    settings: Settings
    stepwise = True

    @classmethod
    def small(cls, scale: int) -> Mapping[str, int]:
        return {"iterations": scale}

    def units(self, turn: Turn) -> int:
        return self.settings.iterations

    def check(self, task: Task, assistant: Assistant) -> None:
        self._task(task)
        try:
            import stable_baselines3  # noqa: F401
        except ImportError:
            raise PlanError(
                "policy 'ppo' needs Stable-Baselines3: in a clone of rrm, .venv/bin/pip install -e '.[rl]'"
            ) from None

    def _task(self, task: Task) -> ControlTask:
        if not isinstance(task, ControlTask):
            raise PlanError(f"policy 'ppo' trains agents that act, and task {task.name()!r} has nothing to act in")
        return task

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        acting, source = self._task(task), torch_in(assistant)
        if source is None or not isinstance(source.network, ActorNetwork):
            raise PlanError(f"policy 'ppo' trains assistants such as 'actor', not {assistant.name()!r}")
        if not isinstance(reward, StepReward):
            raise PlanError("policy 'ppo' needs a reward of each step: cast reward = 'bradley-terry' or 'stated'")
        network = copy.deepcopy(source.network)
        with seeded(seed.at("steps")), _numpy_seeded(seed.at("numpy")):
            spread = self._spread(network, acting, reward, source.memory, seed.at("spread"))
            model = self._learner(acting, reward, spread, network.width, turn, seed.at("episodes"))
            _load(model, network, source.memory)
            batch = acting.horizon * self.settings.episodes
            with _finite(model, self.settings.rate):
                model.learn(self.settings.iterations * batch, lambda here, _: self._cool(here["self"], turn))
            memory = _unload(model, network)
        return rewrapped(assistant, source.successor(network.eval(), memory | {"spread": torch.tensor(spread)}))

    def _worth(self, scores: Scores) -> NDArray[np.float32]:
        return (scores.mean - self.settings.pessimism * scores.spread).astype(np.float32)

    def _spread(
        self, network: ActorNetwork, task: ControlTask, reward: StepReward, memory: Mapping[str, Tensor], seed: Seed
    ) -> float:
        """What rewards are divided by: the spread of discounted returns, which moves slowly from round to round."""
        at = [seed.at(i) for i in range(self.settings.episodes)]
        items = [task.sample(s.at("item").rng()) for s in at]
        life = live(network, task, items, sampled(at, task), truth=reward.asks_truth, hints=reward.asks_hints)
        returns = self._worth(reward.steps(life.lived))
        for t in range(task.horizon - 2, -1, -1):
            returns[:, t] += np.float32(self.settings.discount) * returns[:, t + 1]
        now = float(returns.std()) + 1e-6
        return 0.7 * float(memory["spread"]) + 0.3 * now if "spread" in memory else now

    def _learner(self, task: ControlTask, reward: StepReward, spread: float, width: int, turn: Turn, seed: Seed) -> PPO:
        from stable_baselines3 import PPO

        from rrm.models.environment import Environment

        s, numbers = self.settings, count()

        def items(many: int) -> Sequence[Item]:
            return [task.sample(seed.at(next(numbers)).rng()) for _ in range(many)]

        world = Environment(task, reward, items, s.episodes, lambda scores: self._worth(scores) / np.float32(spread))
        return PPO(
            "MlpPolicy", world, learning_rate=lambda left: s.rate * max(1 - _done(turn, left), s.min_rate),
            n_steps=task.horizon, batch_size=-(-task.horizon * s.episodes // s.parts), n_epochs=s.epochs,
            gamma=s.discount, gae_lambda=s.smoothing, clip_range=s.clip, device="cpu",
            policy_kwargs={"net_arch": [width, width]},
        )  # fmt: skip

    def _cool(self, model: PPO, turn: Turn) -> bool:
        """Called at every step: the entropy's weight falls, as the rate does."""
        done = _done(turn, model._current_progress_remaining)
        model.ent_coef = self.settings.entropy * (1 - done) + self.settings.last_entropy * done
        return True


@contextmanager
def _numpy_seeded(seed: Seed) -> Iterator[None]:
    """The library shuffles by NumPy's global generator, which is given back as it was."""
    before = np.random.get_state()
    np.random.seed(seed.value % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _finite(model: PPO, rate: float) -> Iterator[None]:
    """Raise RrmError if weights are no numbers afterwards: what the library says of them is not the cause."""
    said: ValueError | None = None
    try:
        yield
    except ValueError as error:
        said = error
    if not all(bool(p.isfinite().all()) for p in model.policy.parameters()):
        raise RrmError(
            f"training diverged: at rate = {rate:g} weights became infinite, or no numbers; set a lower rate"
        )
    if said is not None:
        raise said


def _done(turn: Turn, left: float) -> float:
    """How much of the level is done, by the share of the round that is left."""
    return (turn.number + 1 - left) / turn.of


def _pairs(model: PPO, network: ActorNetwork) -> Iterator[tuple[str, nn.Parameter, nn.Parameter]]:
    """Every weight of the agent by name, and the same of the library's network, which is built alike."""
    theirs = dict(model.policy.named_parameters())
    for name, own in network.named_parameters():
        stack, layer, kind = name.split(".")
        last = "action_net" if stack == "policy" else "value_net"
        yield name, own, theirs[f"{last}.{kind}" if layer == "4" else f"mlp_extractor.{stack}_net.{layer}.{kind}"]


def _load(model: PPO, network: ActorNetwork, memory: Mapping[str, Tensor]) -> None:
    """Go on from the agent's weights, and from Adam's moments as they were left."""
    for name, own, theirs in _pairs(model, network):
        theirs.data.copy_(own.data)
        if f"{name}.step" in memory:
            model.policy.optimizer.state[theirs] = {k: memory[f"{name}.{k}"].clone() for k in _MOMENTS}


def _unload(model: PPO, network: ActorNetwork) -> dict[str, Tensor]:
    """Put what was learnt into the agent's network; return Adam's moments."""
    memory: dict[str, Tensor] = {}
    for name, own, theirs in _pairs(model, network):
        own.data.copy_(theirs.data)
        memory |= {f"{name}.{k}": model.policy.optimizer.state[theirs][k].clone() for k in _MOMENTS}
    return memory
