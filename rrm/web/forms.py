"""From the fields of the page's forms to what a script would have posted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import HTTPException, Request

from rrm.desk.sheet import Sheet
from rrm.errors import Refused
from rrm.inert import inert

Form = Mapping[str, str]

STEPS = 100
"""So many steps have a field of their own."""

MOST = 5000
"""Fields of a form."""

SLIGHTLY = 0.75
"""The probability that an answer which is "slightly better" is better."""


async def fields(request: Request) -> Form:
    """The fields of a posted form; of a name that comes twice, the last. Raises 422 where they are too many."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return {k: v[-1] for k, v in parse_qs(text, keep_blank_values=True, max_num_fields=MOST).items()}
    except ValueError:  # it is raised for nothing else
        raise HTTPException(422, f"a form has at most {MOST} fields") from None


def posted(form: Form, sheet: Sheet) -> dict[str, Any]:
    """The verdict that a form holds. Raises Refused that says what to fill in."""
    kind = form.get("kind", "")
    given: dict[str, Any] = {"kind": kind}
    if seconds := form.get("seconds"):
        given["seconds"] = _number(seconds, "seconds")
    if kind in ("rating", "approval", "correction", "mask"):
        given["response"] = int(_number(form.get("response", "0"), "response"))
    match kind:
        case "preference":
            better = _number(form.get("better", ""), "which is better")
            firm = SLIGHTLY if form.get("strength") == "slightly" and better != 0.5 else 1.0
            given["first_better"] = firm if better == 1 else 1 - firm if better == 0 else better
        case "ranking":
            given["tiers"] = tiers(form.get("order", ""), [a.name for a in sheet.answers])
        case "rating":
            given["score"] = _number(form.get("score", ""), "score") / 9
        case "approval":
            if (said := form.get("approved")) not in ("yes", "no"):
                raise Refused("approved: say whether it will do, by one of the two buttons")
            given["approved"] = said == "yes"
        case "step-labels" | "action-labels" | "action-values" | "advantages":
            content = _steps(form, sheet, kind)
            given["labels" if kind.endswith("labels") else "values"] = content
        case "mask":
            given.update(_mask(form, sheet))
        case "term":
            given.update(_term(form, sheet))
        case "abstention":
            given["reason"] = form.get("reason") or "cannot tell"
        case _:
            given["text"] = form.get("text", "").replace("\r\n", "\n")
    return given


def tiers(order: str, names: list[str]) -> list[list[int]]:
    """ "B > A = C" as places of answers; who is not named shares the last place."""
    place = {name.upper(): i for i, name in enumerate(names)} | {str(i + 1): i for i in range(len(names))}
    found: list[list[int]] = []
    for tier in re.split(r"[>,;]", order):
        words = [w for w in re.split(r"[=\s]+", tier.upper()) if w]
        if strange := [w for w in words if w not in place]:
            raise Refused(f"order: {inert(strange[0], 20)!r} is no answer; write it as in {' > '.join(names)}")
        if words:
            found.append([place[w] for w in words])
    named = [i for tier in found for i in tier]
    if len(set(named)) != len(named):
        raise Refused("order: it names an answer twice")
    if not named:
        raise Refused(f"order: say which is best, as in {' > '.join(names)}")
    rest = [i for i in range(len(names)) if i not in named]
    return [*found, rest] if rest else found


def _steps(form: Form, sheet: Sheet, kind: str) -> list[Any]:
    """Opinions on steps, each from its own field."""
    said = {t: form.get(f"step-{t}", "") for t in sheet.steps}
    long = max((t + 1 for t, what in said.items() if what), default=1)
    if kind == "action-labels":
        return [said.get(t, "") for t in range(long)]
    return [_number(said[t], f"step {t + 1}") if said.get(t) else None for t in range(long)]


def _mask(form: Form, sheet: Sheet) -> dict[str, Any]:
    """What is not marked did not matter; of steps that were not shown there is no opinion."""
    good = {"better": 1.0, "worse": 0.0}.get(form.get("good", ""))
    if sheet.steps:
        shown = set(sheet.steps[:STEPS])
        marks = [f"part-{t}" in form if t in shown else None for t in range(max(shown) + 1)]
        return {"of": "steps", "marks": marks, "good": good}
    at = min(int(_number(form.get("response", "0"), "response")), len(sheet.answers) - 1)
    count = len(sheet.answers[max(at, 0)].words)
    return {"of": "words", "marks": [f"part-{i}" in form for i in range(count)] or [False], "good": good}


def _term(form: Form, sheet: Sheet) -> dict[str, Any]:
    """One term's weight, and those of its settings that are other than shown."""
    at = int(_number(form.get("term", "0"), "term"))
    if not 0 <= at < len(sheet.terms):
        raise Refused(f"term: they are 0 to {len(sheet.terms) - 1}")
    shown = sheet.terms[at]
    settings: dict[str, Any] = {}
    for name, value in shown.settings.items():
        told = form.get(f"set-{name}", str(value)).replace("\r\n", "\n")
        if told != str(value):
            settings[name] = _like(value, told, name)
    weight = _number(form.get("weight", ""), "weight")
    weight = shown.weight if abs(weight - shown.weight) < 1e-10 else weight  # as it is shown
    return {"term": at, "use": shown.use, "weight": weight, "settings": settings}


def _like(value: object, told: str, name: str) -> object:
    if isinstance(value, bool):
        return told.strip().lower() in ("true", "yes", "on", "1")
    if isinstance(value, int):
        return int(_number(told, name))
    return _number(told, name) if isinstance(value, float) else told


def _number(text: str, what: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", text.strip()):
        raise Refused(f"{what}: a number is needed")
    return float(text)
