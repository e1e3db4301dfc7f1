"""A compact pre-norm transformer: the blocks that our own small networks are built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and a ReLU layer (Vaswani et al. 2017; pre-norm, Xiong et al. 2020), reading in both directions."""

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None, *, only: int | None = None) -> Tensor:
        """(batch, places, width) to the same; `only` computes one place's row, which is all that a read-out needs.

        `bias` (…, heads or 1, places or 1, places) is added to the attention logits; -inf hides a place.
        """
        batch, places, width = x.shape
        normed = self.before_attention(x)
        asking = normed
        if only is not None:
            x, asking = x[:, only : only + 1], normed[:, only : only + 1]
            bias = bias if bias is None or bias.shape[-2] == 1 else bias[..., only : only + 1, :]
        each = width // self.heads
        query = self.query(asking).view(batch, -1, self.heads, each).transpose(1, 2)
        key, value = self.key_value(normed).view(batch, places, 2, self.heads, each).permute(2, 0, 3, 1, 4)
        # Written out: at these sizes it is faster than the fused kernel, whose set-up costs more than it saves.
        logits = query @ key.transpose(-1, -2) * each**-0.5
        seen = (logits if bias is None else logits + bias).softmax(-1) @ value
        x = x + self.out(seen.transpose(1, 2).reshape(batch, -1, width))
        added: Tensor = x + self.down(functional.relu(self.up(self.before_layer(x))))
        return added


def initialise(network: nn.Module) -> None:
    """Embeddings and linear layers drawn so that signals keep their size; biases at 0."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.3)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)


def hide_padding(codes: Tensor) -> Tensor | None:
    """An attention bias that hides places whose code is 0; None where there is none, as in most tasks."""
    padded = codes == 0
    if not bool(padded.any()):
        return None
    return torch.zeros(codes.shape).masked_fill(padded, float("-inf"))[:, None, None, :]
