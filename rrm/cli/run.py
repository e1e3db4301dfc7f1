"""`rrm run`: trains what is stale, then prints what was found."""

from __future__ import annotations

from typing import Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, Fast, Out, PlanFile, Sets, Workers, folder_for


@app.command()
def run(
    plan: PlanFile,
    out: Out = None,
    fast: Fast = False,
    arm: Arms = None,
    set_: Sets = None,
    workers: Workers = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while training.")] = False,
) -> None:
    """Train a plan level by level; run again, it goes on from where it stopped.

    \b
    rrm run configs/column_sum.toml
    rrm run configs/glossary.toml --out runs/small --arm recursive --set effort.cases=100 --set seed=1

    What is trained already is kept: change a node, and only it and what it helps is trained again. Ends by printing
    the report's tables; the page with everything is OUT/report.html.
    """
    from rrm.build import run as train
    from rrm.cli.progress import telling
    from rrm.cli.report import publish
    from rrm.errors import GateFailed
    from rrm.job import jobs
    from rrm.plan import Study
    from rrm.store import Store

    study = Study.load(plan, fast=fast, sets=set_ or (), arms=arm or ())
    wanted, _ = jobs(study)  # before the folder is made: a plan that is wrong leaves none behind
    store = Store(folder_for(plan, out, fast=fast))
    trust = {file for arm in study.arms for file in arm.plan.files()}  # its code runs anyway; an older record's may not
    try:
        with telling(wanted, store, quiet=quiet) as progress:
            train(study, store, progress=progress, workers=workers)
    except GateFailed:
        publish(store, trust=trust)  # what was trained up to there is worth reading
        raise
    publish(store, trust=trust)
