"""`rrm prune`: deletes what later plans in the same folder have replaced, but nothing that a person said."""

from __future__ import annotations

from typing import Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import RunFolder


@app.command()
def prune(
    run: RunFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it, they are only listed.")] = False,
) -> None:
    """List the nodes that later plans in the same folder have replaced; with --yes, delete their agents and records.

    \b
    rrm prune runs/glossary
    rrm prune runs/glossary --yes

    A plan replaces an earlier one when all of its nodes are trained. What a person judged is kept: of such a node
    (and wherever judging again might say something else, or is done by code in a file) only the agent goes.
    """
    from rrm.inert import inert
    from rrm.prune import prunable
    from rrm.prune import prune as delete
    from rrm.store import Store

    store = Store(run, create=False)
    found = prunable(store)
    if not found:
        typer.echo("No node is superseded.")
        return
    for node in found:
        what = "agent (its judgements are kept)" if node.unique else "agent and record"
        typer.echo(inert(f"{node.name}  {node.key}  {what}", 200))
    if yes:
        delete(Store(run))
    typer.echo(f"{len(found)} superseded, {'deleted' if yes else 'nothing deleted: rrm prune --yes does that'}.")
