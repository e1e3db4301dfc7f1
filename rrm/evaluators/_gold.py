"""Questions whose right verdict is known: written by whoever runs a study, or cases of the run of which the truth is.

The one place beside reports and controls where a task is asked for the truth, if a plan says so. It goes to the desk,
where a rater's verdicts on these are counted; no verdict on them comes back to the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rrm.desk.gold import Gold
from rrm.errors import PlanError
from rrm.records import Case, Item, Response
from rrm.roles import Task
from rrm.seed import Seed

LEAST = 8
"""So many are laid down with a round at least, if it has as many that do."""
SPARE = 3
"""So many times as many as come to one rater who judges the whole round: not each may come to each."""


class Written(BaseModel):
    """A line of a file of gold questions."""

    model_config = ConfigDict(extra="forbid", strict=True)
    prompt: str
    answers: list[str] = Field(min_length=1)
    best: list[int]
    """Which answers are the best, from 0; of an only answer, [0] where it will do, and [] where it will not."""


def read(path: Path, task: Task) -> list[Gold]:
    """The questions of a file, one line of JSON each. Raises PlanError, saying where and what to write."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"gold_file: {path} cannot be read: {error}. Name a file of JSON lines.") from None
    found = [_written(task, line, number, f"gold_file: {path}, line {number}") for number, line in _numbered(lines)]
    if not found:
        raise PlanError(
            f'gold_file: {path} holds no question: write lines as {{"prompt": …, "answers": […], "best": [0]}}'
        )
    return found


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _written(task: Task, line: str, number: int, where: str) -> Gold:
    try:
        said = Written.model_validate(json.loads(line))
    except (ValueError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        form = '{"prompt": …, "answers": ["…", "…"], "best": [0]}'
        raise PlanError(f"{where}: {told}. Write it as {form}") from None
    count, item = len(said.answers), Item(task=task.name(), prompt=said.prompt)
    if not set(said.best) <= set(range(count)) or (count > 1 and not 0 < len(set(said.best)) < count):
        raise PlanError(f"{where}: `best` names some of the answers 0 to {count - 1}, and not all of several")
    if not task.accepts(item):
        raise PlanError(f"{where}: the prompt is no item of the task {task.name()!r}")
    responses = tuple(Response(item=item.id, text=text) for text in said.answers)
    worth = tuple(float(i in said.best) for i in range(count))
    return Gold(case=Case(item=item, responses=responses, place=f"gold/{number}"), worth=worth)


def of_truth(task: Task, cases: Sequence[Case], *, rate: float, seed: Seed) -> list[Gold]:
    """Some of a round's cases once more, of which the truth says what is best, with their answers in another order."""
    drawn = list(cases)
    seed.shuffle(drawn)
    wanted = max(LEAST, round(SPARE * len(cases) * rate / (1 - rate)))
    known = ((case, worth) for case in drawn if (worth := _worth(task, case)) is not None)
    return [_again(case, worth, len(cases) + number) for number, (case, worth) in enumerate(_first(known, wanted))]


def _first(found: Iterable[tuple[Case, list[float]]], most: int) -> Iterator[tuple[Case, list[float]]]:
    for _, one in zip(range(most), found, strict=False):
        yield one


def _worth(task: Task, case: Case) -> list[float] | None:
    """What each answer is worth, where one is plainly the right choice; else None."""
    texts = [r.text for r in case.responses]
    truths = task.truths([case.item] * len(texts), texts)
    known = [t for t in truths if t is not None]
    if len(known) < len(texts):
        return None
    if len(known) == 1:
        return [float(known[0] == 1)] if task.measure == "accuracy" else None
    differ = min(known) < max(known) and (task.measure == "mean" or max(known) == 1)
    return known if differ else None


def _again(case: Case, worth: Sequence[float], number: int) -> Gold:
    stream = case.place.rpartition("/")[0]
    responses, turned = case.responses[::-1], tuple(worth)[::-1]
    again = case.model_copy(update={"responses": responses, "place": f"{stream}/{number}"})
    return Gold(case=again, worth=turned, twin=case.id)
