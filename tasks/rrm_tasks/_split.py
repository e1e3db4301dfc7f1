"""Which items are held out, in families too large to list: every fifth, by a checksum of the prompt."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32


def is_held_out(text: str) -> bool:
    """Whether what this text asks belongs to the held-out split."""
    return crc32(text.encode()) % 5 == 0


def draw(prompt: Callable[[], str], *, held_out: bool) -> str:
    """Draw prompts until one belongs to the wanted split: the two splits never share one."""
    while is_held_out(drawn := prompt()) != held_out:
        pass
    return drawn
