"""Reading and writing with a causal language model of Hugging Face, each prompt read once whatever follows it.

A prompt's keys and values are kept (the KV cache) and laid behind every text that continues it, so K answers to one
prompt cost one read of the prompt and K of the answers. Padding stands on the left of prompts and on the right of
answers, hidden by the mask and left out of the positions. What a row gets does not depend on the rest of the batch,
but for the last bits of its floating-point numbers: matrix products round otherwise at other sizes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rrm.models.noise import uniform
from rrm.seed import Seed

PAD = -1
"""Stands for no token, in all codes here."""


class Read(NamedTuple):
    """Prompts that were read, ready to be continued."""

    cache: Any
    """The model's keys and values; used up by what continues it."""
    mask: Tensor
    """(rows, places) 1 where there is a token."""
    last: Tensor
    """(rows, width or vocabulary) what the model put out at each prompt's last token."""


def left_padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(rows, longest) tokens, PAD before them."""
    longest = max(map(len, rows), default=0)
    return torch.tensor([[PAD] * (longest - len(row)) + list(row) for row in rows]).view(len(rows), longest)


def right_padded(rows: Sequence[Sequence[int]], pad: int = PAD) -> Tensor:
    """(rows, longest) tokens, padding behind them."""
    longest = max(map(len, rows), default=0)
    padded = [[*row, *[pad] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long).view(len(rows), longest)


def read(model: Any, prompts: Tensor) -> Read:
    """Read left-padded prompts (rows, places). `model`: with a vocabulary head, or without."""
    model.eval()  # no dropout, even when trained: what is sampled is then what is trained
    prompts = prompts[:, int((prompts == PAD).all(0).sum()) :]
    mask = (prompts != PAD).long()
    out, cache = _forward(model, prompts, mask, (mask.cumsum(1) - 1).clamp(min=0), None, last=1)
    return Read(cache, mask, out[:, -1])


def follow(model: Any, before: Read, texts: Tensor) -> Tensor:
    """(rows, places, width or vocabulary) what the model puts out at each token of right-padded texts.

    `before` is one row a text (see `spread_out`), and is used up.
    """
    own = (texts != PAD).long()
    places = before.mask.sum(1, keepdim=True) + torch.arange(texts.shape[1])
    out, _ = _forward(model, texts, torch.cat([before.mask, own], 1), places, before.cache, last=0)
    return out


def spread_out(before: Read, owner: Tensor) -> Read:
    """Row `owner[i]` of what was read, as row i: copies of keys and values, which gradients flow back through."""
    if not (len(owner) == len(before.mask) and torch.equal(owner, torch.arange(len(owner)))):
        before.cache.batch_select_indices(owner)
    return Read(before.cache, before.mask[owner], before.last[owner])


def log_likelihood(model: Any, prompts: Tensor, owner: Tensor, texts: Tensor) -> Tensor:
    """(texts,) log-probability of right-padded texts, text i behind prompt `owner[i]`; differentiable."""
    before = spread_out(read(model, prompts), owner)
    first = before.last[:, None]
    logits = torch.cat([first, follow(model, before, texts[:, :-1])], 1) if texts.shape[1] > 1 else first
    likely = torch.log_softmax(logits.float(), -1).gather(2, texts.clamp(min=0)[:, :, None])[:, :, 0]
    return likely.masked_fill(texts == PAD, 0).sum(1)


@torch.inference_mode()
def write(
    model: Any, prompts: Tensor, *, end: int, longest: int, temperature: float, seeds: Sequence[Seed],
    numbers: Sequence[int],
) -> list[list[list[int]]]:  # fmt: skip
    """Continue each prompt once for each of `numbers`: tokens up to `end` (left out), `longest` at most.

    Which token is drawn depends on the prompt, its seed, the number and the step alone; `temperature` 0: the likeliest.
    """
    rows = len(prompts)
    owner = torch.arange(rows).repeat_interleave(len(numbers))
    before = spread_out(read(model, prompts), owner)
    draws = np.stack([uniform(seeds, longest, salt=number) for number in numbers], 1).reshape(len(owner), longest)
    said: list[list[int]] = [[] for _ in owner]
    open_rows, mask, logits, cache = torch.arange(len(owner)), before.mask, before.last, before.cache
    places = mask.sum(1)
    for step in range(longest):
        drawn = _draw(logits, draws[open_rows.numpy(), step], temperature)
        going = drawn != end
        for row, token in zip(open_rows[going].tolist(), drawn[going].tolist(), strict=True):
            said[row].append(token)
        if step == longest - 1 or not bool(going.any()):
            break
        if not bool(going.all()):  # rows that ended are left behind
            kept = going.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            open_rows, mask, drawn, places = open_rows[kept], mask[kept], drawn[kept], places[kept]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        out, cache = _forward(model, drawn[:, None], mask, places[:, None], cache, last=1)
        places, logits = places + 1, out[:, -1]
    width = len(numbers)
    return [said[i * width : (i + 1) * width] for i in range(rows)]


def _draw(logits: Tensor, draws: NDArray[np.float64], temperature: float) -> Tensor:
    """(rows,) tokens, by where a uniform draw falls in the cumulated chances."""
    if temperature == 0:
        return logits.argmax(1)
    summed = torch.softmax(logits.double() / temperature, 1).cumsum(1)
    at = torch.from_numpy(draws)[:, None] * summed[:, -1:]
    return torch.searchsorted(summed, at)[:, 0].clamp(max=logits.shape[1] - 1)


def _forward(model: Any, tokens: Tensor, mask: Tensor, places: Tensor, cache: Any, *, last: int) -> tuple[Tensor, Any]:
    """One read: (rows, places, width or vocabulary), and the cache; `last` places only, where that can be had."""
    takes, kept = parameters(model), cache_name(model)
    more: dict[str, Any] = {} if cache is None else {kept: cache}
    if "position_ids" in takes:  # models with relative positions count them by the mask
        more["position_ids"] = places
    if last and "logits_to_keep" in takes:
        more["logits_to_keep"] = last
    out = model(input_ids=tokens.clamp(min=0), attention_mask=mask, use_cache=True, return_dict=True, **more)
    found: Tensor = out["logits" if "logits" in out else "last_hidden_state"]
    return found, out[kept]


def cache_name(model: Any) -> str:
    """What a model calls its keys and values, given and returned, "" if it keeps none: transformers renamed them."""
    return next((name for name in ("cache", "past_key_values") if name in parameters(model)), "")


def parameters(model: Any) -> frozenset[str]:
    """Names of what a model's `forward` takes."""
    return _parameters(type(model).forward)


@functools.cache
def _parameters(forward: Callable[..., object]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)
