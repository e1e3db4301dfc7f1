"""Trials of help, as the record has them: every judgement held against the truth, and what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm.figures import bounds, number, signed
from rrm.inert import inert
from rrm.measure import Figure, agreement
from rrm.picture import sentence
from rrm.records import FEEDBACK, Abstention, Case, Feedback
from rrm.registry import EVALUATORS
from rrm.report.study import Run, Study
from rrm.report.verdict import SMALL
from rrm.roles import Task
from rrm.store import Store
from rrm.trial import ArmResult, Judgements, TrialResult, Turned, analyse
from rrm.trial.record import NODE, SEATS, STREAM, TrialRecord

Floats = NDArray[np.float64]


class Tried(NamedTuple):
    """A trial of the record, and what it found."""

    key: str
    node: str
    arm: str
    """The study's arm whose agents answered and helped."""
    planned: int
    judged: int
    alike: int
    """Judgements of which nothing is learnt, for the truth makes no difference between the two answers."""
    result: TrialResult
    words: list[str]
    """What the figures show, in sentences; of a study at its small size, that they show nothing."""


def trials(study: Study, store: Store) -> list[Tried]:
    """Every trial of arms that count, the newest of each. Asks the truth of what was judged."""
    runs = {run.arm.id: run for run in study.runs}
    newest: dict[str, TrialRecord] = {}
    for record in store.read(NODE, STREAM, TrialRecord).values():
        if record.arm in runs:
            newest[record.key] = record
    found = [t for r in newest.values() if r.node in runs[r.arm].graph.tasks and (t := _read(r, runs[r.arm], store))]
    return [t._replace(words=[SMALL]) for t in found] if study.small else found


def _read(record: TrialRecord, run: Run, store: Store) -> Tried | None:
    cases = store.read(record.key, f"{SEATS}/cases", Case)
    feedback: dict[int, Feedback] = store.read(record.key, f"{SEATS}/feedback", FEEDBACK)
    said = {n: f for n, f in feedback.items() if n in cases and n < len(record.design)}
    if not said:
        return None
    rows = _rows(record, run, cases, said)
    names = [_named(cell.name, cell.seconds) for cell in record.cells]
    result = analyse(rows, names, control=[cell.control for cell in record.cells])
    return Tried(
        key=record.key,
        node=record.node,
        arm=run.label,
        planned=len(record.design),
        judged=len(said),
        alike=len(said) - len(rows),
        result=result,
        words=[*_sentences(result), *result.notes],
    )


def _rows(record: TrialRecord, run: Run, cases: dict[int, Case], said: dict[int, Feedback]) -> Judgements:
    """The judgements of cases whose two answers the truth tells apart."""
    task, opens = run.graph.tasks[record.node], _who_opens(record, said)
    truths: dict[tuple[str, str], float | None] = {}

    def true(task: Task, case: Case, text: str) -> float | None:
        at = case.item.prompt, text
        if at not in truths:
            truths[at] = task.truth(case.item, text)
        return truths[at]

    kept: list[tuple[float, ...]] = []
    for place, feedback in said.items():
        case, (rater, item, cell) = cases[place], record.design[place]
        worth = [true(task, case, r.text) for r in case.responses]
        right, asked = agreement(feedback, worth)
        silent = isinstance(feedback, Abstention) or not feedback.comparisons
        if (not silent and not asked) or None in worth or len(set(worth)) < 2:
            continue
        help_ = _help_right(run, record.node, case)
        seen = len(set(feedback.seen)) / len(case.exhibits) if case.exhibits and rater in opens else np.nan
        seconds, sure = (np.nan if x is None else x for x in (feedback.seconds, feedback.confidence))
        kept.append((rater, item, cell, 0.5 if silent else right / asked, silent, seconds, sure, seen, help_))
    columns = np.array(kept, dtype=float).reshape(len(kept), 9).T
    rater, item, cell = columns[:3].astype(np.int64)
    right, silent_, seconds_, sure_, seen_, help__ = columns[3:]
    return Judgements(rater, item, cell, right, silent_, seconds_, sure_, seen_, help__)


def _who_opens(record: TrialRecord, said: dict[int, Feedback]) -> set[int]:
    """The raters of whom it is recorded what they opened: people, also those who opened nothing, and whoever did."""
    known = set(EVALUATORS.names())
    people = {i for i, name in enumerate(record.raters) if name in known and EVALUATORS.get(name).is_person()}
    return people | {record.design[n][0] for n, feedback in said.items() if feedback.seen}


def _help_right(run: Run, node: str, case: Case) -> float:
    """The share of the case's answers of helpers that the truth confirms; nan where there are none that it can."""
    told = []
    for exhibit in case.exhibits:
        query = exhibit.query
        helper = run.graph.helpers_of(node).get(query.subtask) if query else None
        task = run.graph.tasks.get(helper) if helper else None
        if query and task is not None and query.item.task == task.name():
            worth = task.truth(query.item, exhibit.text)
            told += [] if worth is None else [worth == 1]
    return float(np.mean(told)) if told else float("nan")


