"""Two evaluators on the same cases: how far they agree, and how often each was right by the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rrm import measure
from rrm.exchange.rows import judged
from rrm.faults import blamed
from rrm.measure import Figure
from rrm.records import FEEDBACK, Abstention, Case, Feedback, Ranking
from rrm.roles import Task
from rrm.store import Store
from rrm.training.feedback import choices

Opinions = Mapping[tuple[str, str | None], int]
"""Of pairs of answers in alphabetical order, or of an answer and nothing: 1 the first is better, -1 the second, 0 a
tie."""


@dataclass
class Voice:
    """What one of the two said."""

    evaluators: set[str] = field(default_factory=set)
    abstained: int = 0
    right: Figure | None = None
    """How often it agrees with the truth, on the cases that both compare something in."""


@dataclass
class Second:
    """Both at one node of one arm and seed."""

    first: Voice
    second: Voice
    cases: int = 0
    """Cases in which both compare the same things."""
    other: int = 0
    """Cases in which one of them abstains, or they speak of different things."""
    agreement: Figure | None = None
    marks: Sequence[tuple[int, int]] = ()
    """What each said of the same pair; of two answers, either way round, for neither comes first."""


def second(store: Store, key: str, again: str, streams: Iterable[str], task: Task) -> Second:
    """Hold what stands under `again` against what the first evaluator said of the node's cases under `key`."""
    found = Second(Voice(), Voice())
    agreeing: list[tuple[float, int]] = []
    both: list[tuple[Case, Feedback, Feedback]] = []
    marks: list[tuple[int, int]] = []
    for stream in streams:
        later: Mapping[int, Feedback] = store.read(again, f"{stream}/feedback", FEEDBACK)
        anew = {feedback.case: feedback for feedback in later.values()}
        for case, feedback in judged(store, key, stream):
            if case.id not in anew:
                continue
            for voice, said in ((found.first, feedback), (found.second, anew[case.id])):
                voice.evaluators.add(said.evaluator)
                voice.abstained += isinstance(said, Abstention)
            one, other = (opinions(case, said, task) for said in (feedback, anew[case.id]))
            shared = sorted(one.keys() & other.keys(), key=str)
            if not shared:
                found.other += 1
                continue
            told = [(one[pair], other[pair]) for pair in shared]
            agreeing.append((sum(1 - abs(a - b) / 2 for a, b in told), len(told)))
            marks += [(sign * a, sign * b) for pair, (a, b) in zip(shared, told, strict=True) for sign in _ways(pair)]
            both.append((case, feedback, anew[case.id]))
    found.cases, found.marks, found.agreement = len(both), marks, measure.judge_accuracy(agreeing)
    truths = _truths(task, [case for case, *_ in both])
    found.first.right = _right([(c, f, t) for (c, f, _), t in zip(both, truths, strict=True)])
    found.second.right = _right([(c, f, t) for (c, _, f), t in zip(both, truths, strict=True)])
    return found


def opinions(case: Case, feedback: Feedback, task: Task) -> Opinions:
    """What a feedback says of pairs of answers, or of an answer and nothing, as a rating does."""
    texts = [r.text for r in case.responses]
    told: list[tuple[str | None, str | None, float]]
    if isinstance(feedback, Ranking):
        told = [(texts[i], texts[j], p) for i, j, p in measure.pairs_of(feedback)]
    else:
        made = choices(case, feedback, moves=task.moves(case.item))
        told = [(*choice.options, choice.target[0]) for choice in made if len(choice.options) == 2]
    found: dict[tuple[str, str | None], int] = {}
    for a, b, p in told:
        sign = (p > 0.5) - (p < 0.5)
        if a is not None and (b is None or a < b):
            found[a, b] = sign
        elif b is not None:
            found[b, a] = -sign
    return found


def over_seeds(runs: Sequence[Second]) -> dict[str, Any]:
    """One arm's figures over its seeds, for scripts."""
    return {
        "cases": sum(run.cases for run in runs),
        "not_compared": sum(run.other for run in runs),
        "agreement": _figure(measure.over_seeds([run.agreement for run in runs if run.agreement])),
        "kappa": measure.kappa(mark for run in runs for mark in run.marks),
        "first": _voice([run.first for run in runs]),
        "second": _voice([run.second for run in runs]),
    }


def _voice(voices: Sequence[Voice]) -> dict[str, Any]:
    return {
        "evaluators": sorted({name for voice in voices for name in voice.evaluators}),
        "abstained": sum(voice.abstained for voice in voices),
        "right": _figure(measure.over_seeds([voice.right for voice in voices if voice.right])),
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else figure._asdict()


def _ways(pair: tuple[str, str | None]) -> tuple[int, ...]:
    return (1, 1) if pair[1] is None else (1, -1)


def _truths(task: Task, cases: Sequence[Case]) -> list[list[float | None]]:
    """The truth of every answer, asked of all at once."""
    with blamed(f"task {task.name()!r}, truth"):
        every = task.truths([c.item for c in cases for _ in c.responses], [r.text for c in cases for r in c.responses])
    told = iter(every)
    return [[next(told) for _ in case.responses] for case in cases]


def _right(said: Sequence[tuple[Case, Feedback, Sequence[float | None]]]) -> Figure | None:
    """How often what was said is what the truth says, as reports count it."""
    cases: list[tuple[float, int]] = []
    ratings: dict[str, list[tuple[float | None, float]]] = defaultdict(list)
    for case, feedback, truths in said:
        if rating := measure.rated(feedback):
            ratings[case.item.prompt].append((truths[rating[0]], rating[1]))
        else:
            cases.append(measure.agreement(feedback, truths))
    return measure.judge_accuracy([*cases, *(measure.rated_agreement(given) for given in ratings.values())])
