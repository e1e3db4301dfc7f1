"""`rrm plan`: what a run would train again, why, and what that will cost; nothing is trained or recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, Fast, Json, Nodes, Out, PlanFile, Sets, Workers, folder_for, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rrm.job import Job
    from rrm.plan import Study
    from rrm.records import Arm
    from rrm.store import Store


SPOTS = ("spot_judgements", "spot_questions")


@app.command()
def plan(
    plan: PlanFile,
    out: Out = None,
    fast: Fast = False,
    arm: Arms = None,
    node: Nodes = None,
    set_: Sets = None,
    workers: Workers = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Train nodes in small to estimate the time of others.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say which nodes would be trained, why, which of them arms share, and what it will cost.

    \b
    rrm plan configs/glossary.toml
    rrm plan configs/glossary.toml --out runs/glossary --set effort.cases=800

    Judgements are the most that there can be: what the user abstains on, and answers that are equal, are none. Seconds
    are rough: from nodes that are trained in OUT, or else from training each kind of node in small, here and
    now, in a folder that is thrown away.
    """
    from rrm.cost import costs, elapsed
    from rrm.inert import inert
    from rrm.job import jobs
    from rrm.plan import Study
    from rrm.store import Store
    from rrm.worker import cores

    study = Study.load(plan, fast=fast, sets=set_ or (), arms=arm or ())
    study = study.of_nodes(node) if node else study
    if study.left_out:
        typer.echo(inert(f"the plan's trial is not done: {study.left_out}", 500), err=True)
    wanted, _ = jobs(study)
    folder = folder_for(plan, out, fast=fast)
    store = Store(folder, create=False) if (folder / "record.sqlite").is_file() else None
    why = reasons(wanted, store)
    stale = [job for job in wanted if why[job.key] != "trained"]
    cost = costs(stale, study, store, measure=measure)
    entries = [
        {
            "node": job.name,
            "key": job.key,
            "arms": list(job.arms),
            "state": why[job.key],
            **(cost[job.key]._asdict() if job.key in cost else {}),
        }
        for job in wanted
    ]
    spent = {job.key: cost[job.key].seconds for job in stale}
    known = {key: s for key, s in spent.items() if s is not None}
    count = workers or cores()
    whole = elapsed(known, {job.key: job.needs for job in wanted}, count) if len(known) == len(spent) else None
    counts = (
        "judgements",
        "gate_judgements",
        "extra_judgements",
        "helper_questions",
        "gate_questions",
        *SPOTS,
        "imported",
    )
    total: dict[str, Any] = {name: sum(getattr(c, name) for c in cost.values()) for name in counts}
    total |= {"nodes": len(stale), "cpu_seconds": sum(known.values()) if len(known) == len(spent) else None}
    total |= {"seconds": whole, "workers": count}
    trial = sized(study)
    if as_json:
        more = {"trial": trial} if trial else {}
        typer.echo(json.dumps({"schema": 1, "out": str(folder), "nodes": entries, "total": total, **more}, indent=1))
        return
    _print(entries, total, folder, measured=measure)
    if trial:
        _print_trial(trial)


