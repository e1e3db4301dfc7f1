"""What was judged elsewhere, as cases of a task with what was said of them; every row is checked, or none is taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf, isinf, nan
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from rrm.control import ControlTask
from rrm.errors import PlanError
from rrm.exchange.reading import rows
from rrm.exchange.rows import EXHIBITS, JUDGED, READ, misfit
from rrm.faults import blamed, in_words, written
from rrm.graph import suggest
from rrm.records import FEEDBACK, Case, Correction, Demonstration, Exhibit, Feedback, Item, Preference, Rating, Response
from rrm.roles import Judged, Task

Cells = Mapping[str, Any]

KEPT = 10_000
"""Prompts that are remembered, for most files speak of each several times."""


class Source(NamedTuple):
    """A file of judgements that a node learns from."""

    path: Path
    content: str
    """A hash of what is in it, which is part of the node's key; where it stands is none."""
    rows: int


class _Said(NamedTuple):
    """What one row says, before it is held against the task."""

    prompt: str
    answers: Sequence[str]
    feedback: Callable[[str], Feedback]
    """Given the id of the case."""
    agents: Sequence[str] = ()
    exhibits: tuple[Exhibit, ...] = ()


class Wrong(ValueError):
    """What is wrong with a row, and what to write instead."""


def imported(sources: Sequence[Source], task: Task) -> Iterator[Judged]:
    """Every row of these files as a case with its feedback, in order."""
    number = 0
    for source in sources:
        for case, feedback in judgements(source.path, task, first=number):
            number += 1
            yield case, feedback


def judgements(path: Path, task: Task, *, first: int = 0) -> Iterator[Judged]:
    """The rows of one file. Raises PlanError with the line, what is wrong, and what to write instead."""
    check, number = _Check(task), first
    for where, cells in rows(path):
        try:
            said = _form(cells)(cells, path.name)
            item = check.item(said.prompt)
            responses = [
                Response(
                    item=item.id, text=check.answer(item, text), agent=said.agents[i] if said.agents else "", sample=i
                )
                for i, text in enumerate(said.answers)
            ]
            place = f"{JUDGED}/{number}"
            case = Case(item=item, responses=tuple(responses), exhibits=said.exhibits, place=place)
            feedback = said.feedback(case.id)
            if isinstance(feedback, Demonstration | Correction):
                check.answer(item, feedback.text)
            if fault := misfit(case, feedback):
                raise Wrong(fault)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            raise PlanError(f"{path}, {where}: {'.'.join(map(str, wrong['loc']))}: {in_words(wrong)}") from None
        except Wrong as error:
            raise PlanError(f"{path}, {where}: {error}") from None
        except RecursionError:
            raise PlanError(
                f"{path}, {where}: said: lists in lists, too deep: leave it as rrm export wrote it"
            ) from None
        yield case, feedback
        number += 1
    if number == first:
        raise PlanError(f"{path}: there is no row in it: leave it out, or write one judgement a line")


def _of_rrm(cells: Cells, file: str) -> _Said:
    """A row of the table that `rrm export` writes."""
    if (stage := cells.get("stage")) in ("gate", "spot"):
        raise Wrong(
            f"stage: {stage!r} is a check, and nothing is learnt from those: rrm export --training leaves them out"
        )
    answers, agents = (_texts(cells, name) for name in ("answers", "agents"))
    if not answers or len(agents) not in (0, len(answers)):
        raise Wrong(f"{len(agents)} agents gave {len(answers)} answers: write one agent for each answer, and an answer")
    try:
        said = json.loads(_text(cells, "said"))
        exhibits = EXHIBITS.validate_json(cells.get("exhibits_json") or "[]")
    except ValueError as error:  # pydantic's is one too
        raise Wrong(f"said, exhibits_json: {str(error).splitlines()[0]}; leave them as rrm export wrote them") from None
    if not isinstance(said, dict):
        raise Wrong("said: write a JSON object, as rrm export does")
    return _Said(
        _text(cells, "prompt"),
        answers,
        lambda case: FEEDBACK.validate_json(json.dumps({**said, "case": case})),
        agents,
        exhibits,
    )


def _pair(cells: Cells, file: str) -> _Said:
    chosen, rejected = _text(cells, "chosen"), _text(cells, "rejected")
    if chosen == rejected:
        raise Wrong(f"chosen and rejected are the same, {_cut(chosen)}: write two answers, or leave the row out")
    return _Said(_text(cells, "prompt"), (chosen, rejected), _feedback(Preference, cells, file, first_better=1.0))


