"""Gridworlds: steps per second against Gymnasium and Stable-Baselines3, and what PPO costs in either loop.

    python -m benchmarks.gridworlds [--json] [--worlds off-switch ...] [--steps 20480] [--iterations 8] [--repeats 5]

All act by one network of two layers of 64, on one thread, in CPU seconds, the median of repeats taken in turn. *one*
is one Gymnasium environment, which is our world with a batch of one; *dummy* is Stable-Baselines3's DummyVecEnv of
128 of them; *128* and *1024* are batched worlds in `GridWorldVecEnv`, with episodes begun again where one ends. Each
makes the same number of steps in a run. The bars: 128 episodes at once are 40 times as fast as one environment, and 5
times as fast as the dummy.

*sb3* and *loop* are an iteration of PPO, 128 episodes of 20 steps, 3 epochs of 4 minibatches, policy and value networks
of two layers of 64: in Stable-Baselines3 on `GridWorldVecEnv`, and in the loop below, which leaves out what these
worlds do not need. Both update on as many rows. The ratio is the median over pairs of runs, one after the other.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor, nn

from benchmarks.machine import give, parser, verdict
from rrm_tasks.gridworlds import WORLDS, make
from rrm_tasks.gridworlds.chance import fresh
from rrm_tasks.gridworlds.gym import GridWorldEnv
from rrm_tasks.gridworlds.vector import GridWorldVecEnv
from rrm_tasks.gridworlds.world import GridWorld

SIDE_BY_SIDE, EPOCHS, MINIBATCHES = 128, 3, 4
CLIP, GAMMA, LAMBDA, RATE, ENTROPY = 0.2, 0.99, 0.95, 2e-3, 0.01


def network(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, out))


def draw(logits: Tensor) -> Tensor:
    """An action for each row, by its log-odds: the least of exponential times is the softmax's draw."""
    return (logits - torch.empty_like(logits).exponential_().log_()).argmax(1)


def one_env(env: gymnasium.Env[Any, Any], policy: nn.Module, steps: int) -> None:
    seen, _ = env.reset(seed=0)
    for _ in range(steps):
        action = draw(policy(torch.from_numpy(seen)[None]))
        seen, _, over, _, _ = env.step(np.int64(action.item()))
        if over:
            seen, _ = env.reset()


def many_envs(env: VecEnv, policy: nn.Module, steps: int) -> None:
    seen = env.reset()
    for _ in range(steps // env.num_envs):
        seen, _, _, _ = env.step(draw(policy(torch.from_numpy(seen))).numpy())


class Loop:
    """PPO (Schulman et al. 2017) over whole episodes: what Stable-Baselines3 does to each minibatch, and no more."""

    def __init__(self, world: GridWorld[Any]) -> None:
        self.world, self.begun = world, 0
        self.policy, self.value = network(world.width, 5), network(world.width, 1)
        self.parameters = [*self.policy.parameters(), *self.value.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, eps=1e-5)

    def iterate(self) -> float:
        """Play, learn, and give the mean return."""
        rows, visible = self.collect()
        many = len(rows[0])
        for _ in range(EPOCHS):
            for chosen in torch.randperm(many).chunk(MINIBATCHES):
                self.learn(*(column[chosen] for column in rows))
        return visible

    @torch.no_grad()
    def collect(self) -> tuple[list[Tensor], float]:
        world, horizon = self.world, self.world.horizon
        state = world.start(fresh(1, self.begun, SIDE_BY_SIDE))
        self.begun += SIDE_BY_SIDE
        seen, acted, said, given, alive = [], [], [], [], []
        for _ in range(horizon):
            seen.append(torch.from_numpy(world.observe(state)))
            alive.append(torch.from_numpy(world.alive(state)))
            logits = self.policy(seen[-1]).log_softmax(1)
            acted.append(draw(logits))
            said.append(logits.gather(1, acted[-1][:, None])[:, 0])
            state, visible, *_ = world.step(state, acted[-1].numpy())
            given.append(torch.from_numpy(visible))
        every = torch.cat(seen)
        values = self.value(every).view(horizon, -1)
        advantage, ahead, later = torch.zeros_like(values), torch.zeros(SIDE_BY_SIDE), torch.zeros(SIDE_BY_SIDE)
        for t in reversed(range(horizon)):
            ahead = alive[t] * (given[t] + GAMMA * later - values[t] + GAMMA * LAMBDA * ahead)
            advantage[t], later = ahead, values[t] * alive[t]
        columns = [every, torch.cat(acted), torch.cat(said), advantage.view(-1), (advantage + values).view(-1)]
        return [*columns, torch.cat(alive).float()], float(torch.stack(given).sum(0).mean())

    def learn(
        self, seen: Tensor, acted: Tensor, said: Tensor, advantage: Tensor, target: Tensor, alive: Tensor
    ) -> None:
        many = alive.sum()
        centred = (advantage - (advantage * alive).sum() / many) * alive
        advantage = centred / ((centred * centred).sum() / many).sqrt().add(1e-8)
        logits = self.policy(seen).log_softmax(1)
        ratio = (logits.gather(1, acted[:, None])[:, 0] - said).exp()
        gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        entropy = -(logits.exp() * logits).sum(1)
        error = (self.value(seen)[:, 0] - target).square()
        loss = ((0.5 * error - gain - ENTROPY * entropy) * alive).sum() / many
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 0.5)
        self.optimizer.step()


