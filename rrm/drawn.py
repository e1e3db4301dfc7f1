"""Blocks as a page's template takes them: every text inert, pictures as data in the page itself."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Sequence
from struct import pack
from typing import Any

from rrm.blocks import Block, Code, Frames, Image, Table, Text
from rrm.inert import inert

WORDS = 4000
"""So many characters of one text are shown, if nothing else is said."""

ROWS, FRAMES, SIDE = 200, 64, 512
CAPTION = 60


def drawn(block: Block, words: int = WORDS) -> dict[str, Any]:
    """One block, ready for a template that escapes."""
    match block:
        case Text(text=text):
            return {"type": "text", "text": inert(text, words)}
        case Code(text=text, language=language):
            return {"type": "code", "text": inert(text, words), "language": inert(language, 40)}
        case Table(columns=columns, rows=rows):
            cells = [[inert(c, 400) for c in row] for row in rows[:ROWS]]
            return {"type": "table", "columns": [inert(c, 80) for c in columns], "rows": cells}
        case Image():
            return _image(block)
        case Frames(frames=frames, captions=captions):
            shown = [drawn(f, words) for f in frames[:FRAMES]]
            words_under = [inert(c, CAPTION) for c in captions[: len(shown)]] + [""] * (len(shown) - len(captions))
            each = [{"block": f, "caption": c} for f, c in zip(shown, words_under, strict=True)]
            return {"type": "frames", "frames": each, "seconds_each": block.seconds_each}


def _image(image: Image) -> dict[str, Any]:
    rows = [row[:SIDE] for row in image.pixels[:SIDE]]
    width = max((len(row) for row in rows), default=0)
    return {
        "type": "image",
        "source": f"data:image/png;base64,{b64encode(png(rows, image.palette)).decode()}" if width else "",
        "alt": inert(image.alt, 300),
        "width": width,
        "height": len(rows),
        "coloured": bool(image.palette),
    }


def png(rows: Sequence[Sequence[int]], palette: Sequence[Sequence[int]] = ()) -> bytes:
    """Grey rows, 0 paper to 255 ink, or rows of places in a palette, as a PNG file. Short rows are filled with 0, and
    values clipped."""
    width, most = max(map(len, rows)), len(palette) - 1 if palette else 255
    filled = [bytes(min(max(v, 0), most) for v in (*row, *[0] * (width - len(row)))) for row in rows]
    lines = b"".join(b"\0" + (line if palette else bytes(255 - v for v in line)) for line in filled)
    colours = bytes(min(max(v, 0), 255) for colour in palette for v in colour)
    chunks = (
        (b"IHDR", pack(">IIBBBBB", width, len(rows), 8, 3 if palette else 0, 0, 0, 0)),
        *([(b"PLTE", colours)] if palette else []),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    body = b"".join(pack(">I", len(d)) + n + d + pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
