"""What is laid before a person: a case with its answers and exhibits, all text inert, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field, JsonValue

from rrm.blocks import Block
from rrm.drawn import drawn
from rrm.errors import ComponentError
from rrm.inert import inert
from rrm.records import Case, Exhibit, Record
from rrm.roles import GivenTerm, Known, Task

Kind: TypeAlias = Literal[
    "preference",
    "ranking",
    "rating",
    "approval",
    "demonstration",
    "correction",
    "step-labels",
    "action-labels",
    "action-values",
    "advantages",
    "mask",
    "term",
    "advice",
]
"""The kinds of feedback that can be asked for; nobody is ever kept from saying that they cannot tell."""

KINDS: tuple[Kind, ...] = get_args(Kind)

WORDS = 300
"""An answer of more words is not marked word by word."""

LONG = 20_000
"""So many characters of an item or an answer are shown."""


class ShownExhibit(Record):
    """Something that was said to help."""

    exhibit: str
    """Its id in the record."""
    who: str
    title: str
    about: int | None = None
    """Which answer it is about, from 0; None: the case as a whole."""
    asked: tuple[dict[str, JsonValue], ...] = ()
    said: tuple[dict[str, JsonValue], ...]
    confidence: float | None = None
    level: int | None = None
    checked: int = 0
    """On so many held-out items the helper's own user judged its answers…"""
    agreed: int = 0
    """…and on so many agreed with them, as `rrm.gate.AGREES` says."""


class Asked(Record):
    """What a helper's own helpers said of its answer, when somebody who judged asked."""

    exhibit: str
    """Id of the answer that it is about."""
    key: str
    """Of the node that gave it, whose helpers speak here."""
    said: tuple[Exhibit, ...]
    """What was asked and said, as it was."""
    shown: tuple[ShownExhibit, ...]
    """The same, as it is shown."""


class ShownAnswer(Record):
    """One answer."""

    name: str
    """"A", "B"…, in the order of the record."""
    blocks: tuple[dict[str, JsonValue], ...]
    text: str = ""
    """Its whole text, for whoever mends it; empty where it is too long to be shown whole."""
    words: tuple[str, ...] = ()
    """Its words, for whoever marks them; none where it is only one, or too many."""


class ShownTerm(Record):
    """A known part of the reward, that may be edited."""

    use: str
    """Its name."""
    weight: float
    settings: Mapping[str, str | bool | int | float]
    """What it says, as it stands now; what is no plain value is left out."""


class Sheet(Record):
    """All that a person sees of a case, and what may be said of it."""

    case: str
    """Id of the case in the record."""
    place: str
    node: str
    level: int
    item: tuple[dict[str, JsonValue], ...]
    answers: tuple[ShownAnswer, ...]
    exhibits: tuple[ShownExhibit, ...] = ()
    kinds: tuple[Kind, ...] = Field(min_length=1)
    moves: tuple[str, ...] = ()
    """What a step of an answer may be."""
    steps: tuple[int, ...] = ()
    """Which steps of the first answer may be judged, from 0; those that helpers point to come first."""
    taken: tuple[str, ...] = ()
    """What was done at each of these."""
    terms: tuple[ShownTerm, ...] = ()
    """The known parts of the reward, in order."""
    folded: bool = True
    """Whether exhibits are shut until somebody opens them."""
    limit: float | None = None
    """How many seconds there are for it."""


def sheet_of(
    task: Task,
    case: Case,
    *,
    node: str,
    level: int,
    helpers: Mapping[str, Known],
    kinds: Sequence[Kind],
    folded: bool = True,
    limit: float | None = None,
    terms: Sequence[GivenTerm] = (),
) -> Sheet:
    """A case as a person is shown it. Raises ComponentError if the task cannot show it."""
    pointed, others = task.judgeable(case) if len(case.responses) == 1 else ((), ())
    steps, moves = tuple(dict.fromkeys([*pointed, *others])), tuple(task.moves(case.item))
    first = case.responses[0].text
    return Sheet(
        case=case.id,
        place=inert(case.place, 80),
        node=inert(node, 80),
        level=level,
        item=_blocks(task, case, None),
        answers=tuple(
            ShownAnswer(
                name=name_of(i),
                blocks=_blocks(task, case, r.text),
                text=_whole(r.text),
                words=_words(r.text) if "mask" in kinds and not steps else (),
            )
            for i, r in enumerate(case.responses)
        ),
        exhibits=tuple(shown_exhibit(e, case, helpers) for e in case.exhibits),
        kinds=tuple(kinds),
        moves=moves,
        steps=steps,
        taken=tuple(first[t] for t in steps),
        terms=tuple(_term(term) for term in terms) if "term" in kinds else (),
        folded=folded,
        limit=limit,
    )


