"""`rrm run`: trains what is stale, then prints what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, Fast, Nodes, Out, PlanFile, Sets, Workers, folder_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rrm.job import Job
    from rrm.store import Store


@app.command()
def run(
    plan: PlanFile,
    out: Out = None,
    fast: Fast = False,
    arm: Arms = None,
    node: Nodes = None,
    set_: Sets = None,
    workers: Workers = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while training.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Given a run's folder: run code in files that its record names.")
    ] = False,
) -> None:
    """Train a plan level by level; run again, it goes on from where it stopped.

    \b
    rrm run configs/column_sum.toml
    rrm run configs/glossary.toml --out runs/small --arm recursive --set effort.cases=100 --set seed=1
    rrm run configs/gridworlds.toml --arm recursive --node off-switch
    rrm run runs/small                      # given a run's folder: go on with what is recorded there

    What is trained already is kept: change a node, and only it and what it helps is trained again. Where the plan has a
    [trial], it is done when all nodes are trained. Ends by printing
    the report's tables; the page with everything is OUT/report.html.
    """
    from rrm.build import refuse_another
    from rrm.build import run as train
    from rrm.cli.progress import judging, telling
    from rrm.cli.report import publish
    from rrm.conduct import conduct, prepare
    from rrm.errors import GateFailed, PlanError
    from rrm.inert import inert
    from rrm.job import jobs, recorded
    from rrm.plan import Study
    from rrm.store import Store

    if (plan / "record.sqlite").is_file():
        if out or fast or arm or node or set_:
            raise typer.BadParameter(f"{plan} is a run, which goes on as it was begun: only a plan takes options")
        store = Store(plan)
        study = recorded(store, trust=trust)
        wanted, _ = jobs(study)
    elif plan.is_dir():
        raise PlanError(f"{plan} is a folder in which nothing was run: name a .toml file in it, or the folder of a run")
    else:
        study = Study.load(plan, fast=fast, sets=set_ or (), arms=arm or ())
        study = study.of_nodes(node) if node else study
        wanted, arms = jobs(study)  # before the folder is made: a plan that is wrong leaves none behind
        if study.trial is not None:
            prepare(study)
        store = Store(folder_for(plan, out, fast=fast))
        refuse_another(store, arms)
    files = {file for arm in study.arms for file in arm.plan.files()}  # its code runs anyway; an older record's may not
    if study.left_out:
        typer.echo(inert(f"the plan's trial is not done: {study.left_out}", 500), err=True)
    if not quiet:
        _warn_of_judging_anew(wanted, store)
    try:
        with telling(wanted, store, quiet=quiet) as progress:
            train(study, store, progress=progress, workers=workers)
        with judging(quiet=quiet or study.trial is None) as told:
            conduct(study, store, progress=told)
    except GateFailed:
        publish(store, trust=files)  # what was trained up to there is worth reading
        raise
    publish(store, trust=files)


def _warn_of_judging_anew(wanted: Sequence[Job], store: Store) -> None:
    """A person is told, before being asked, that nodes which were judged already are to be judged again, and why."""
    from rrm.cli.plan import reasons
    from rrm.inert import inert
    from rrm.job import is_published
    from rrm.registry import EVALUATORS

    stale = [job for job in wanted if not is_published(store, job.key) and not store.streams(job.key)]
    asked = [job for job in stale if any(u.kind(EVALUATORS).is_person() for u in job.plan.users(job.name))]
    if not asked:
        return
    why = reasons(wanted, store)
    for job in asked:
        if said := _judged_before(job, store):
            reason = "" if why[job.key] == "new" else f" ({why[job.key]})"
            text = f"{job.name} is to be judged anew{reason}; {said} earlier judgements of it stay on record"
            typer.echo(inert(text, 500), err=True)


def _judged_before(job: Job, store: Store) -> int:
    """How many judgements a person gave on nodes of this name, under other keys."""
    from rrm.errors import RrmError
    from rrm.job import plan_of
    from rrm.records import Arm
    from rrm.registry import EVALUATORS, in_file

    keys = set()
    for arm in store.read("study", "arms", Arm).values():
        key = arm.nodes.get(job.name, job.key)
        if key == job.key:
            continue
        try:
            plan = plan_of(arm)
            users = plan.users(job.name)
            strange = any(in_file(u.use) for u in users) and not plan.files() <= job.plan.files()  # its code is not run
            if not strange and any(u.kind(EVALUATORS).is_person() for u in users):
                keys.add(key)
        except RrmError:  # of another version of rrm, or of components that are not here
            continue
    return sum(
        store.length(key, stream) for key in keys for stream in store.streams(key) if stream.endswith("/feedback")
    )
