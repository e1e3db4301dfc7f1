"""Weights and the optimiser's memory as safetensors: never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rrm.errors import MissingWeights, PlanError, RrmError


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, byte for byte the same for equal tensors; of tied ones (one tensor, several names) the first."""
    kept = sorted(name for name, first in _ties(tensors).items() if name == first)
    save_file({name: tensors[name].detach().contiguous() for name in kept}, path)


def read(path: Path) -> dict[str, Tensor]:
    """Raises MissingWeights if the file is gone, truncated, or not safetensors."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MissingWeights(f"{path}: {error}. Delete the node's folder and run the plan again.") from None


def restore(network: nn.Module, path: Path) -> None:
    """Put saved weights into a network of the same shape. Raises MissingWeights where they do not fit."""
    tensors, own = read(path), network.state_dict()
    for name, first in _ties(own).items():
        if name not in tensors and first in tensors:
            tensors[name] = tensors[first]
    adopt(network, tensors, f"{path}: these weights are of another network", MissingWeights)


def adopt(network: nn.Module, tensors: Mapping[str, Tensor], misfit: str, kind: type[RrmError] = PlanError) -> None:
    """Copy tensors into a network. Raises `kind` of error, saying `misfit` and why, where they do not fit."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise kind(f"{misfit}: {' '.join(str(error).split())[:300]}") from None


def save_all(folder: Path, network: nn.Module, memory: Mapping[str, Tensor], mark: str = "") -> None:
    """Write a network's weights and its optimiser's memory, if it has any; `mark` ends the files' names."""
    save(folder / f"weights{mark}.safetensors", network.state_dict())
    if memory:
        save(folder / f"optimizer{mark}.safetensors", memory)


def restore_all(folder: Path, network: nn.Module, mark: str = "") -> dict[str, Tensor]:
    """Put what `save_all` wrote into a network of the same shape. Returns the memory. Errors as in `restore`."""
    restore(network, folder / f"weights{mark}.safetensors")
    memory = folder / f"optimizer{mark}.safetensors"
    return read(memory) if memory.is_file() else {}


def _ties(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Each name, with the first name of the same piece of memory: itself, unless weights are tied."""
    first: dict[tuple[object, ...], str] = {}
    return {
        name: first.setdefault((t.data_ptr(), t.shape, t.stride(), t.dtype) if t.numel() else (name,), name)
        for name, t in sorted(tensors.items())
    }