def _named(name: str, seconds: float | None) -> str:
    return name if seconds is None else f"{name}, {seconds:g} s"


# -- in words ---------------------------------------------------------------------------------------------------------


def _sentences(result: TrialResult) -> list[str]:
    return [text for arm in result.arms if arm.uplift is not None for text in _of_arm(arm, arm.uplift)]


def _of_arm(arm: ArmResult, uplift: Figure) -> list[str]:
    name = inert(arm.name, 60)
    if uplift.low is None or uplift.high is None:
        return [f"{name}: too few judgements to say what it is worth."]
    told = f"by {points(uplift.mean)} [{points(uplift.low)}, {points(uplift.high)}] points"
    if uplift.low > 0:
        said = [f"{name}: people are right oftener, {told}."]
    elif uplift.high < 0:
        said = [f"{name}: people are right less often, {told}: it misleads."]
    else:
        said = [f"{name}: no difference is shown: {told.removeprefix('by ')}."]
    turned = arm.turned
    chance = turned.by_chance if turned else None
    if turned and chance and turned.spoiled.low is not None and turned.spoiled.low > chance.mean:
        said.append(
            f"{name}: what was right alone is wrong with it in {turned.spoiled.mean:.0%} of matched pairs, and by "
            f"chance in {chance.mean:.0%}: people rely on it too much."
        )
    if arm.overconfidence and arm.overconfidence.low is not None and arm.overconfidence.low > 0:
        said.append(f"{name}: people are surer than they are right, by {points(arm.overconfidence.mean)} points.")
    return said


def points(x: float) -> str:
    """A share in points, signed."""
    return f"{100 * x:+.0f}".replace("-", "−")


# -- as figures -------------------------------------------------------------------------------------------------------


def to_json(tried: Tried) -> dict[str, Any]:
    """For scripts. What was not measured is None."""
    return {
        "node": tried.node,
        "arm": tried.arm,
        "key": tried.key,
        "planned": tried.planned,
        "judged": tried.judged,
        "alike": tried.alike,
        "cells": [_cell(arm) for arm in tried.result.arms],
        "words": tried.words,
    }


def _cell(arm: ArmResult) -> dict[str, Any]:
    return {name: _plain(value) for name, value in arm._asdict().items()}


def _plain(value: object) -> Any:
    if isinstance(value, Figure):
        return {k: v if v is None or k == "n" else round(v, 6) for k, v in value._asdict().items()}
    if isinstance(value, Turned):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    return round(value, 6) if isinstance(value, float) else value


COLUMNS = (
    *("judged", "right", "uplift", "cannot tell", "seconds", "opened", "sure"),
    *("mended", "spoiled", "by chance", "help wrong"),
)
"""What tables may show of an arm."""


def columns(arms: Sequence[ArmResult]) -> list[int]:
    """Which of them anything is known of."""
    known = [cells(arm) for arm in arms]
    return [i for i in range(len(COLUMNS)) if any(row[i] not in (("–", ""), ("", "")) for row in known)]


def cells(arm: ArmResult) -> list[tuple[str, str]]:
    """A row of those columns: figure and interval. Shares are of judgements; the uplift is in points."""
    turned = arm.turned
    uplift = ("", "") if arm.uplift is None else (signed(arm.uplift), "")
    return [
        (f"{arm.judgements:,}", ""),
        _share(arm.accuracy),
        uplift,
        _share(arm.abstained, plain=True),
        ("–" if arm.seconds is None else f"{arm.seconds:.3g}", ""),
        _share(arm.opened, plain=True),
        _share(arm.confidence, plain=True),
        *(
            _share(f, plain=True)
            for f in ((turned.mended, turned.spoiled, turned.by_chance) if turned else (None,) * 3)
        ),
        _share(arm.help_wrong, plain=True),
    ]


def _share(f: Figure | None, *, plain: bool = False) -> tuple[str, str]:
    return ("–", "") if f is None else (number(f.mean), "" if plain else bounds(f))


def shown(all_: Sequence[Tried]) -> list[dict[str, Any]]:
    """What a page shows of them, every text in it inert."""
    return [
        {
            "node": inert(t.node, 80), "arm": inert(t.arm, 120), "planned": t.planned, "judged": t.judged,
            "alike": t.alike, "columns": [COLUMNS[i] for i in there], "words": [sentence(w) for w in t.words],
            "rows": [{"name": inert(a.name, 80), "cells": [cells(a)[i] for i in there]} for a in t.result.arms],
        }
        for t in all_
        for there in [columns(t.result.arms)]
    ]  # fmt: skip
