"""One rater at the desk: the next case, a verdict understood and kept, an exhibit opened, an undo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rrm.desk import Desk, Handed
from rrm.desk.raters import Rater
from rrm.desk.sheet import Sheet, ShownExhibit, ShownTerm
from rrm.desk.verdict import understood
from rrm.errors import Refused, RrmError
from rrm.inert import inert
from rrm.records import Feedback, TermEdit
from rrm.registry import REWARD_TERMS


def as_seen(handed: Handed) -> Sheet:
    """The case with the exhibits that are open; of the others only who speaks, so that none is read unrecorded. And
    without its place, by which gold questions, gates and trials could be told from the rest."""
    sheet = handed.sheet.model_copy(update={"place": ""})
    if not sheet.folded:
        return sheet
    shut = {"asked": (), "said": ()}
    exhibits = (e if e.exhibit in handed.opened else e.model_copy(update=shut) for e in sheet.exhibits)
    return sheet.model_copy(update={"exhibits": tuple(exhibits)})


def judge(desk: Desk, rater: Rater, id: str, posted: Mapping[str, Any]) -> Feedback:
    """Understand and keep a verdict. Raises Refused with the reason, TooLate where the case is no longer theirs."""
    handed = desk.holds(rater.id, id)
    sheet = handed.sheet
    seen = handed.opened if sheet.folded else tuple(e.exhibit for e in sheet.exhibits)
    seconds = _seconds(posted.get("seconds"), time.time() - handed.began)
    feedback = understood(sheet, posted, rater=rater.name, seconds=seconds, seen=seen)
    if isinstance(feedback, TermEdit):
        _check_term(sheet.terms[feedback.term], feedback)
    desk.say(rater.id, id, feedback)
    return feedback


def _check_term(shown: ShownTerm, edit: TermEdit) -> None:
    """Raise Refused where no term has such settings: the run could not go on."""
    if not edit.settings:
        return
    if edit.use not in REWARD_TERMS.names():
        raise Refused(f"settings: of the term {edit.use!r} only the weight can be edited here")
    try:
        REWARD_TERMS.build(edit.use, {**shown.settings, **edit.settings})
    except RrmError as error:
        raise Refused(inert(str(error), 300)) from None


def _seconds(told: object, passed: float) -> float:
    """What the page counted while it was looked at; never more than passed at the desk."""
    counted = float(told) if isinstance(told, int | float) and not isinstance(told, bool) else passed
    return min(max(counted, 0.0), max(passed, 0.0))


def open_exhibit(desk: Desk, rater: Rater, id: str, exhibit: str) -> ShownExhibit:
    """One exhibit, whole; that it was opened is kept before it is shown."""
    handed = desk.holds(rater.id, id)
    found = next((e for e in handed.sheet.exhibits if e.exhibit == exhibit), None)
    if found is None:
        raise Refused("exhibit: there is none of this id beside the case")
    if exhibit not in handed.opened:
        desk.note(rater.id, id, "opened", exhibit)
    return found