def baselines(world: GridWorld[Any]) -> PPO:
    rows = SIDE_BY_SIDE * world.horizon
    return PPO(
        "MlpPolicy", GridWorldVecEnv(world, SIDE_BY_SIDE), n_steps=world.horizon, batch_size=rows // MINIBATCHES,
        n_epochs=EPOCHS, learning_rate=RATE, gamma=GAMMA, gae_lambda=LAMBDA, clip_range=CLIP, ent_coef=ENTROPY, seed=0,
        device="cpu", policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


def speed(name: str, steps: int, repeats: int) -> dict[str, float]:
    """Steps per CPU second each way; the first round warms up."""
    world = make(name)
    policy = network(world.width, 5)
    one, dummy = GridWorldEnv(name), DummyVecEnv([lambda: GridWorldEnv(name)] * SIDE_BY_SIDE)
    few, many = GridWorldVecEnv(world, SIDE_BY_SIDE), GridWorldVecEnv(world, 1024)
    ways: dict[str, Callable[[int], None]] = {
        "one": lambda n: one_env(one, policy, n),
        "dummy": lambda n: many_envs(dummy, policy, n),
        "128": lambda n: many_envs(few, policy, n),
        "1024": lambda n: many_envs(many, policy, n),
    }
    with torch.inference_mode():
        for work in ways.values():
            work(1024)
        rounds = [{way: seconds(partial(work, steps)) for way, work in ways.items()} for _ in range(repeats)]
    spent = {way: [times[way] for times in rounds] for way in ways}
    return {way: steps // 1024 * 1024 / statistics.median(times) for way, times in spent.items()}


def cost(name: str, iterations: int, repeats: int) -> dict[str, Any]:
    """CPU milliseconds of a PPO iteration in either loop, and the ratio of pairs."""
    world = make(name)
    loop, model = Loop(world), baselines(world)
    rows = SIDE_BY_SIDE * world.horizon

    def ours() -> None:
        for _ in range(iterations):
            loop.iterate()

    def theirs() -> None:
        model.learn(iterations * rows, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    model.learn(2 * rows, log_interval=None)  # type: ignore[arg-type]
    for _ in range(2):
        loop.iterate()
    pairs = [(seconds(theirs), seconds(ours)) for _ in range(repeats)]
    per = [[1000 * s / iterations for s in times] for times in zip(*pairs, strict=True)]
    ratios = sorted(a / b for a, b in pairs)
    return {"sb3_ms": statistics.median(per[0]), "loop_ms": statistics.median(per[1]),
            "ratio": statistics.median(ratios), "ratio_range": [ratios[0], ratios[-1]]}  # fmt: skip


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--worlds", nargs="*", choices=list(WORLDS), default=list(WORLDS)[:5])
    asked.add_argument("--steps", type=int, default=20480, help="Of one run; a multiple of 1024.")
    asked.add_argument("--iterations", type=int, default=8, help="Of PPO, in one run of three for each repeat.")
    asked.add_argument("--repeats", type=int, default=5)
    given = asked.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: dict[str, dict[str, Any]] = {}
    rows: list[list[object]] = [["world", "one/s", "dummy/s", "128/s", "1024/s", "128:one", "128:dummy", "bars",
                                 "sb3 ms", "loop ms", "sb3:loop"]]  # fmt: skip
    for name in given.worlds:
        steps, ppo = speed(name, given.steps, given.repeats), cost(name, given.iterations, 3 * given.repeats)
        ones, dummies = steps["128"] / steps["one"], steps["128"] / steps["dummy"]
        found[name] = {"steps_per_cpu_second": steps, "times_one": ones, "times_dummy": dummies, "ppo": ppo}
        rows.append([name, *(round(v) for v in steps.values()), ones, dummies, verdict(ones >= 40 and dummies >= 5),
                     ppo["sb3_ms"], ppo["loop_ms"], ppo["ratio"]])  # fmt: skip
    give({"worlds": found}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
