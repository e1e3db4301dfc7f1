"""The page on which people judge, and the owner's: templates escape everything, forms work without a script."""

import time
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from rrm.desk import Desk, Handed
from rrm.desk.raters import Rater
from rrm.errors import Refused, TooLate
from rrm.raters.watch import Watch
from rrm.web.drill import Drill
from rrm.web.forms import Form, fields, posted
from rrm.web.going_on import GoingOn
from rrm.web.graphs import graphs
from rrm.web.overseen import overseen
from rrm.web.session import DAYS, Caller, Doors, check_proof
from rrm.web.sitting import as_seen, judge, open_exhibit

STATIC = {"judge.css": "text/css", "judge.js": "text/javascript"}

TITLES = {
    "preference": "Which is better?",
    "ranking": "Which is best?",
    "rating": "How good is it?",
    "approval": "Will it do?",
    "demonstration": "Answer it yourself",
    "correction": "Mend the answer",
    "step-labels": "Which steps were good?",
    "action-labels": "What should have been done?",
    "action-values": "What did each step bring?",
    "advantages": "How much better than its alternatives was each step?",
    "mask": "What mattered?",
    "term": "What should be paid for?",
    "advice": "What should be done differently?",
}
"""What each kind of feedback asks."""


@cache
def _templates() -> Environment:
    """Escapes everything, whatever a template is called, and fails on a name that it was not given."""
    loader = PackageLoader("rrm.web", "templates")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    found.lstrip_blocks = True
    return found


def _page(request: Request, name: str, status: int = 200, **what: Any) -> HTMLResponse:
    text = _templates().get_template(name).render(nonce=request.scope["state"]["nonce"], **what)
    return HTMLResponse(text, status_code=status)


