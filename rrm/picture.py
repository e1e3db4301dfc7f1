"""Pictures as plain SVG text, in the reader's own colours: the task graph, and line charts with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rrm.errors import RrmError
from rrm.graph import TaskGraph
from rrm.inert import inert
from rrm.measure import Figure

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colours, which stay apart for colour-blind readers; a page may override them as --series-0, …"""

_DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4")
_ROW, _GAP, _TALL, _CHAR, _WIDEST = 92, 26, 34, 7.4, 1040
_TICKS = 14
"""So many places on the x axis are named at most."""
_SENTENCE = 8000
"""Characters: more than any sentence has of its own."""
_LABELS = 60
"""With more edges than this, labels would cover each other: they are read by pointing at the edge instead."""


Scale: TypeAlias = Callable[[float], float]
"""From a value to its place on the page."""


class Box(NamedTuple):
    """Where a node stands in the picture, in pixels."""

    x: float
    y: float
    width: float


class Series(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, Figure]]
    colour: int = 0
    """Index into the palette."""
    line: bool = True
    """False for points alone: a baseline."""


def short(text: str, limit: int) -> str:
    """A name from a plan or an agent on one line of at most `limit` characters, with nothing in it that acts."""
    line = inert(text, 400).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def sentence(text: str) -> str:
    """What a report says itself, whole: what plans and agents wrote is cut before it becomes a part of it."""
    return inert(text, _SENTENCE).replace("\n", " ")


def label(text: str, limit: int = 40) -> str:
    """The same, escaped to stand in SVG."""
    return escape(short(text, limit))


# -- the task graph ---------------------------------------------------------------------------------------------------


def layout(graph: TaskGraph) -> tuple[dict[str, Box], float, float]:
    """A box for every node, and the picture's width and height: level 0 at the bottom, helpers below whom they help.

    In a level, nodes stand in order of the mean place of their helpers (Sugiyama's barycentre, one sweep), and a level
    too wide for a page is broken into several rows.
    """
    edges: dict[str, list[str]] = {}
    for node, _, helper in graph.edges():
        edges.setdefault(node, []).append(helper)
    place: dict[str, float] = {}
    rows: list[list[str]] = []
    for level in graph.levels():
        means = {n: sum(place[h] for h in edges[n]) / len(edges[n]) if n in edges else math.inf for n in level}
        ordered = sorted(level, key=lambda n: (means[n], n))
        rows += _broken(ordered)
        place.update({n: (i + 0.5) / len(ordered) for i, n in enumerate(ordered)})
    width = max((_row_width(row) for row in rows), default=0.0) + 2 * _GAP
    height = len(rows) * _ROW - (_ROW - _TALL) + 2 * _GAP if rows else 2.0 * _GAP
    boxes = {}
    for number, row in enumerate(rows):
        x = (width - _row_width(row)) / 2
        for node in row:
            boxes[node] = Box(x, height - _GAP - _TALL - number * _ROW, _node_width(node))
            x += _node_width(node) + _GAP
    return boxes, width, height


def _node_width(node: str) -> float:
    return min(len(node), 24) * _CHAR + 28


def _row_width(row: Sequence[str]) -> float:
    return sum(map(_node_width, row)) + _GAP * max(len(row) - 1, 0)


def _broken(ordered: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    for node in ordered:
        if rows[-1] and _row_width([*rows[-1], node]) > _WIDEST:
            rows.append([])
        rows[-1].append(node)
    return rows if ordered else []


def graph_svg(graph: TaskGraph, *, standalone: bool = True, trained: Collection[str] = ()) -> str:
    """The task graph: arrows run from a helper up to the node that it helps to judge, and name the subtask.

    `standalone` adds the XML namespace, which a file needs and a page does not. Nodes that are `trained` have a tick
    and a strong edge.
    """
    boxes, width, height = layout(graph)
    subtasks: dict[tuple[str, str], list[str]] = {}
    for node, subtask, helper in graph.edges():
        subtasks.setdefault((helper, node), []).append(subtask)
    title = f"Task graph: {len(boxes)} nodes on {len(graph.levels())} levels, help flowing upwards"
    body = [_edge(boxes[h], boxes[n], s, h, n, len(subtasks) <= _LABELS) for (h, n), s in subtasks.items()]
    level = graph.level_of()
    body += [_node(node, box, level[node], graph.tasks[node].name(), node in trained) for node, box in boxes.items()]
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.5 7.5 4 0 7.5Z" fill="currentColor"/></marker></defs>'
    )
    return _svg("graph", title, width, height, arrow + "".join(body), standalone)


