"""`rrm graph`: who helps to judge whom, as text or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, PlanFile, Sets


@app.command()
def graph(
    plan: PlanFile,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="A picture: .svg or .png.", show_default=False)
    ] = None,
    arm: Arms = None,
    set_: Sets = None,
) -> None:
    """Show who helps to judge whom: as mermaid text, or as a picture.

    \b
    rrm graph configs/glossary.toml
    rrm graph configs/glossary.toml --out graph.svg
    """
    from rrm.errors import RrmError
    from rrm.picture import graph_png, graph_svg
    from rrm.plan import Study

    if out is not None and out.suffix.lower() not in (".svg", ".png", ".mmd"):
        raise typer.BadParameter(f"{str(out)!r}: a picture's name ends in .svg or .png")
    drawn = Study.load(plan, sets=set_ or (), arms=arm or ()).arms[0].plan.graph()
    try:
        if out is None:
            typer.echo(drawn.mermaid(), nl=False)
        elif out.suffix.lower() == ".png":
            graph_png(drawn, out)
        else:
            out.write_text(graph_svg(drawn) if out.suffix.lower() == ".svg" else drawn.mermaid(), encoding="utf-8")
    except OSError as error:
        raise RrmError(f"{out}: the picture cannot be written: {error.strerror or error}") from error
    if out is not None:
        typer.echo(str(out))
