"""Typed blocks for display: what a page, a terminal or a report shows of an item. Never HTML, always inert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rrm.records import Record


class Text(Record):
    """Plain words."""

    type: Literal["text"] = "text"
    text: str


class Code(Record):
    """Source text, shown in a fixed-width face."""

    type: Literal["code"] = "code"
    text: str
    language: str = ""


class Table(Record):
    """Rows of cells."""

    type: Literal["table"] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Image(Record):
    """A grey picture."""

    type: Literal["image"] = "image"
    pixels: tuple[tuple[int, ...], ...]
    """Rows of brightness, 0 (paper) to 255 (ink)."""
    alt: str
    """What a screen reader says; it must not give the answer away."""


class Frames(Record):
    """A sequence of pictures or texts that plays."""

    type: Literal["frames"] = "frames"
    frames: tuple[Image | Text, ...]
    seconds_each: float = 0.25


Block = Annotated[Text | Code | Table | Image | Frames, Field(discriminator="type")]
