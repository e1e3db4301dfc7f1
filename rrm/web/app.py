"""Puts the page together: routes, refusals in one line, and the guard before all of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from rrm import __version__
from rrm.desk import Desk
from rrm.errors import Refused, StoreError, TooLate
from rrm.inert import inert
from rrm.raters.watch import Watch
from rrm.web.api import api
from rrm.web.drill import Drill
from rrm.web.going_on import GoingOn
from rrm.web.guard import Guard
from rrm.web.page import pages
from rrm.web.session import Doors


def application(
    desk: Desk, doors: Doors, going: GoingOn, *, host: str = "127.0.0.1", drill: Drill | None = None
) -> Guard:
    """The whole application, as any ASGI server runs it. Without a `drill` nobody can be asked."""
    app = FastAPI(title="rrm judge", version=__version__, docs_url=None, redoc_url=None)  # whose pages load scripts
    drill, watch = drill or Drill(desk, None), Watch(desk)
    app.include_router(api(desk, doors, going, drill, watch))
    app.include_router(pages(desk, doors, going, drill, watch))

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> Response:
        return _problem(409 if isinstance(error, TooLate) else 422, str(error))

    @app.exception_handler(StoreError)
    def away(_: Request, error: StoreError) -> Response:
        return _problem(503, "the desk's database cannot be used at the moment; nothing was kept: try again")

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _problem(422, f"{where}: {first['msg']}" if where else str(first["msg"]))

    @app.exception_handler(HTTPException)
    def known(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail))

    return Guard(app, host, urlsplit(doors.url).hostname or "")


def server(app: Guard) -> uvicorn.Server:
    """What serves it: no line of a log, in which an address might stand, and no word of what serves it."""
    return uvicorn.Server(
        uvicorn.Config(
            app, lifespan="off", log_level="error", access_log=False, server_header=False, proxy_headers=False
        )
    )


def _problem(status: int, why: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"detail": inert(why, 500)}, status_code=status, headers=headers)
