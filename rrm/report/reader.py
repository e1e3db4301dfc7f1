"""Reads one trained node's record once, and holds what was said in it against the truth."""

from __future__ import annotations

from rrm.records import Exam
from rrm.report.exams import examined
from rrm.report.familiar import Familiar
from rrm.report.reading import Reading
from rrm.report.spoken import at_gate, at_spot_checks, elsewhere, in_training
from rrm.report.truth import Truth
from rrm.roles import Task
from rrm.store import Store


def read_node(store: Store, key: str, task: Task, known: Familiar | None = None) -> Reading:
    """All figures of the node whose records stand under `key`. Raises StoreError if one of them is damaged.

    The truth is asked here, of recorded answers, and nowhere else. `known` spares nodes of one task to look at its
    training split again.
    """
    questions = (known or Familiar()).of(task)
    reading = Reading(finished=store.has_agent(key, "published"), exhaustive=questions.exhaustive)
    truth, streams = Truth(task), store.streams(key)
    if last := examined(reading, list(store.read(key, "exam", Exam).values()), truth):
        reading.repeats = questions.repeated(last.prompts)
        reading.familiar = questions.familiar(last.prompts, elsewhere(store, key))
    in_training(reading, store, key, streams, truth)
    at_gate(reading, store, key, streams)
    at_spot_checks(reading, store, key, streams)
    reading.seconds = store.spent(key)
    return reading
