"""Which items are held out, in families too large to list: every fifth, by a checksum of the prompt."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32


def draw(prompt: Callable[[], str], *, held_out: bool) -> str:
    """Draw prompts until one belongs to the wanted split: the two splits never share one."""
    while (crc32((drawn := prompt()).encode()) % 5 == 0) != held_out:
        pass
    return drawn
