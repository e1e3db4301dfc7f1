"""Weights and the optimiser's memory as safetensors: never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rrm.errors import MissingWeights


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, byte for byte the same for equal tensors."""
    save_file({k: v.detach().contiguous() for k, v in sorted(tensors.items())}, path)


def read(path: Path) -> dict[str, Tensor]:
    """Raises MissingWeights if the file is gone, truncated, or not safetensors."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MissingWeights(f"{path}: {error}. Delete the node's folder and run the plan again.") from None


def restore(network: nn.Module, path: Path) -> None:
    """Put saved weights into a network of the same shape. Raises MissingWeights where they do not fit."""
    try:
        network.load_state_dict(read(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingWeights(f"{path}: these weights are of another network: {reason}") from None
