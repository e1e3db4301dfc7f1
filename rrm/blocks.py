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
    """A picture, grey or of few colours."""

    type: Literal["image"] = "image"
    pixels: tuple[tuple[int, ...], ...]
    """Rows of brightness, 0 (paper) to 255 (ink); with a `palette`, of places in it."""
    alt: str
    """What a screen reader says; it must not give the answer away."""
    palette: tuple[tuple[int, int, int], ...] = Field(default=(), max_length=256)
    """Red, green and blue of each colour, 0 to 255; empty: the picture is grey."""
    letters: str = ""
    """The same as lines of letters, where that can be told: a terminal shows these."""


class Frames(Record):
    """A sequence of pictures or texts that plays."""

    type: Literal["frames"] = "frames"
    frames: tuple[Image | Text, ...]
    captions: tuple[str, ...] = ()
    """Words under the frames, from the first on."""
    names: tuple[str, ...] = ()
    """What an answer calls each frame, from the first on; empty: nothing. A helper that says just this of what is shown
    points to that frame."""
    asked: tuple[str, ...] = ()
    """The prompt with which a helper is asked about each frame, from the first on; empty: none. What it said of it is
    shown at the frame."""
    seconds_each: float = 0.25


Block = Annotated[Text | Code | Table | Image | Frames, Field(discriminator="type")]
