"""What a node's exams came to: the truth by round, the baselines that it is held against, and its reward model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rrm import measure
from rrm.measure import Figure
from rrm.records import Exam
from rrm.report.gap import reward_gap
from rrm.report.reading import Reading
from rrm.report.truth import Truth

BASELINES = ("zero-shot", "tree")


def examined(reading: Reading, exams: Sequence[Exam], truth: Truth) -> Exam | None:
    """Read all exams of a node; gives that of the last round."""
    moments = {exam.moment: exam for exam in exams}
    found = ((re.fullmatch(r"round-(\d+)", moment), exam) for moment, exam in moments.items())
    rounds = dict(sorted((int(number[1]), exam) for number, exam in found if number))
    last = rounds[max(rounds)] if rounds else None
    _by_round(reading, rounds, truth)
    reading.truth = truth.figure(last.prompts, last.answers) if last and reading.finished else None
    reading.gap = reward_gap(rounds, {n: truth.all(e.prompts, e.answers) for n, e in rounds.items()})
    for moment in BASELINES:
        if moment in moments:
            figure = truth.figure(moments[moment].prompts, moments[moment].answers)
            setattr(reading, moment.replace("-", "_"), figure)
    if last is not None and (choices := truth.answers(last.prompts)) is not None:
        drawn = moments["zero-shot"].trained_on if "zero-shot" in moments else ()
        reading.majority = _majority(last, drawn, choices, truth)
        reading.reward = _reward(last, choices, truth) if reading.finished else None
    return last


def _by_round(reading: Reading, rounds: Mapping[int, Exam], truth: Truth) -> None:
    curves: dict[str, list[tuple[int, Figure]]] = defaultdict(list)
    for number, exam in rounds.items():
        if figure := truth.figure(exam.prompts, exam.answers):
            reading.curve.append((number, figure))
        for name, told in truth.more(exam.prompts, exam.answers).items():
            curves[name].append((number, told))
    reading.measure_curves = dict(curves)
    reading.measures = {name: curve[-1][1] for name, curve in curves.items()} if reading.finished else {}


def _majority(last: Exam, drawn: Sequence[str], choices: Sequence[str], truth: Truth) -> Figure | None:
    """Of always giving the answer that is right most often in training."""
    usual = measure.majority([a for a in choices if truth(p, a) == 1] for p in drawn)
    return None if usual is None else truth.figure(last.prompts, [usual] * len(last.prompts))


def _reward(last: Exam, choices: Sequence[str], truth: Truth) -> Figure | None:
    """How often the reward model puts the right answer above the nearest wrong one."""
    nearest = [
        measure.nearest_wrong([truth(p, a) for a in choices], row)
        for p, row in zip(last.prompts, last.scores, strict=False)
        if len(row) == len(choices)
    ]
    decided = [x for x in nearest if x is not None]
    return measure.wilson(sum(decided), len(decided))
