"""Random numbers by address for whole batches: row i depends on seed i alone, whatever batch it stands in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rrm.seed import Seed

_STEP = np.uint64(0x9E3779B97F4A7C15)


def uniform(seeds: Sequence[Seed], width: int, salt: int = 0) -> NDArray[np.float64]:
    """Draws in (0, 1), one row a seed: splitmix64 (Steele, Lea & Flood 2014) on seed and column, all at once."""
    start = np.fromiter((s.value for s in seeds), dtype=np.uint64, count=len(seeds))[:, None]
    column = np.arange(1 + salt * width, 1 + (salt + 1) * width, dtype=np.uint64)[None, :]
    with np.errstate(over="ignore"):
        z = start + column * _STEP
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    drawn: NDArray[np.float64] = ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return drawn


def gumbel(seeds: Sequence[Seed], width: int, salt: int = 0) -> NDArray[np.float64]:
    """Gumbel noise: log-probabilities plus this, sorted, are a sample without replacement."""
    noise: NDArray[np.float64] = -np.log(-np.log(uniform(seeds, width, salt)))
    return noise


@contextlib.contextmanager
def seeded(seed: Seed) -> Iterator[None]:
    """Torch's own generator begins at a seed; behind, it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed.value % 2**63)  # the processor's alone, as it alone is put back
        yield
