"""`rrm new`: a small component of your own that works, to be made into what you want."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from rrm import __all__ as exported
from rrm.cli import app
from rrm.cli.arguments import one_of
from rrm.cli.templates import TEMPLATES


@app.command()
def new(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help=f"Its role: {', '.join(TEMPLATES)}.", callback=one_of(*TEMPLATES)),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Words with dashes, as in word-chain.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="A file.", show_default="<name>.py, here")
    ] = None,
) -> None:
    """Write a small component that works and keeps the contract of its role.

    \b
    rrm new task word-chain
    rrm new evaluator strict-teacher --out lab/strict_teacher.py

    A plan names it by its file and class: { use = "word_chain.py:WordChain" }. A file that is there is left alone.
    """
    from rrm.errors import RrmError

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise typer.BadParameter(f"{name!r}: write words of small letters and digits with dashes, as in word-chain")
    path = out or Path(f"{name.replace('-', '_')}.py")
    class_ = "".join(part.capitalize() for part in name.split("-"))
    if class_ in _taken(TEMPLATES[kind]):
        raise typer.BadParameter(f"{name!r}: its class would be called {class_}, which means something else already")
    text = TEMPLATES[kind].replace("CLASS", class_).replace("NAME", name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RrmError(f"{path} is there already, and is left as it is: choose another name, or --out") from None
    except OSError as error:
        raise RrmError(f"{path}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"{path}\nnext: rrm check {path}:{class_}")


def _taken(template: str) -> set[str]:
    """What a class in it cannot be called: the names that `rrm` exports, that it imports or defines, and Python's."""
    imported = " ".join(re.findall(r"^(?:from \S+ )?import (.+)", template, re.MULTILINE))
    return {
        *exported,
        *keyword.kwlist,
        *re.findall(r"\w+", imported),
        *re.findall(r"^class (\w+)", template, re.MULTILINE),
    }
