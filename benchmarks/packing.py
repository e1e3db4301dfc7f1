"""What packing is worth: candidates scored behind one read of their prompt, against one read each.

    python benchmarks/packing.py [--json] [--candidates 8] [--repeats 15]

CPU time on one thread, the median over repeats taken in turn; the largest difference of scores shows that both do the
same work.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from time import process_time

import torch

from rrm import Item, Seed, Task
from rrm.models.learner import TorchAssistant
from rrm.registry import TASKS
from rrm_assistants.packed_transformer import PackedTransformer
from rrm_assistants.transformer import Transformer


def measure(assistant: TorchAssistant, task: Task, *, items: int, candidates: int, repeats: int) -> dict[str, float]:
    """Milliseconds for `items` prompts with so many candidates each, both ways, scoring and with gradients."""
    ready = assistant.prepare(task, seed=Seed(0))
    assert isinstance(ready, TorchAssistant)
    network = ready.scorer(task, seed=Seed(1)).eval()
    for parameter in network.parameters():  # a fresh read-out may be all zeros, and zeros agree whatever is wrong
        torch.nn.init.normal_(parameter, std=0.2)
    drawn: list[Item] = [task.sample(Seed(2).at(i).rng()) for i in range(items)]
    texts = list(task.answers(drawn[0]) or ())[:candidates]
    together = network.encode(drawn, [texts] * items)
    apart = network.encode([i for i in drawn for _ in texts], [[t] for _ in drawn for t in texts])

    def score(codes: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.inference_mode():
            return network(*codes).view(items, candidates)

    def train(codes: tuple[torch.Tensor, ...]) -> torch.Tensor:
        network.zero_grad()
        loss = network(*codes).square().mean()
        loss.backward()
        return loss.detach()

    found = {"difference": float((score(together) - score(apart)).abs().max())}
    for name, work in (("score", score), ("train", train)):
        one, each = _times(lambda w=work: w(together), lambda w=work: w(apart), repeats)
        found |= {f"{name}_packed_ms": one, f"{name}_apart_ms": each, f"{name}_ratio": each / one}
    return found


def _times(one: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median CPU-milliseconds of each, taken in turn so that other load falls on both alike."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 2):  # the first two warm up
        for work, times in zip((one, other), spent, strict=True):
            start = process_time()
            work()
            if number > 1:
                times.append(1000 * (process_time() - start))
    return statistics.median(spent[0]), statistics.median(spent[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = TASKS.build("glossary")
    sizes = {"items": given.items, "candidates": given.candidates, "repeats": given.repeats}
    found = {
        "packed-transformer": measure(PackedTransformer(), task, **sizes),
        "transformer": measure(Transformer(), task, **sizes),
    }
    if given.json:
        print(json.dumps({"schema": 1, "sizes": sizes, "assistants": found}, indent=1))
        return
    for name, figures in found.items():
        for work in ("score", "train"):
            one, each, ratio = (figures[f"{work}_{k}"] for k in ("packed_ms", "apart_ms", "ratio"))
            print(f"{name:20}{work:7}{each:8.1f} ms apart {one:8.1f} ms together   {ratio:.1f} times")
        print(f"{'':20}largest difference of scores {figures['difference']:.1e}")


if __name__ == "__main__":
    main()
