"""All who ever judged the same cases of a node, and how far they agree: Krippendorff's alpha."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rrm.desk import Desk
from rrm.desk.together import GROUP
from rrm.exchange.rows import judged
from rrm.measure import Figure
from rrm.raters.agreement import alpha
from rrm.records import FEEDBACK, Case, Feedback, Rejudged
from rrm.report.second import opinions
from rrm.roles import Task
from rrm.store import Store

Unit = tuple[str, str, str | None]
"""The case, and two answers in the order in which they were shown, or one and nothing."""


class Judged(NamedTuple):
    """What everybody said of one node of one arm and seed."""

    task: Task
    cases: Mapping[str, Case]
    said: Mapping[str, Mapping[str, Feedback]]
    """By judge, and by id of the case."""


def judges(store: Store, key: str, streams: Sequence[str], task: Task, desk: Desk | None = None) -> Judged:
    """The node's own judge, and every other before whom its cases were put. Where several people came to one verdict,
    it is each of them, if there is a `desk` that knows what they said."""
    cases = {case.id: case for stream in streams for case, _ in judged(store, key, stream)}
    places = [("first", key)]
    entries = [e for e in store.read("study", "rejudged", Rejudged).values() if e.node == key]
    places += [(json.dumps(e.evaluator, sort_keys=True), e.key) for e in entries]
    said: dict[str, dict[str, Feedback]] = defaultdict(dict)
    for judge, place in dict.fromkeys(places):
        found: list[Feedback] = []
        for stream in streams:
            heard: Mapping[int, Feedback] = store.read(place, f"{stream}/feedback", FEEDBACK)
            found += heard.values()
        if desk and any(f.evaluator == GROUP for f in found):
            for voice in desk.ledger.of_node(place):
                said[f"{judge}, {voice.rater}"][voice.feedback.case] = voice.feedback
        else:
            said[judge].update((f.case, f) for f in found)
    return Judged(task, cases, said)


def agreement(runs: Iterable[Judged]) -> tuple[Figure | None, int]:
    """Alpha over the pairs of answers of all these runs' cases, and how many judges spoke; the interval is over cases.

    Scale: better, as good, worse. A pair is taken in the order in which it was shown, which was drawn: so neither side
    is commoner than the other by how answers are called.
    """
    marks: dict[str, dict[Unit, int]] = defaultdict(dict)
    for number, run in enumerate(runs):
        for judge, heard in run.said.items():
            for id, feedback in heard.items():
                if case := run.cases.get(id):
                    marks[judge].update(_marks(f"{number}/{id}", case, feedback, run.task))
    units = sorted({unit for told in marks.values() for unit in told}, key=str)
    if not units or len(marks) < 2:
        return None, len(marks)
    groups = {case: number for number, case in enumerate(dict.fromkeys(case for case, *_ in units))}
    ratings = [[told.get(unit) for unit in units] for _, told in sorted(marks.items())]
    return alpha(ratings, "interval", groups=[groups[case] for case, *_ in units]), len(marks)


def _marks(place: str, case: Case, feedback: Feedback, task: Task) -> dict[Unit, int]:
    order = {response.text: at for at, response in reversed(list(enumerate(case.responses)))}
    late, found = len(order), dict[Unit, int]()
    for (a, b), sign in opinions(case, feedback, task).items():
        if b is not None and order.get(b, late) < order.get(a, late):
            found[place, b, a] = -sign
        else:
            found[place, a, b] = sign
    return found
