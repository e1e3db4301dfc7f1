"""What a run found, from its record alone: as JSON, as tables for a terminal, as one self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rrm.errors import RrmError, StoreError
from rrm.graph import TaskGraph
from rrm.inert import inert
from rrm.measure import Figure, temperature_at_bound
from rrm.records import Arm, GateResult, SpotResult
from rrm.registry import in_file, located
from rrm.report.gap import RewardGap
from rrm.report.reading import Reading
from rrm.report.study import GraphOf, Run, Study, growth, performance_share, work_of, work_with_helpers
from rrm.report.trial import Tried, trials
from rrm.report.trial import to_json as trial_json
from rrm.report.verdict import Verdict, limits, verdicts
from rrm.spot import agreement, recall
from rrm.store import Store

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Report", "Verdict"]

SCHEMA = 1
"""Version of `Report.to_json`, on which scripts elsewhere rely."""


def planned_graph(arm: Arm) -> TaskGraph:
    """The task graph of an arm's recorded plan. Raises StoreError if it cannot be read, PlanError if a component of it
    is not installed here."""
    from rrm.job import plan_of  # lazily: whoever hands in graphs of their own needs no plan

    return plan_of(arm).graph()


def _harmless(arm: Arm, trusted: Collection[str]) -> Arm:
    """The arm, if no component that a report builds is code in a file that is not trusted. Raises RrmError else."""

    def named(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield from [value] if in_file(value) else []
        elif isinstance(value, (dict, list)):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from named(inner)

    def built(table: object) -> Iterator[object]:
        for key, value in table.items() if isinstance(table, dict) else ():
            yield from [value] if key in ("task", "wrapped_in") else built(value)

    folder = str(arm.plan.get("folder", ""))
    for place in (found for value in built(arm.plan.get("node")) for found in named(value)):
        if located(place, folder) in trusted:
            continue
        raise RrmError(
            f"the record names code in a file, {inert(place, 200)!r}, which a report would run: "
            "if you trust it, say so (rrm report --trust; trust=True in Python)"
        )
    return arm


class Report:
    """All figures of a study. Reads the record once, and asks the truth of what was recorded; trains nothing."""

    def __init__(self, study: Study, store: Store) -> None:
        self.study, self._store = study, store
        self.verdicts: list[Verdict] = verdicts(study)
        """What the figures show, in sentences, in order of level."""
        self.trials: list[Tried] = trials(study, store)
        """Trials of help that were done, or begun."""

    @classmethod
    def from_store(
        cls, store: Store, *, graph_of: GraphOf = planned_graph, trust: bool | Collection[str] = False
    ) -> Report:
        """Raises StoreError if the record is damaged, PlanError if a plan in it cannot be built here.

        Tasks and wrappers of the recorded plans are built to read it. One that stands in a file, as in
        `use = "my_task.py:MyTask"`, is code of the record's author: RrmError, unless `trust` says that it may run: all
        such code, or the components named (as `Plan.files` names them).
        """
        if trust is True:
            return cls(Study.read(store, graph_of), store)
        return cls(Study.read(store, lambda arm: graph_of(_harmless(arm, trust or ()))), store)

    @property
    def title(self) -> str:
        """The plan's, or else the name of the run's folder."""
        title = self.study.title or self._store.folder.resolve().name
        return f"Small size (--fast): {title}" if self.study.small else title

    def to_json(self) -> dict[str, Any]:
        """The figures for scripts, in the form of schema 1. What was not measured is None, never 0."""
        study = self.study
        return {
            "schema": SCHEMA,
            "title": study.title or None,
            "fast": study.small,
            "arms": [
                {
                    "arm": {**run.varied, "name": run.arm.name},
                    "seed": run.arm.seed,
                    "nodes": {node: _node(study, run, node) for node in study.levels if node in run.arm.nodes},
                }
                for run in study.runs
            ],
            "gap_recovered": {node: _gap(study, node) for node in study.levels},
            "error_growth": {
                name: {node: _figure(growth(runs, node)) for node in study.levels}
                for name, runs in study.arms().items()
            },
            "verdicts": [{"node": v.node, "setting": v.setting, "kind": v.kind, "text": v.text} for v in self.verdicts],
            "limits": limits(study),
            **({"trial": [trial_json(t) for t in self.trials]} if self.trials else {}),
        }

    def print(self, console: Console) -> None:
        """The tables and the verdicts, for a console of 100 columns or more."""
        from rrm.report.terminal import show, show_trials

        show(self.study, self.verdicts, console)
        show_trials(self.trials, console)

    def write_html(self, path: Path) -> None:
        """One page that needs nothing else. Raises StoreError if it cannot be written; then no half page is left."""
        from rrm.report.html import page
        from rrm.report.shown import shown

        text = page(self.study, self.verdicts, shown(self.study, self._store), self.title, self.trials)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(f"{path}: the report cannot be written: {error.strerror or error}") from error


def _node(study: Study, run: Run, node: str) -> dict[str, Any]:
    reading = run.readings.get(node, Reading())
    gate, errors = reading.gate, run.helper_errors(node)
    task = run.graph.tasks.get(node)
    more: dict[str, Any] = {name: _figure(f) for name, f in reading.measures.items()}
    curves = {n: [{"round": r, **(_figure(f) or {})} for r, f in c] for n, c in reading.measure_curves.items()}
    if "performance" in more:
        more["performance_share"] = _round(performance_share(study, run, node))
    if task is not None:
        more |= task.about()
        more |= work_of(run, node)
        if reading.work is not None:
            more[f"{task.work_name}_with_helpers"] = work_with_helpers(run, node)
    return {
        "level": run.graph.level_of().get(node),
        "task": run.graph.tasks[node].name() if node in run.graph.tasks else None,
        "finished": reading.finished,
        "truth": _figure(reading.truth),
        "zero_shot": _mean(reading.zero_shot),
        "majority": _mean(reading.majority),
        "tree": _mean(reading.tree),
        "judge_accuracy": _figure(reading.judge),
        "reward_accuracy": _figure(reading.reward),
        "coverage": _mean(reading.coverage),
        "judgements": reading.judgements,
        "imported_judgements": reading.imported,
        "abstained": _round(reading.abstained),
        "helper_questions": reading.helper_questions,
        "helper_distinct": reading.helper_distinct,
        "cpu_seconds": _round(reading.cpu),
        "cpu_by_stage": {stage: _round(s) for stage, s in reading.seconds.items()} or None,
        "gate": None if gate is None else "passed" if gate.passed else "failed",
        "gate_judgements": reading.gate_judgements,
        "gate_questions": reading.gate_questions,
        "gate_detail": None if gate is None else _gate(gate),
        "spot": {subtask: _spot(result) for subtask, result in run.spots(node).items()} or None,
        "spot_judgements": reading.spot_judgements,
        "spot_questions": reading.spot_questions,
        "curve": [{"round": n, **(_figure(f) or {})} for n, f in reading.curve] or None,
        "judge_curve": [{"round": n, **(_figure(f) or {})} for n, f in reading.judge_curve] or None,
        "error_kind": ", ".join(sorted({e.kind or e.use for e in errors})) or None,
        "helper_errors": [e._asdict() for e in errors] or None,
        "trained_on_every_item": reading.exhaustive,
        **more,
        "person_seconds": _round(reading.person_seconds),
        "asked_by_kind": {
            kind: {"cases": many, "abstained": silent, "seconds": _round(seconds)}
            for kind, (many, silent, seconds) in sorted(reading.kinds.items())
        }
        or None,
        "measure_curves": curves or None,
        "reward_gap": _reward_gap(reading.gap),
        "repeated_items": _round(reading.repeats),
        "asked_in_training": _round(reading.familiar),
    }


def _gate(result: GateResult) -> dict[str, Any]:
    end = {-1: "low", 0: None, 1: "high"}[temperature_at_bound(result.temperature)]
    return {**result.model_dump(), "temperature_at_bound": end}


def _spot(result: SpotResult) -> dict[str, Any]:
    told = result.model_dump(exclude={"subtask", "moment"})
    return {**told, "agreement": _figure(agreement(result)), "recall": _figure(recall(result))}


def _gap(study: Study, node: str) -> dict[str, Any] | None:
    figure = _figure(study.gap_recovered(node))
    if figure is None:
        return None
    each = [{**run.varied, "seed": run.arm.seed, "value": _round(gap)} for run, gap in study.gaps(node)]
    settings = [
        {"setting": one[0][0].varied, **(_figure(study.gap_recovered(node, name)) or {}),
         "median": _round(median(gap for _, gap in one))}
        for name, one in study.gaps_by_setting(node).items()
    ]  # fmt: skip
    return {**figure, "median": _round(study.gap_median(node)), "each": each, "by_setting": settings}


def _reward_gap(gap: RewardGap | None) -> dict[str, Any] | None:
    if gap is None:
        return None
    over = gap.over
    return {
        "rounds": [
            {"round": p.round, "believed": _figure(p.believed), "true": _figure(p.true),
             "correlation": _figure(p.correlation)}
            for p in gap.points
        ],
        "correlation": _round(gap.correlation),
        "overoptimised": over and {
            "since": over.since, "until": over.until, "believed": _figure(over.believed), "true": _figure(over.true)
        },
    }  # fmt: skip


def _figure(f: Figure | None) -> dict[str, Any] | None:
    return None if f is None else {"mean": _round(f.mean), "low": _round(f.low), "high": _round(f.high), "n": f.n}


def _mean(f: Figure | None) -> float | None:
    return None if f is None else _round(f.mean)


def _round(x: float | None) -> float | None:
    return None if x is None else round(x, 6)