def name_of(answer: int) -> str:
    """What an answer is called: by letter, as in reports."""
    return chr(ord("A") + answer) if answer < 26 else str(answer + 1)


def natural(task: Task, case: Case) -> list[Kind]:
    """What is asked of a case if nothing else is said: to compare answers, or to say how good the only one is."""
    count = len(case.responses)
    if count == 2:
        return ["preference"]
    if count > 2:
        return ["ranking"]
    steps: list[Kind] = ["step-labels", "action-labels"] if task.moves(case.item) and any(task.judgeable(case)) else []
    return ["rating", *steps]


def possible(kind: Kind, task: Task, case: Case, terms: Sequence[GivenTerm] = ()) -> bool:
    """Whether that kind can be said of the case at all, and of these known parts of the reward."""
    count = len(case.responses)
    if kind == "term":
        return bool(terms)
    if kind == "mask" and not task.moves(case.item):  # a finite set has no answer that lacks a word
        return task.answers(case.item) is None and any(_words(r.text) for r in case.responses)
    if kind == "preference":
        return count == 2
    if kind == "ranking":
        return count > 1
    if kind in ("step-labels", "action-labels", "action-values", "advantages", "mask"):
        return count == 1 and bool(task.moves(case.item)) and any(task.judgeable(case))
    return True


def _blocks(task: Task, case: Case, text: str | None) -> tuple[dict[str, Any], ...]:
    return tuple(drawn(b, LONG) for b in _show(task, case, text))


def _show(task: Task, case: Case, text: str | None) -> Sequence[Block]:
    try:
        return task.show(case.item, text)
    except Exception as error:
        raise ComponentError(f"{task.name()!r}: show() failed: {type(error).__name__}: {error}") from error


def _whole(text: str) -> str:
    shown = inert(text, LONG)
    return shown if len(text) <= LONG else ""


def _words(text: str) -> tuple[str, ...]:
    words = text.split()
    return tuple(inert(word, 200) for word in words) if 1 < len(words) <= WORDS else ()


def _term(given: GivenTerm) -> ShownTerm:
    settings = given.term.settings.model_dump(mode="json")
    plain = {inert(k, 80): v for k, v in settings.items() if isinstance(v, str | bool | int | float)}
    return ShownTerm(use=inert(given.term.name(), 200), weight=given.weight, settings=plain)


def shown_exhibit(exhibit: Exhibit, case: Case, helpers: Mapping[str, Known]) -> ShownExhibit:
    """What was asked and said, in the blocks of the helper's own task where it is known."""
    query = exhibit.query
    helper = helpers.get(query.subtask) if query else None
    about = next((i for i, r in enumerate(case.responses) if r.id == exhibit.about), None)
    said: tuple[dict[str, Any], ...] = ({"type": "text", "text": inert(exhibit.text)},)
    asked: tuple[dict[str, Any], ...] = ()
    if query and helper and query.item.task == helper.task.name():
        asked = tuple(drawn(b, LONG) for b in _show(helper.task, Case(item=query.item, responses=case.responses), None))
    elif query:
        asked = ({"type": "text", "text": inert(query.item.prompt)},)
    return ShownExhibit(
        exhibit=exhibit.id,
        who=inert(exhibit.agent or exhibit.kind, 80),
        title=inert(exhibit.title or (query.subtask if query else exhibit.kind), 300),
        about=about,
        asked=asked,
        said=said,
        confidence=exhibit.confidence,
        level=helper.level if helper else None,
        checked=helper.checked if helper else 0,
        agreed=helper.agreed if helper else 0,
    )
