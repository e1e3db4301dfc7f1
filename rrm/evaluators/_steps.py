"""What a person looks at who judges single steps: what would be, had another step followed the same beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from rrm.records import (
    ActionLabels,
    ActionValues,
    Advantages,
    Case,
    Feedback,
    Response,
    StepLabels,
)
from rrm.roles import Task
from rrm.seed import Seed

StepForm: TypeAlias = Literal["action-labels", "action-values", "advantages", "step-labels"]

STEP_FORMS: tuple[StepForm, ...] = ("action-labels", "action-values", "advantages", "step-labels")

AMONG_ALL: tuple[StepForm, ...] = ("action-labels", "advantages")
"""Forms for which every other step is looked at too."""


class Look(NamedTuple):
    """One step, and the beginnings of answers that show what it is worth."""

    step: int
    """From 0."""
    taken: int
    """Which of the `moves` it was."""
    moves: tuple[str, ...]
    """What was compared: all that could be done, or what was done alone."""
    case: Case
    """The beginning without the step, then with each of the moves after it."""


def looks(task: Task, case: Case, form: StepForm, count: int, at: Seed) -> list[Look]:
    """Up to `count` steps of the first answer: those that helpers point to before others, which are drawn."""
    text, every = case.responses[0].text, tuple(task.moves(case.item))
    pointed, others = task.judgeable(case)
    drawn = at.at("steps").rng().sample(others, len(others))
    found = []
    for t in sorted(dict.fromkeys([*pointed, *drawn][:count])):
        if text[t] in every:
            moves = every if form in AMONG_ALL else (text[t],)
            shown = (text[:t], *(text[:t] + move for move in moves))
            responses = tuple(Response(item=case.item.id, text=s, sample=i) for i, s in enumerate(shown))
            found.append(Look(t, moves.index(text[t]), moves, Case(item=case.item, responses=responses)))
    return found


def worth(form: StepForm, look: Look, values: Sequence[float]) -> float:
    """What the step brought; of an advantage, above the mean of what the others would have."""
    own = values[1 + look.taken]
    if form != "advantages" or len(look.moves) == 1:
        return own - values[0]
    return own - (sum(values[1:]) - own) / (len(look.moves) - 1)


def said_of(
    form: StepForm, case: Case, evaluator: str, scale: float, labels: dict[int, str], marks: dict[int, float]
) -> Feedback:
    """The feedback that these opinions, by step, make."""
    long = max(1, *(t + 1 for t in (*labels, *marks)), 1)
    if form == "action-labels":
        told = tuple(labels.get(t, "") for t in range(long))
        return ActionLabels(case=case.id, evaluator=evaluator, labels=told)
    values = tuple(marks.get(t) for t in range(long))
    if form == "step-labels":
        return StepLabels(case=case.id, evaluator=evaluator, labels=values)
    kind = ActionValues if form == "action-values" else Advantages
    return kind(case=case.id, evaluator=evaluator, values=values, scale=scale)