def pages(desk: Desk, doors: Doors, going: GoingOn, drill: Drill, watch: Watch) -> APIRouter:
    """The routes that a browser asks for."""
    router = APIRouter(include_in_schema=False)
    Fields: TypeAlias = Annotated[Form, Depends(fields)]

    def rater(request: Request, form: Fields) -> Rater:
        caller = doors.caller(request)
        check_proof(caller, form.get("proof", ""))
        if caller.rater is None:
            raise HTTPException(403, "the owner's link does not judge; take a rater's")
        return caller.rater

    By: TypeAlias = Annotated[Rater, Depends(rater)]

    def shown(request: Request, caller: Caller, said: str = "", status: int = 200) -> Response:
        if caller.rater is None:
            return RedirectResponse("/owner", 303)
        done, waiting = desk.register.of_rater(caller.rater.id)
        waiting += desk.gold.to_come(caller.rater.id)  # or a count that stands still would say which was one
        said = said or desk.gold.told(caller.rater.id)
        common: dict[str, Any] = {"rater": caller.rater, "proof": caller.proof, "done": done, "said": said}
        handed, alone = desk.next(caller.rater.id), bool(request.query_params.get("alone"))
        if handed is None:
            return _page(request, "wait.html.j2", status, state=going.state, finished=going.finished, **common)
        if handed.sheet.limit and _unattended(desk, caller.rater, handed, alone=alone):
            return _page(request, "ready.html.j2", status, limit=handed.sheet.limit, **common)
        if handed.sheet.limit and not handed.started:
            desk.start(caller.rater.id, handed.id)
            handed = desk.holds(caller.rater.id, handed.id)
        return _page(request, "case.html.j2", status, waiting=waiting, **common, **_laid(handed, drill))

    @router.get("/")
    def home(request: Request) -> Response:
        try:
            caller = doors.caller(request)
        except HTTPException:
            return _page(request, "enter.html.j2", said="")
        return shown(request, caller)

    @router.post("/session")
    def session(request: Request, form: Fields) -> Response:
        found = doors.session(form.get("token", "").strip().rpartition("#")[2])
        if found is None:
            return _page(request, "enter.html.j2", 401, said="This link opens nothing here.")
        answer = RedirectResponse("/", 303)
        secure = "https" in (request.url.scheme, doors.url.partition(":")[0])
        answer.set_cookie(doors.cookie, found, max_age=DAYS * 86_400, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/judge")
    def judged(request: Request, form: Fields, by: By) -> Response:
        try:
            handed = desk.holds(by.id, form.get("case", ""))
            judge(desk, by, handed.id, posted(form, handed.sheet))
        except Refused as error:
            return shown(request, doors.caller(request), f"Not kept: {error}.", 422)
        return RedirectResponse("/", 303)

    @router.post("/ready")
    def ready(by: By) -> Response:
        """Somebody sits there: the clock of the case starts, anew where it ran out while no page was open."""
        if handed := desk.next(by.id):
            desk.start(by.id, handed.id)
        return RedirectResponse("/", 303)

    @router.post("/undo")
    def undo(request: Request, by: By) -> Response:
        try:
            desk.undo(by.id)
        except Refused as error:
            return shown(request, doors.caller(request), _sentence(error), 409)
        return RedirectResponse("/", 303)

    @router.post("/open")
    def open_(request: Request, form: Fields, by: By) -> Response:
        """With a script, only the exhibit comes back; without, the whole page with it open."""
        case, exhibit = form.get("case", ""), form.get("exhibit", "")
        try:
            found = open_exhibit(desk, by, case, exhibit)
        except Refused as error:
            return shown(request, doors.caller(request), _sentence(error), 409)
        if request.headers.get("x-part"):
            handed = desk.holds(by.id, case)
            asked, may_ask = {a.exhibit: a.shown for a in handed.asked}, not drill.why_not(handed)
            common: dict[str, Any] = {"case": case, "proof": form.get("proof", ""), "asked": asked, "may_ask": may_ask}
            return _page(request, "_exhibit_body.html.j2", exhibit=found, **common)
        return RedirectResponse("/", 303)

    @router.post("/ask")
    def ask(request: Request, form: Fields, by: By) -> Response:
        """With a script, only what was said comes back, or why nothing was; without, the whole page."""
        case, exhibit, part = form.get("case", ""), form.get("exhibit", ""), request.headers.get("x-part")
        try:
            found = drill.ask(by, case, exhibit)
        except Refused as error:
            if part and not isinstance(error, TooLate):
                return _page(request, "_refused.html.j2", 422, said=f"{error}.")
            return shown(request, doors.caller(request), _sentence(error), 409)
        if part:
            common: dict[str, Any] = {
                "case": case,
                "proof": form.get("proof", ""),
                "asked": {exhibit: found},
                "may_ask": True,
            }
            return _page(request, "_below.html.j2", found=found, **common)
        return RedirectResponse("/", 303)

    @router.get("/owner")
    def owner(request: Request) -> Response:
        caller = doors.caller(request)
        if caller.rater is not None:
            raise HTTPException(403, "this page is for the owner's link")
        base = f"{doors.url}/" if doors.url else request.base_url
        links = {r.name: f"{base}#{doors.token(r.id)}" for r in desk.register.all()}
        what: dict[str, Any] = {**overseen(desk, watch), "links": links, "now": time.time()}
        what["graphs"] = graphs(drill.store, trust=drill.trust)
        return _page(request, "owner.html.j2", state=going.state, finished=going.finished, proof=caller.proof, **what)

    @router.post("/pause")
    def pause(request: Request, form: Fields) -> Response:
        caller = doors.caller(request)
        check_proof(caller, form.get("proof", ""))
        if caller.rater is not None:
            raise HTTPException(403, "this is for the owner's link")
        for rater in desk.register.all():
            if rater.name == form.get("rater"):
                desk.register.pause(rater.id, not rater.paused)
        return RedirectResponse("/owner", 303)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404, "there is no such file")
        headers = {"cache-control": "max-age=600"}
        return Response(_static(name), media_type=STATIC[name], headers=headers)

    return router


def _sentence(error: Refused) -> str:
    """Nothing but its first letter is raised: a name in it stays as it is written."""
    said = f"{error}."
    return said[:1].upper() + said[1:]


def _unattended(desk: Desk, rater: Rater, handed: Handed, *, alone: bool) -> bool:
    """Whether nobody may sit there, so that the clock waits: the page came by itself, or the last case ran out."""
    if handed.started:
        return alone and time.time() - handed.began >= (handed.sheet.limit or 0)
    return alone or desk.register.ran_out(rater.id)


def _laid(handed: Handed, drill: Drill) -> dict[str, Any]:
    """What the template of a case takes."""
    sheet = as_seen(handed)
    opened = {e.exhibit for e in sheet.exhibits} if not sheet.folded else set(handed.opened)
    return {
        "case": handed.id,
        "sheet": sheet,
        "opened": opened,
        "asked": {a.exhibit: a.shown for a in handed.asked},
        "may_ask": not drill.why_not(handed),
        "spent": round(max(time.time() - handed.began, 0.0), 1),
        "titles": TITLES,
    }


@cache
def _static(name: str) -> str:
    return (files("rrm.web") / "static" / name).read_text(encoding="utf-8")
