"""Draws a case in a terminal, with everything that an agent wrote made inert."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text as Words

from rrm.blocks import Block, Code, Frames, Image, Table, Text
from rrm.inert import inert
from rrm.records import Case, Exhibit
from rrm.roles import Task

SHADES = " .:-=+*#%@"
"""Paper to ink, for terminals without colour."""
FRAMES = 12
"""How many pictures of a sequence are laid out; of a longer one, every so many."""
LAID = 64
"""How many frames that are told in letters are laid out, side by side."""
LONG = 20_000
"""How much of an item or an answer is shown, in characters; of an exhibit it is what `inert` shows."""


def draw_case(console: Console, task: Task, case: Case, opened: Collection[str], heading: str) -> None:
    """The item, the answers by number, then the exhibits, of which those that are not opened show their title only."""
    console.print()
    console.print(Rule(Words(inert(heading)), align="left"))
    console.print(_blocks(task.show(case.item), console))
    for number, response in enumerate(case.responses, start=1):
        console.print(Words(f"Answer {number}" if len(case.responses) > 1 else "The answer", style="bold"))
        console.print(Padding(_blocks(task.show(case.item, response.text), console), (0, 0, 1, 2)))
    for number, exhibit in enumerate(case.exhibits, start=1):
        console.print(_exhibit(number, exhibit, case, is_open=exhibit.id in opened))


def _exhibit(number: int, exhibit: Exhibit, case: Case, *, is_open: bool) -> RenderableType:
    about = next((f", about answer {i}" for i, r in enumerate(case.responses, 1) if r.id == exhibit.about), "")
    sure = f", {exhibit.confidence:.0%} sure" if exhibit.confidence is not None else ""
    who = f"e{number}  {exhibit.agent or 'someone'} ({exhibit.kind}{about}{sure})"
    lines = [Words(inert(f"{who} {exhibit.title}", 300), style="cyan")]
    if not is_open:
        lines[0].append(" …")
        return lines[0]
    if exhibit.query is not None:
        lines.append(Words(inert(f"asked: {exhibit.query.item.prompt}", 500), style="dim"))
    lines.append(Words(inert(exhibit.text)))
    return Group(lines[0], *(Padding(line, (0, 0, 0, 4)) for line in lines[1:]))


def _blocks(blocks: Sequence[Block], console: Console) -> Group:
    return Group(*(_block(block, console) for block in blocks))


def _block(block: Block, console: Console) -> RenderableType:
    match block:
        case Text():
            return Words(inert(block.text, LONG))
        case Code():
            return Panel(Words(inert(block.text, LONG)), box=box.ASCII, title=Words(inert(block.language, 40)))
        case Table():
            return _grid(block)
        case Image():
            return _picture(block, console)
        case Frames():
            return _film(block, console)


def _film(block: Frames, console: Console) -> RenderableType:
    """Side by side, where every frame can be told in letters; else one below the other, a few of many."""
    count = len(block.frames)
    words = [*block.captions, *(f"{i + 1} of {count}" for i in range(len(block.captions), count))]
    captions = [Words(inert(caption, 60), style="dim") for caption in words]
    if all(isinstance(f, Image) and f.letters for f in block.frames):
        return Columns(
            [Group(c, _block(f, console)) for c, f in zip(captions[:LAID], block.frames[:LAID], strict=False)],
            padding=(1, 3),
        )
    every = -(-count // FRAMES) or 1
    chosen = list(zip(captions, block.frames, strict=False))[::every]
    return Group(*(part for c, f in chosen for part in (c, _block(f, console))))


def _grid(table: Table) -> Grid:
    grid = Grid(box=box.ASCII2)
    for column in table.columns:
        grid.add_column(Words(inert(column, 200)))
    for row in table.rows:
        grid.add_row(*(Words(inert(cell, 1000)) for cell in row))
    return grid


def _picture(image: Image, console: Console) -> RenderableType:
    if image.letters:
        return Words(inert(image.letters), no_wrap=True)
    caption = Words(inert(image.alt, 300), style="dim")
    rows = [[min(max(p, 0), 255) for p in row] for row in greys(image)]
    if console.color_system in (None, "standard"):
        shaded = ("".join(2 * SHADES[p * (len(SHADES) - 1) // 255] for p in row).rstrip() for row in rows)
        return Group(Words("\n".join(shaded), no_wrap=True), caption)
    lines = Words(no_wrap=True)
    for top, bottom in zip(rows[::2], [*rows[1::2], [0] * len(rows[-1])] if len(rows) % 2 else rows[1::2], strict=True):
        for upper, lower in zip(top, bottom, strict=True):
            lines.append("▀", Style(color=_grey(upper), bgcolor=_grey(lower)))
        lines.append("\n")
    return Group(lines, caption)


def greys(image: Image) -> list[list[int]]:
    """Brightness, 0 paper to 255 ink, of each pixel; of colours, by ITU-R BT.601. What is in no palette is ink."""
    if not image.palette:
        return [list(row) for row in image.pixels]
    inks = [255 - round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in image.palette]
    return [[inks[p] if 0 <= p < len(inks) else 255 for p in row] for row in image.pixels]


def _grey(ink: int) -> str:
    return f"#{255 - ink:02x}{255 - ink:02x}{255 - ink:02x}"
