"""The command line: a command parses, calls the library, and prints; what it needs it imports when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from rrm.errors import RrmError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help loads in a third of the time, and keeps examples as they are written
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from rrm import __version__

        typer.echo(f"rrm {__version__}")
        raise typer.Exit


@app.callback()
def rrm(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Recursive reward modeling: train agents level by level, each judged with the help of the ones below.

    \b
    rrm run configs/column_sum.toml      # train it, level by level; then a table and a page
    rrm new task my-task                 # a small working task of your own

    Results go to stdout, progress to stderr. Exit code 0: done; 1: the plan or the run is wrong; 2: usage;
    3: unfinished, cases wait for a person, or not all could be verified; 4: `rrm verify` found a way to something
    unsafe; 130: interrupted by Ctrl-C.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, always ending in SystemExit. What a user got wrong is one line, without a traceback."""
    _bear_any_text()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="rrm")
    except RrmError as error:
        _complain(str(error))
        raise SystemExit(_last_words(error.exit_code)) from None
    except SystemExit as end:
        if end.code == 130:
            _complain("interrupted; nothing that was recorded is lost: the same command again goes on from there")
        raise SystemExit(_last_words(end.code)) from None


def _complain(message: str) -> None:
    from rrm.inert import inert

    print(f"rrm: {inert(' '.join(message.split()), 4000)}", file=sys.stderr)  # noqa: T201


def _bear_any_text() -> None:
    """A terminal of another encoding, or half a surrogate in an answer, must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _last_words(code: str | int | None) -> str | int | None:
    """Flush while a closed pipe (`rrm list | head`) can still be borne quietly."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


from rrm.cli import check, export, graph, judge, listing, new, plan, prune, rejudge, report, run, show, verify  # noqa: E402

__all__ = [
    "app",
    "check",
    "export",
    "graph",
    "judge",
    "listing",
    "main",
    "new",
    "plan",
    "prune",
    "rejudge",
    "report",
    "run",
    "show",
    "verify",
]
