"""`rrm judge`: serves the page on which people judge what waits, and goes on with the run when it is judged."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Json, RunFolder

if TYPE_CHECKING:
    from rrm.desk import Desk
    from rrm.store import Store
    from rrm.web.going_on import GoingOn, Waits
    from rrm.web.guard import Guard
    from rrm.web.session import Doors

PORT = 8710


@app.command()
def judge(
    run: RunFolder,
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine reach only what you name.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0: any that is free.")] = PORT,
    url: Annotated[
        str | None, typer.Option(help="Where people reach it, if elsewhere, as https://judge.example.org of a proxy.")
    ] = None,
    raters: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="K", help="How many people judge; left out: as many as the run needs."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A rater by name, in place of --raters; repeatable."),
    ] = None,
    lease: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long a case is kept for who was handed it.")
    ] = 900.0,
    desk: Annotated[
        str | None, typer.Option("--desk", metavar="URL", envvar="RRM_DESK", help="A database for several servers.")
    ] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Go on with the run when it can.")] = True,
    as_json: Json = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code in files that the record names: only for a record you trust.")
    ] = False,
) -> None:
    """Serve the page on which people judge what a run waits for, and go on with the run as soon as it can.

    \b
    rrm run configs/people.toml --out runs/people     # ends with exit code 3: cases wait for people
    rrm judge runs/people                             # prints a link; judge, and the run goes on by itself
    rrm judge runs/people --raters 3 --port 0 --json

    Prints the owner's link, and one for each rater: {"role", "name", "url", "token"} a line with --json. A link lets in
    whoever has it; it stays the same each time. The interface for scripts is described at /openapi.json. Ctrl-C ends
    it; what was judged is kept.
    """
    from rrm.conduct import wanted
    from rrm.desk import Desk, place_of
    from rrm.store import Store

    store = Store(run, create=False)
    _, goes_on = _waiting(store, trust=trust)
    _need_web()
    from rrm.web.app import application
    from rrm.web.drill import Drill
    from rrm.web.going_on import GoingOn
    from rrm.web.session import Doors

    where = _origin(url) if url else ""
    with _listening(host, port) as listening:
        number = listening.getsockname()[1]
        found = Desk(desk or place_of(run), lease=lease)
        if desk:
            os.environ["RRM_DESK"] = desk  # the run that goes on finds the same
        doors = Doors(found, f"rrm_{number}", where)
        each, seats = wanted(store, trust=trust) if goes_on else (0, 0)
        each = max(each, found.tray.wanted())
        names = name or _names(found, raters, max(each, seats, 1))
        _tell_links(found, doors, names, f"{where or f'http://{_shown(host)}:{number}'}/", as_json=as_json)
        if not where and host in ("0.0.0.0", "::", ""):
            typer.echo("Links lead to this machine alone: --url says under which name others reach it.", err=True)
        command = [sys.executable, "-m", "rrm", "run", str(run), "--quiet", *(["--trust"] if trust else [])]
        _warn_of_too_few(found, names, each, seats)
        going = GoingOn(found, command if train and goes_on else None, waits=lambda: _waiting(store, trust=trust)[0])
        app = application(found, doors, going, host=host, drill=Drill(found, store, trust=trust))
        _serve(found, app, going, listening)


def _waiting(store: Store, *, trust: bool) -> tuple[Waits, bool]:
    """Under which keys cases may wait for people, and whether the run itself goes on with what they say. Raises
    RrmError where nothing does."""
    from rrm.conduct import waiting
    from rrm.errors import RrmError
    from rrm.job import people_of
    from rrm.rejudge import waiting as to_be_rejudged
    from rrm.web.going_on import Waits

    trial, apart = waiting(store, trust=trust), to_be_rejudged(store)
    try:
        return Waits(people_of(store, trust=trust, besides=trial) | apart, apart), True
    except RrmError:  # it is finished, or casts no people
        if apart:
            return Waits(apart, apart), False
        raise


def _need_web() -> None:
    from rrm.errors import RrmError

    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise RrmError(
            f"the page needs more than is installed ({error}): in the clone, .venv/bin/pip install -e '.[web]'"
        ) from None


def _origin(url: str) -> str:
    from rrm.errors import RrmError
    from rrm.inert import inert
    from rrm.web.session import origin_of

    try:
        return origin_of(url)
    except ValueError as error:
        raise RrmError(f"--url {inert(url, 100)}: {error}") from None


def _listening(host: str, port: int) -> socket.socket:
    from rrm.errors import RrmError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise RrmError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Give another --port (0: any free one)"
        ) from None
    return listening


def _tell_links(desk: Desk, doors: Doors, names: list[str], base: str, *, as_json: bool) -> None:
    from rrm.desk.raters import OWNER
    from rrm.inert import inert

    links = [("owner", "owner", OWNER), *(("rater", r.name, r.id) for r in desk.register.invite(names))]
    for role, name, number in links:
        token = doors.token(number)
        url = f"{base}#{token}"
        line = json.dumps({"role": role, "name": name, "url": url, "token": token})
        typer.echo(line if as_json else f"{inert(name, 80):12} {url}")
    sys.stdout.flush()


def _names(desk: Desk, raters: int | None, needed: int) -> list[str]:
    """Who is invited where nobody is named: so many, or whoever was before, and as many more as are needed."""
    if raters is not None:
        return [f"rater-{i}" for i in range(1, raters + 1)]
    names, number = [rater.name for rater in desk.register.all()], 0
    while len(names) < needed:
        number += 1
        names += [f"rater-{number}"] if f"rater-{number}" not in names else []
    return names


def _warn_of_too_few(desk: Desk, names: list[str], each: int, seats: int) -> None:
    """A run whose cases are for more people than were ever invited cannot come to its end: it says so."""
    from rrm.inert import inert

    every = desk.register.all()
    if seats > len(every):
        typer.echo(
            f"The trial has cases for {seats} people, each their own, and {len(every)} are invited: it cannot be done "
            f"to its end. Leave --raters and --name out, or invite {seats}.",
            err=True,
        )
    elif each > len(every):
        typer.echo(
            f"Each case is to be judged by {each} people, and {len(every)} are invited: the run cannot go on. Leave "
            f"--raters and --name out, or invite {each}.",
            err=True,
        )
    for rater in every:
        if rater.id <= seats and rater.name not in names:
            name = inert(rater.name, 80)
            typer.echo(
                f"Cases of the trial are for {name}, who was invited earlier: --name {name} has their link.", err=True
            )


def _serve(desk: Desk, app: Guard, going: GoingOn, listening: socket.socket) -> None:
    from rrm.web.app import server

    serving = server(app)
    going.start()
    try:
        serving.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        going.stop()
        desk.close()


def _shown(host: str) -> str:
    """A host as it stands in a link; of all addresses, the machine's own name for itself."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
