"""The arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A .toml file, for example configs/glossary.toml.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The run's folder.", show_default="runs/<plan>, with --fast runs/<plan>-fast"),
]
Fast = Annotated[bool, typer.Option("--fast", help="At the small size of the plan's [fast] table.")]
Arms = Annotated[list[str] | None, typer.Option("--arm", metavar="NAME", help="Only this arm; may be repeated.")]
Nodes = Annotated[
    list[str] | None,
    typer.Option("--node", metavar="NAME", help="Only this node and those that it needs; may be repeated."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the plan, as in effort.cases=100; repeatable."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, metavar="N", help="Nodes trained at once.", show_default="cores"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def one_of(*choices: str) -> Callable[[str], str]:
    """For an argument that is one of a few words: a check that says which, and what was probably meant."""

    def check(word: str) -> str:
        from rrm.graph import suggest

        if word not in choices:
            raise typer.BadParameter(f"there is no {word!r}. {suggest(word, list(choices))}")
        return word

    return check


def folder_for(plan: Path, out: Path | None, *, fast: bool) -> Path:
    """Where a plan is run if nothing else is said; small runs stand apart, so that neither hides the other."""
    return out or Path("runs") / f"{plan.stem}{'-fast' if fast else ''}"


def results() -> Console:
    """Standard output for tables: in a file or a pipe 120 columns wide, whatever the terminal is."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=120)
    return console
