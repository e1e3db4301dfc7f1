"""From what a page or a script posts to a verdict of the record: checked against what was asked, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rrm.desk.sheet import Sheet
from rrm.errors import Refused
from rrm.inert import inert
from rrm.records import (
    FEEDBACK,
    Abstention,
    ActionLabels,
    ActionValues,
    Advantages,
    Advice,
    Approval,
    Correction,
    Demonstration,
    Feedback,
    Mask,
    Preference,
    Ranking,
    Rating,
    StepLabels,
    TermEdit,
)

WORDS = 20_000
"""So many characters a demonstration, a correction or an advice may have."""

MOST = 10**6
"""No weight is larger."""

_OWN = {"case", "evaluator", "seconds", "seen", "work"}
"""Known at the desk: nobody says them of themselves."""


def understood(sheet: Sheet, posted: Mapping[str, Any], *, rater: str, seconds: float, seen: Sequence[str]) -> Feedback:
    """The verdict. `posted` holds its kind and content; `seconds` and `seen` are what the desk knows.

    Raises Refused that says what to send instead.
    """
    given = {k: v for k, v in posted.items() if k not in _OWN}
    kind = given.get("kind")
    if kind != "abstention" and kind not in sheet.kinds:
        raise Refused(f"kind: {', '.join(sheet.kinds)} or abstention is asked here (got {inert(repr(kind), 80)})")
    own = {"case": sheet.case, "evaluator": rater, "seconds": round(seconds, 3), "seen": tuple(seen)}
    try:
        feedback = FEEDBACK.validate_python({**given, **own})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(kind)
        raise Refused(inert(f"{where}: {first['msg']}", 300)) from None
    _check(sheet, feedback)
    return feedback


def _check(sheet: Sheet, feedback: Feedback) -> None:
    """Raise Refused if it speaks of what was not shown."""
    count = len(sheet.answers)
    match feedback:
        case Preference():
            _need(count == 2, "preference: there are not two answers here")
        case Ranking(tiers=tiers):
            _need(all(tiers), "tiers: each holds at least one answer")
            _need(all(i < count for tier in tiers for i in tier), f"tiers: answers are 0 to {count - 1}")
        case StepLabels(labels=said) | ActionLabels(labels=said):
            _check_steps(sheet, feedback.response, said)
            allowed = not isinstance(feedback, ActionLabels) or {"", *sheet.moves} >= set(feedback.labels)
            _need(allowed, f"labels: each is one of {' '.join(sheet.moves)}, or empty for no opinion")
        case ActionValues(values=said) | Advantages(values=said):
            _check_steps(sheet, feedback.response, said)
        case Mask():
            _check_mask(sheet, feedback)
        case TermEdit():
            _check_term(sheet, feedback)
        case Rating(response=at) | Approval(response=at):
            _need(at < count, f"response: answers are 0 to {count - 1}")
        case Correction(response=at, text=text):
            _need(at < count, f"response: answers are 0 to {count - 1}")
            _check_text(text)
            _need(
                text != sheet.answers[at].text, "text: this is the answer as it was; change it, or judge it otherwise"
            )
        case Demonstration(text=text) | Advice(text=text) | Abstention(reason=text):
            _check_text(text)


def _check_steps(sheet: Sheet, response: int, said: Sequence[object]) -> None:
    opinions = [t for t, what in enumerate(said) if what not in (None, "")]
    _need(response == 0 and len(sheet.answers) == 1, "response: steps are judged of the only answer, 0")
    _need(bool(opinions), "there is no opinion on any step in it; or abstain")
    _need(set(opinions) <= set(sheet.steps), f"steps that can be judged here are {list(sheet.steps)}, counted from 0")


def _check_mask(sheet: Sheet, mask: Mask) -> None:
    _need(
        mask.of == ("steps" if sheet.steps else "words"), f"of: {'steps' if sheet.steps else 'words'} are marked here"
    )
    _need(any(mask.marks), "marks: mark at least one; or abstain")
    if mask.of == "steps":
        _check_steps(sheet, mask.response, mask.marks)
        return
    _need(mask.response < len(sheet.answers), f"response: answers are 0 to {len(sheet.answers) - 1}")
    words = sheet.answers[mask.response].words
    _need(bool(words), "response: the words of this answer cannot be marked")
    _need(len(mask.marks) <= len(words), f"marks: this answer has {len(words)} words")


def _check_term(sheet: Sheet, edit: TermEdit) -> None:
    """Whether its settings make a term is for whoever knows the terms."""
    _need(edit.term < len(sheet.terms), f"term: they are 0 to {len(sheet.terms) - 1}")
    shown = sheet.terms[edit.term]
    _need(edit.use == shown.use, f"use: this one is {shown.use!r}")
    _need(abs(edit.weight) <= MOST, f"weight: a number from {-MOST} to {MOST}")
    for name, value in edit.settings.items():
        _need(name in shown.settings, f"settings: {', '.join(shown.settings) or 'none'} can be edited")
        _need(not isinstance(value, str) or (len(value) <= WORDS and _is_text(value)), f"settings: {name} is no text")
    changed = {k: v for k, v in edit.settings.items() if v != shown.settings[k]}
    _need(bool(changed) or edit.weight != shown.weight, "term: nothing of it is changed; change it, or abstain")


def _check_text(text: str) -> None:
    _need(bool(text.strip()), "text: it is empty")
    _need(len(text) <= WORDS, f"text: at most {WORDS} characters")
    # half a surrogate is in no text file, and no database takes a NUL
    _need(_is_text(text), "text: it holds a character that no text may hold")


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _need(holds: bool, say: str) -> None:
    if not holds:
        raise Refused(say)
