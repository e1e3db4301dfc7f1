"""The arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A .toml file, for example configs/glossary.toml.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Out = Annotated[Optional[Path], typer.Option("--out", "-o", help="The run's folder.", show_default="runs/<plan>")]
Fast = Annotated[bool, typer.Option("--fast", help="At the small size of the plan's [fast] table.")]
Arms = Annotated[Optional[list[str]], typer.Option("--arm", metavar="NAME", help="Only this arm; may be repeated.")]
Sets = Annotated[
    Optional[list[str]],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the plan, as in effort.cases=100; repeatable."),
]
Workers = Annotated[
    Optional[int],
    typer.Option("--workers", "-w", min=1, metavar="N", help="Nodes trained at once.", show_default="cores"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def folder_for(plan: Path, out: Path | None, *, fast: bool) -> Path:
    """Where a plan is run if nothing else is said; small runs stand apart, so that neither hides the other."""
    return out or Path("runs") / f"{plan.stem}{'-fast' if fast else ''}"
