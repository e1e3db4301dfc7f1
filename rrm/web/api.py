"""The interface for scripts: the next case, a verdict, an undo, an exhibit, what is below it, and how far it all is."""

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rrm.desk import Desk
from rrm.desk.raters import Rater
from rrm.desk.sheet import Sheet, ShownExhibit
from rrm.raters.watch import Watch
from rrm.records import Feedback
from rrm.web.drill import Drill
from rrm.web.going_on import GoingOn
from rrm.web.overseen import overseen
from rrm.web.session import Caller, Doors, check_proof
from rrm.web.sitting import as_seen, judge, open_exhibit


class NextCase(BaseModel):
    """A case for this rater."""

    case: str
    """What to call it in what is posted."""
    sheet: Sheet
    began: float
    expires: float
    opened: list[str]
    asked: dict[str, tuple[ShownExhibit, ...]]
    """By exhibit, what helpers' own helpers said, where it was asked."""


class Said(BaseModel):
    """A verdict: the case, the kind, and what that kind holds, as `first_better` of a preference."""

    model_config = ConfigDict(extra="allow")
    case: str = Field(max_length=60)
    kind: str = Field(max_length=30)
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What the page counted; never believed beyond what passed at the desk."""


class Opened(BaseModel):
    """An exhibit that somebody opens, or asks about."""

    case: str = Field(max_length=60)
    exhibit: str = Field(max_length=60)


class Below(BaseModel):
    """What the helpers of whoever gave an exhibit say of it."""

    asked: tuple[ShownExhibit, ...]


class Kept(BaseModel):
    """What was kept."""

    feedback: Feedback
    told: str = ""
    """Where it was a gold question, was wrong, and the study says so: what is right."""


class Undone(BaseModel):
    """Which case is in the rater's hands again."""

    case: str


class Problem(BaseModel):
    """Why not, in one line."""

    detail: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {n: {"model": Problem} for n in (400, 401, 403, 409, 413, 422, 429, 503)}


def api(desk: Desk, doors: Doors, going: GoingOn, drill: Drill, watch: Watch) -> APIRouter:
    """The routes under /api."""
    router = APIRouter(prefix="/api", responses=_PROBLEMS)

    def caller(request: Request) -> Caller:
        found = doors.caller(request)
        if request.method != "GET":
            check_proof(found, request.headers.get("x-proof", ""))
        return found

    def rater(found: Annotated[Caller, Depends(caller)]) -> Rater:
        if found.rater is None:
            raise HTTPException(403, "the owner's link does not judge; take a rater's")
        return found.rater

    def owner(found: Annotated[Caller, Depends(caller)]) -> None:
        if found.rater is not None:
            raise HTTPException(403, "this is for the owner's link")

    By: TypeAlias = Annotated[Rater, Depends(rater)]

    @router.get("/case", response_model=NextCase, responses={204: {"description": "nothing waits for this rater"}})
    def case(by: By) -> Any:
        """The next case for this rater; the same one until it is judged, or its lease has run out."""
        handed = desk.next(by.id)
        if handed is None:
            return Response(status_code=204)
        return NextCase(
            case=handed.id,
            sheet=as_seen(handed),
            began=handed.began,
            expires=handed.expires,
            opened=list(handed.opened),
            asked={a.exhibit: a.shown for a in handed.asked},
        )

    @router.post("/feedback", status_code=201)
    def feedback(said: Said, by: By) -> Kept:
        """Judge a case. When this answers, the verdict is on the disk."""
        kept = judge(desk, by, said.case, said.model_dump(exclude={"case"}))
        return Kept(feedback=kept, told=desk.gold.told(by.id))

    @router.post("/undo")
    def undo(by: By) -> Undone:
        """Take the last verdict back, as long as the run has not taken it."""
        return Undone(case=desk.undo(by.id))

    @router.post("/opened")
    def opened(what: Opened, by: By) -> ShownExhibit:
        """Open an exhibit: it is recorded, and then shown."""
        return open_exhibit(desk, by, what.case, what.exhibit)

    @router.post("/ask")
    def ask(what: Opened, by: By) -> Below:
        """Have the helpers of whoever gave an exhibit asked about it: it is recorded, and then shown."""
        return Below(asked=drill.ask(by, what.case, what.exhibit))

    @router.get("/progress", dependencies=[Depends(owner)])
    def progress() -> dict[str, Any]:
        """How far each node and each rater is, how the raters' work looks, and what the run is doing."""
        return {"state": going.state, **overseen(desk, watch)}

    return router