def _preference(cells: Cells, file: str) -> _Said:
    first, second = _text(cells, "first"), _text(cells, "second")
    if first == second:
        raise Wrong(f"first and second are the same, {_cut(first)}: write two answers, or leave the row out")
    how = "1 where the first is better, 0 where the second is, 0.5 for a tie"
    better = _number(cells, "preference", how)
    return _Said(_text(cells, "prompt"), (first, second), _feedback(Preference, cells, file, first_better=better))


def _rating(cells: Cells, file: str) -> _Said:
    score = _number(cells, "score", "0 for worthless, 1 for as good as it could be")
    return _Said(_text(cells, "prompt"), (_text(cells, "answer"),), _feedback(Rating, cells, file, score=score))


FORMS: Mapping[tuple[str, ...], Callable[[Cells, str], _Said]] = {
    READ: _of_rrm,
    ("prompt", "chosen", "rejected"): _pair,
    ("prompt", "first", "second", "preference"): _preference,
    ("prompt", "answer", "score"): _rating,
}
"""The columns of a row, and what it says. `evaluator`, `seconds` and `confidence` may stand beside the last three."""


def _form(cells: Cells) -> Callable[[Cells, str], _Said]:
    for columns, form in FORMS.items():
        if cells.keys() >= set(columns):
            return form
    nearest = min(FORMS, key=lambda columns: (len(set(columns) - cells.keys()), len(columns)))
    missing = ", ".join(repr(name) for name in nearest if name not in cells)
    forms = "; or ".join(", ".join(columns) for columns in list(FORMS)[1:])
    raise Wrong(f"the column {missing} is missing (there are {_cut(', '.join(cells))}): a row has {forms}")


def _feedback(kind: Callable[..., Feedback], cells: Cells, file: str, **said: float) -> Callable[[str], Feedback]:
    who = _text(cells, "evaluator") if cells.get("evaluator") not in (None, "") else file
    more = {
        name: _number(cells, name, how, most=most)
        for name, how, most in (("seconds", "0 or more", inf), ("confidence", "0 to 1", 1.0))
        if cells.get(name) not in (None, "")
    }
    return lambda case: kind(case=case, evaluator=who, **said, **more)


def _text(cells: Cells, name: str) -> str:
    value = cells.get(name)
    if isinstance(value, list):
        raise Wrong(f"{name}: this is a list, as of messages; write the text alone")
    if not isinstance(value, str):
        raise Wrong(f"{name}: write a text (got {written(value)})")
    return _sound(value, name)


def _texts(cells: Cells, name: str) -> list[str]:
    values = cells.get(name) or []
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise Wrong(f"{name}: write a list of texts (got {written(values)})")
    return [_sound(v, name) for v in values] if name == "answers" else values


def _sound(text: str, name: str) -> str:
    if not text.strip():
        raise Wrong(f"{name}: this is empty: write a text, or leave the row out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong(f"{name}: this holds half of a character (a lone surrogate), which cannot be stored") from None
    return text


def _number(cells: Cells, name: str, how: str, *, most: float = 1.0) -> float:
    value = cells.get(name)
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else nan
    except (ValueError, OverflowError):
        number = nan
    if not 0 <= number <= most or isinf(number):
        raise Wrong(f"{name}: write {how} (got {written(value)})")
    return number


def _cut(text: str) -> str:
    return written(text[:60])


class _Check:
    """Holds prompts and answers against a task."""

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, task.name()
        words = task.vocabulary()
        self._words = None if words is None else frozenset(words)
        self._known: dict[str, Item] = {}

    def item(self, prompt: str) -> Item:
        """The item of that prompt, if the task has such items."""
        if prompt not in self._known:
            item = Item(task=self._name, prompt=prompt)
            strange = [] if self._words is None else [w for w in prompt.split() if w not in self._words]
            with blamed(f"task {self._name!r}"):
                accepted = not strange and self._task.accepts(item)
            if not accepted:
                raise Wrong(
                    f"prompt: {_cut(prompt)} is no item of the task {self._name!r} as this node sets it"
                    f"{f', which knows no word {strange[0]!r}' if strange else ''}; leave the row out, or judge for "
                    "the node whose items these are"
                )
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[prompt] = item
        return self._known[prompt]

    def answer(self, item: Item, text: str) -> str:
        """The answer, if it may be one: of a finite answer set, only what is in it; of an episode, only actions."""
        task = self._task
        if isinstance(task, ControlTask) and (len(text) > task.horizon or not set(text) <= set(task.actions)):
            how = f"write a letter of {task.actions!r} for each step, at most {task.horizon}"
            raise Wrong(f"{_cut(text)} is no episode of the task {self._name!r}: {how}")
        answers = self._task.answers(item)
        if answers is not None and text not in answers:
            raise Wrong(
                f"{_cut(text)} is none of the answers of the task {self._name!r}. {suggest(text, list(answers))}"
            )
        return text