def _print(entries: Sequence[Mapping[str, Any]], total: Mapping[str, Any], folder: Path, *, measured: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from rrm.inert import inert

    console = results()
    table = Table(box=None, pad_edge=False)
    for column in ("node", "arms", "state", "judgements", "questions", "CPU-s"):
        table.add_column(column, justify="right" if column in ("judgements", "questions", "CPU-s") else "left")
    for e in entries:
        more = f" and {len(e['arms']) - 1} more" if len(e["arms"]) > 1 else ""
        figures = [f"{e['judgements']:,}", f"{e['helper_questions']:,}", _about(e["seconds"])] if "source" in e else []
        cells = [e["node"], f"{e['arms'][0]}{more}", e["state"], *figures]
        table.add_row(*(Text(inert(cell, 200)) for cell in cells))
    console.print(table)
    if not total["nodes"]:
        console.print(Text(inert(f"Nothing to do: every node is trained in {folder}.")))
        return
    source = {e["source"] for e in entries if "source" in e}
    words = {"recorded": f"nodes trained in {folder}", "measured": "training each kind of node in small, just now"}
    from_ = " and ".join(words[s] for s in sorted(source & words.keys()))
    lines = [
        f"{total['nodes']} of {len(entries)} nodes to train: at most {total['judgements']:,} judgements "
        f"(and {total['gate_judgements']:,} at gates), {total['helper_questions']:,} questions to helpers "
        f"(and {total['gate_questions']:,} at gates)."
    ]
    if total["spot_judgements"]:
        lines.append(
            f"Spot checks of helpers come on top: at most {total['spot_judgements']:,} judgements and "
            f"{total['spot_questions']:,} questions."
        )
    if total["extra_judgements"]:
        lines.append(
            f"Rounds that gates may add come on top: at most {total['extra_judgements']:,} judgements more, with their "
            "gates."
        )
    if total["imported"]:
        lines.append(f"Learnt from besides: {total['imported']:,} judgements made elsewhere, read from files.")
    if total["seconds"] is None:
        why = "it could not be measured" if measured else "with --no-measure nothing is measured"
        lines.append(f"How long it takes is not known: {why}.")
    else:
        lines.append(
            f"Roughly {_about(total['cpu_seconds'])} CPU-seconds, {_about(total['seconds'])} s with "
            f"{total['workers']} at once (from {from_}; starting up apart)."
        )
    console.print(Text(inert("\n".join(lines))))


def sized(study: Study) -> dict[str, Any] | None:
    """What the trial of a study asks of people, and what it would see, if they are as is expected."""
    if study.trial is None:
        return None
    from rrm.conduct import prepare
    from rrm.trial.people import People
    from rrm.trial.power import WANTED, Size, detectable, needed, power, raters_needed

    trial = study.trial
    people = People(**trial.expect.model_dump())
    size = Size(trial.raters, trial.cases, trial.of or trial.cases, len(trial.cells))
    cases, raters = needed(people, size), raters_needed(people, size)
    return {
        "node": prepare(study).node.name,
        "cells": [arm.name if s is None else f"{arm.name}, {s:g} s" for arm, s in trial.cells],
        "raters": trial.raters,
        "cases": trial.cases,
        "different_cases": size.of,
        "judgements": size.judgements,
        "expected": trial.expect.model_dump(),
        "power": power(people, size),
        "power_wanted": WANTED,
        "detectable": detectable(people, size),
        "cases_needed": cases and cases.cases,
        "different_cases_needed": cases and cases.of,
        "judgements_needed": cases and cases.judgements,
        "raters_needed": raters and raters.raters,
        "judgements_with_these": raters and raters.judgements,
    }


def _print_trial(trial: Mapping[str, Any]) -> None:
    from rich.text import Text

    from rrm.inert import inert

    expected, share = trial["expected"], f"{trial['power_wanted']:.0%}"
    uplift, least = 100 * expected["uplift"], trial["detectable"]
    cells = ", ".join(trial["cells"])
    lines = [
        f"Trial of help at {trial['node']} ({cells}): {trial['raters']:,} raters x {trial['cases']:,} cases = "
        f"{trial['judgements']:,} judgements. An uplift of {uplift:+.0f} points would be seen with a probability of "
        f"{trial['power']:.2f}"
        + (f"; the least that is seen in {share} of such trials is {100 * least:.0f} points." if least else "."),
    ]
    ways = []
    if trial["cases_needed"]:
        ways.append(f"{trial['judgements_needed']:,} judgements by these raters ({trial['cases_needed']:,} cases each)")
    if trial["raters_needed"]:
        ways.append(f"{trial['judgements_with_these']:,} by {trial['raters_needed']:,} raters of as many cases each")
    needs = " or ".join(ways) or "more raters who differ less: no number of these is enough"
    lines.append(
        f"To see it in {share} of trials takes {needs}. This expects that people alone are right in "
        f"{expected['baseline']:.0%}; [trial] expect says what else."
    )
    results().print(Text(inert("\n".join(lines))))


def _about(seconds: float | None) -> str:
    """No more digits than are known."""
    if seconds is None:
        return "?"
    return f"{seconds:.2g}" if seconds < 10 else f"{round(seconds):,}"


def reasons(wanted: Sequence[Job], store: Store | None) -> dict[str, str]:
    """By key: "trained", or why the node would be trained."""
    if store is None:
        return {job.key: "new" for job in wanted}
    from rrm.job import is_published
    from rrm.records import Arm

    before = {a.label: a for a in store.read("study", "arms", Arm).values()}
    names = {job.key: job.name for job in wanted}
    found: dict[str, str] = {}
    for job in wanted:
        if is_published(store, job.key):
            found[job.key] = "trained"
            continue
        old = next((before[label] for label in job.arms if label in before), None)
        below = [names[key] for key in job.needs if found.get(key) != "trained"]
        begun = "begun, not finished" if store.streams(job.key) else ""
        found[job.key] = _lost(store, job.key) or begun or _reason(job, old, below)
    return found


def _lost(store: Store, key: str) -> str:
    """Where a node was trained, and its weights are there no more."""
    from rrm.records import Exam

    trained = any(e.moment.startswith("round-") for e in store.read(key, "exam", Exam).values())
    there = any(store.agent_folder(key, "published").parent.glob("*/saved.json"))
    return "its weights are gone" if trained and not there else ""


def _reason(job: Job, old: Arm | None, below: Sequence[str]) -> str:
    from rrm.errors import StoreError
    from rrm.job import plan_of

    if old is None or job.name not in old.nodes:
        return "new"
    if old.nodes[job.name] == job.key:
        return "not begun" if not below else f"waits for {', '.join(below)}"
    try:
        then, now = (_leaves(p.node[job.name].model_dump(mode="json")) for p in (plan_of(old), job.plan))
    except StoreError:
        return "recorded by another version of rrm"
    changed = [
        f"{key} {json.dumps(then.get(key))} → {json.dumps(now.get(key))}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if changed:
        return "; ".join(changed[:3]) + (" …" if len(changed) > 3 else "")
    return f"{', '.join(below)} changed" if below else _unnamed(job)


def _unnamed(job: Job) -> str:
    """What changed, where no key of the plan did."""
    return (
        "code of a component changed"
        if not job.plan.node[job.name].judged
        else "code, or a file of judgements, changed"
    )


def _leaves(table: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(table, dict):
        return {prefix.rstrip("."): table}
    found: dict[str, object] = {}
    for key, value in table.items():
        found |= _leaves(value, f"{prefix}{key}.")
    return found
