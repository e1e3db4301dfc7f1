"""What tasks tell of their answers beside the truth, in tables: any measure by its name, and what a person spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rrm.measure import Figure
from rrm.report.study import Run, Study, cell, performance_share, work_of, work_with_helpers

SHARE = "performance share"


@dataclass(frozen=True)
class Row:
    """One arm of one node."""

    node: str
    arm: str
    figures: Mapping[str, Figure | None]
    """By column; a count or a share has no bounds."""


@dataclass(frozen=True)
class Sheet:
    """Nodes that tell the same."""

    columns: Sequence[str]
    counts: frozenset[str]
    """The columns that count something, rather than tell a share or a worth."""
    rows: Sequence[Row]


def sheets(study: Study) -> list[Sheet]:
    """A table for each set of columns, of the nodes that have any measure, in the order of the study."""
    found: dict[tuple[str, ...], list[Row]] = {}
    counted: dict[tuple[str, ...], frozenset[str]] = {}
    for node in study.levels:
        rows, counts = _rows(study, node)
        told = {name: None for row in rows for name, f in row.figures.items() if f is not None}
        if not set(told) - counts:
            continue
        columns = tuple(name for name in dict.fromkeys(n for row in rows for n in row.figures) if name in told)
        found.setdefault(columns, []).extend(rows)
        counted[columns] = counts & set(columns)
    return [Sheet(columns, counted[columns], rows) for columns, rows in found.items()]


def _rows(study: Study, node: str) -> tuple[list[Row], frozenset[str]]:
    work = study.task(node).work_name.replace("_", " ")
    names = list(dict.fromkeys(n for run in study.runs if (r := run.readings.get(node)) for n in r.measures))
    counts = {work: _work, "with helpers": work_with_helpers, "person's seconds": _seconds}
    rows = []
    for arm, runs in study.arms().items():
        if not any(node in run.readings for run in runs):
            continue
        figures: dict[str, Figure | None] = {}
        for name in names:
            figures[name.replace("_", " ")] = cell(runs, node, lambda r, name=name: r.measures.get(name))  # type: ignore[misc]
            if name == "performance":
                figures[SHARE] = _mean([performance_share(study, run, node) for run in runs])
        told = [run for run in runs if node in run.readings]
        figures |= {name: _mean([get(run, node) for run in told]) for name, get in counts.items()}
        rows.append(Row(node, arm, figures))
    return rows, frozenset(counts)


def _work(run: Run, node: str) -> float | None:
    return work_of(run, node).get(run.graph.tasks[node].work_name)


def _seconds(run: Run, node: str) -> float | None:
    return run.readings[node].person_seconds


def _mean(values: Sequence[float | None]) -> Figure | None:
    known = [x for x in values if x is not None]
    return Figure(fmean(known), None, None, len(known)) if known else None