def _node(node: str, box: Box, level: int, task: str, trained: bool) -> str:
    edge = 'stroke-opacity="1" stroke-width="2.4"' if trained else 'stroke-opacity=".55" stroke-width="1.2"'
    return (
        f"<g><title>{label(node, 200)}: {label(task)}, level {level}{', trained' if trained else ''}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{_TALL}" rx="7" '
        'style="fill:var(--surface, Canvas)" stroke="currentColor" '
        f"{edge}/>"
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + _TALL / 2 + 4.5:.1f}" text-anchor="middle" font-size="13" '
        f'fill="currentColor">{"✓ " if trained else ""}{label(node, 24)}</text></g>'
    )


def _edge(low: Box, high: Box, subtasks: Sequence[str], helper: str, node: str, labelled: bool) -> str:
    x1, y1, x2, y2 = low.x + low.width / 2, low.y, high.x + high.width / 2, high.y + _TALL + 2
    bend, words = (y1 - y2) / 2, ", ".join(subtasks)
    x, y, room = (x1 + x2) / 2, (y1 + y2) / 2, min(len(words), 28) * 6.2 + 8
    text = (
        f'<rect x="{x - room / 2:.1f}" y="{y - 8:.1f}" width="{room:.1f}" height="16" '
        'style="fill:var(--paper, Canvas)"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11.5" '
        f'style="fill:var(--quiet, currentColor)">{label(words, 28)}</text>'
        if labelled
        else ""
    )
    return (
        f"<g><title>{label(helper, 200)} helps to judge {label(node, 200)}: {label(words, 200)}</title>"
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 - bend:.1f} {x2:.1f} {y2 + bend:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="currentColor" stroke-opacity=".5" stroke-width="1.3" marker-end="url(#arrow)"/>{text}</g>'
    )


def graph_png(graph: TaskGraph, path: Path) -> None:
    """The same picture as a PNG file. Raises RrmError, saying what to install, where matplotlib is missing."""
    try:
        figure, patches = import_module("matplotlib.figure"), import_module("matplotlib.patches")
    except ImportError:
        raise RrmError(
            "a PNG of the graph needs matplotlib: in a clone of rrm, .venv/bin/pip install -e '.[plot]'; "
            "or write an .svg, which needs nothing more"
        ) from None
    boxes, width, height = layout(graph)
    canvas = figure.Figure(figsize=(width / 80, height / 80), dpi=160)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    plain = {"fontfamily": "sans-serif", "ha": "center", "va": "center", "parse_math": False}
    for node, subtask, helper in graph.edges():
        low, high = boxes[helper], boxes[node]
        tail, head = (low.x + low.width / 2, low.y), (high.x + high.width / 2, high.y + _TALL)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "#777777", "lw": 1})
        if len(graph.edges()) <= _LABELS:
            middle = ((tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2)
            backed = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axes.text(*middle, short(subtask, 28), fontsize=7, color="#555555", bbox=backed, **plain)
    for node, box in boxes.items():
        style = {"boxstyle": "round,pad=0,rounding_size=7", "facecolor": "white", "edgecolor": "#444444"}
        axes.add_patch(patches.FancyBboxPatch((box.x, box.y), box.width, _TALL, **style))
        axes.text(box.x + box.width / 2, box.y + _TALL / 2, short(node, 24), fontsize=8, **plain)
    canvas.savefig(path, format="png", metadata={"Software": None})


# -- line charts ------------------------------------------------------------------------------------------------------


def line_chart_svg(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: Mapping[float, str] | None = None,
    standalone: bool = True,
) -> str:
    """Lines over x with 95 % whiskers; y runs from 0 to 1, or further where a mean does.

    Each line differs by colour, dash and marker, so that it reads in print; `x_ticks` names the places on the x axis.
    """
    xs = sorted({x for s in series for x, _ in s.points})
    every = -(-len(xs) // _TICKS) or 1
    ticks = dict(x_ticks) if x_ticks is not None else {x: f"{x:g}" for x in xs[::every]}
    floor = min([0.0, *(f.mean for s in series for _, f in s.points)])
    roof = max([1.0, *(f.mean for s in series for _, f in s.points)])
    legend, wide = _legend(series)
    left, right, top, bottom, width = 40.0, 12.0, 14.0, 52.0, 420.0
    high, plot = 200.0, width - left - right
    span = (max(xs) - min(xs)) if len(xs) > 1 else 1.0
    pad = 0.07 * plot

    def at_x(x: float) -> float:
        return left + pad + (plot - 2 * pad) * ((x - min(xs)) / span if len(xs) > 1 else 0.5)

    def at_y(y: float) -> float:
        return top + high * (1 - (min(max(y, floor), roof) - floor) / (roof - floor))

    body = [
        f'<line x1="{left}" x2="{width - right}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="currentColor" '
        f'stroke-opacity="{0.35 if i == 0 else 0.12}"/><text x="{left - 7}" y="{at_y(y) + 4:.1f}" text-anchor="end" '
        f'font-size="11.5" fill="currentColor" fill-opacity=".75">{y:.3g}</text>'
        for i, y in enumerate(floor + (roof - floor) * k / 4 for k in range(5))
    ]
    body += [
        f'<text x="{at_x(x):.1f}" y="{top + high + 17}" text-anchor="middle" font-size="11.5" fill="currentColor" '
        f'fill-opacity=".75">{label(name, 16)}</text>'
        for x, name in ticks.items()
        if xs
    ]
    body.append(
        f'<text x="{left + plot / 2}" y="{top + high + 35}" text-anchor="middle" font-size="12" fill="currentColor">'
        f"{label(x_label)}</text>"
    )
    for i, s in enumerate(series):
        shift = (i - (len(series) - 1) / 2) * 3.0  # so that whiskers of equal means stand side by side
        body.append(_line(s, [(at_x(x) + shift, at_y, f, ticks.get(x, f"{x:g}")) for x, f in s.points], y_label))
    body.append(f'<g transform="translate({left} {top + high + bottom + 6})">{legend}</g>')
    return _svg(
        "chart", f"{title}: {y_label} by {x_label}", width, top + high + bottom + wide, "".join(body), standalone
    )


def _line(s: Series, points: Sequence[tuple[float, Scale, Figure, str]], y_label: str) -> str:
    drawn, path = [], []
    for x, scale, figure, tick in points:
        y = scale(figure.mean)
        path.append(f"{x:.1f} {y:.1f}")
        bounds = ""
        if figure.low is not None and figure.high is not None:
            low, high = scale(figure.low), scale(figure.high)
            bounds = f" [{figure.low:.3f}, {figure.high:.3f}]"
            drawn.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke-width="1.4" stroke-opacity=".6"/>')
        drawn.append(
            f"<g><title>{label(s.name)}, {label(tick)}: {label(y_label)} {figure.mean:.3f}{bounds}</title>"
            f"{_marker(s, x, y)}</g>"
        )
    line = f'<path d="M{"L".join(path)}" stroke-width="2" {_dash(s)}/>' if s.line and len(path) > 1 else ""
    return f'<g {_stroke(s)} fill="none">{line}{"".join(drawn)}</g>'


def _stroke(s: Series) -> str:
    i = s.colour % len(PALETTE)
    return f'style="stroke:var(--series-{i}, {PALETTE[i]});color:var(--series-{i}, {PALETTE[i]})"'


def _dash(s: Series) -> str:
    dash = _DASHES[s.colour % len(_DASHES)]
    return f'stroke-dasharray="{dash}"' if dash else ""


def _marker(s: Series, x: float, y: float) -> str:
    if not s.line:
        return f'<path d="M{x - 5:.1f} {y:.1f}H{x + 5:.1f}" stroke-width="2"/>'
    shape = s.colour % 3
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="currentColor"/>'
    if shape == 1:
        return f'<rect x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4" fill="currentColor"/>'
    return f'<path d="M{x:.1f} {y - 4.4:.1f}l4.2 7.4h-8.4z" fill="currentColor"/>'


def _legend(series: Sequence[Series]) -> tuple[str, float]:
    """The names of the lines in rows, and how tall that is."""
    parts, x, y = [], 0.0, 0.0
    for s in series:
        width = 40 + min(len(s.name), 44) * 6.6
        if x and x + width > 360:
            x, y = 0.0, y + 19
        line = f'<path d="M{x:.1f} {y}h22" stroke-width="2" {_dash(s)}/>' if s.line else ""
        parts.append(
            f'<g {_stroke(s)} fill="none">{line}{_marker(s, x + 11, y)}</g>'
            f'<text x="{x + 28:.1f}" y="{y + 4}" font-size="12" fill="currentColor">{label(s.name, 44)}</text>'
        )
        x += width
    return "".join(parts), y + 22 if series else 0.0


def _svg(kind: str, title: str, width: float, height: float, body: str, standalone: bool) -> str:
    namespace = 'xmlns="http://www.w3.org/2000/svg" ' if standalone else ""
    return (
        f'<svg {namespace}class="{kind}" role="img" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'font-family="ui-sans-serif, system-ui, sans-serif"><title>{label(title, 200)}</title>{body}</svg>\n'
    )
