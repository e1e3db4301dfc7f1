"""Judged cases of a record as flat rows, one after the other, so that no run is too long to be written out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter

from rrm.errors import RrmError, StoreError
from rrm.graph import suggest
from rrm.records import (
    FEEDBACK,
    ActionLabels,
    ActionValues,
    Advantages,
    Approval,
    Arm,
    Case,
    Correction,
    Exhibit,
    Feedback,
    Mask,
    Preference,
    Ranking,
    Rating,
    StepLabels,
)
from rrm.standing import counting
from rrm.store import Store

JUDGED = "judged"
"""The stream of what was judged elsewhere, before round 0."""

Row = dict[str, Any]
Kind = Literal["text", "texts", "json", "whole", "wholes", "number", "flag", "tiers"]
"""Of a column: text, text that is JSON, a whole number, a number, yes or no, or lists of them."""

COLUMNS: Mapping[str, Kind] = {
    "node": "text", "level": "whole", "task": "text", "arms": "texts", "key": "text",
    "stage": "text", "round": "whole", "place": "text", "case": "text",
    "prompt": "text", "answers": "texts", "agents": "texts", "exhibits": "texts", "exhibits_json": "json",
    "evaluator": "text", "kind": "text",
    "first_better": "number", "tiers": "tiers", "response": "whole", "score": "number", "approved": "flag",
    "text": "text", "said": "json",
    "seconds": "number", "work": "whole", "opened": "wholes", "confidence": "number",
}  # fmt: skip
"""The columns of the table of feedback, in order."""

READ = ("prompt", "answers", "said")
"""Those by which a row of it is known."""

ONE = (Rating, Approval, Correction, StepLabels, ActionLabels, ActionValues, Advantages, Mask)
"""Kinds of feedback that speak of one answer of a case."""

EXHIBITS: TypeAdapter[tuple[Exhibit, ...]] = TypeAdapter(tuple[Exhibit, ...])


class Told(NamedTuple):
    """One judged case, and where it stands."""

    node: str
    level: int
    arms: tuple[str, ...]
    key: str
    stream: str
    case: Case
    feedback: Feedback

    @property
    def stage(self) -> str:
        """ "round", "gate", "spot" (a helper's answers, checked), or "judged" (elsewhere)."""
        return "round" if self.stream.isdigit() else self.stream.partition("-")[0]


@dataclass(frozen=True)
class Chosen:
    """Which part of a record is meant: these arms and these nodes of it (none named: all)."""

    arms: Collection[str] = ()
    nodes: Collection[str] = ()
    training: bool = False
    """Without gates and spot checks, from which nothing is learnt."""

    def check(self, store: Store) -> None:
        """Raises RrmError where an arm or a node is not there."""
        _nodes(store, self)


def told(store: Store, chosen: Chosen = Chosen()) -> Iterator[Told]:
    """Every judged case of a record's arms, by the plans that count, in an order that is the same for equal runs.

    Arms that share a node share its cases, which come once. Raises RrmError where an arm or a node is not there.
    """
    for (level, name, key), arms in _nodes(store, chosen):
        for stream in sorted(_judged(store, key), key=_order):
            if chosen.training and not (stream.isdigit() or stream == JUDGED):
                continue
            for case, feedback in judged(store, key, stream):
                yield Told(name, level, arms, key, stream, case, feedback)


def judged(store: Store, key: str, stream: str) -> Iterator[tuple[Case, Feedback]]:
    """The cases of one stream that were judged, with what was said; a few in memory at a time."""
    cases = store.scan(key, f"{stream}/cases", Case)
    at, case = next(cases, (-1, None))
    feedback: Feedback
    for number, feedback in store.scan(key, f"{stream}/feedback", FEEDBACK):
        while case is not None and at < number:
            at, case = next(cases, (-1, None))
        if case is None:
            return
        if at == number:
            if fault := misfit(case, feedback):
                raise StoreError(f"{store.folder}: {key} {stream}/feedback {number} does not fit its case: {fault}")
            yield case, feedback


def misfit(case: Case, feedback: Feedback) -> str:
    """Why a feedback cannot be one on this case, in words; empty where it can."""
    count = len(case.responses)
    if isinstance(feedback, Preference) and count != 2:
        return f"a preference is between two answers, and there are {count}"
    said = {i for tier in feedback.tiers for i in tier} if isinstance(feedback, Ranking) else set[int]()
    said |= {feedback.response} if isinstance(feedback, ONE) else set()
    return f"it speaks of answer {max(said)}, counted from 0, of {count}" if max(said, default=0) >= count else ""


def row(one: Told) -> Row:
    """A judged case under the names of `COLUMNS`; None where a column says nothing of it."""
    case, said = one.case, one.feedback
    content = said.model_dump()
    found = re.search(r"\d+", one.stream)
    opened = [i for i, exhibit in enumerate(case.exhibits) if exhibit.id in said.seen]
    return {
        "node": one.node,
        "level": one.level,
        "task": case.item.task,
        "arms": list(one.arms),
        "key": one.key,
        "stage": one.stage,
        "round": int(found[0]) if found and one.stage != JUDGED else None,
        "place": case.place,
        "case": case.id,
        "prompt": case.item.prompt,
        "answers": [r.text for r in case.responses],
        "agents": [r.agent for r in case.responses],
        "exhibits": [e.text for e in case.exhibits],
        "exhibits_json": EXHIBITS.dump_json(case.exhibits).decode(),
        "evaluator": said.evaluator,
        "kind": said.kind,
        "first_better": content.get("first_better"),
        "tiers": [list(tier) for tier in content["tiers"]] if "tiers" in content else None,
        "response": content.get("response"),
        "score": content.get("score"),
        "approved": content.get("approved"),
        "text": content.get("text", content.get("reason")),
        "said": said.body,
        "seconds": said.seconds,
        "work": said.work,
        "opened": opened,
        "confidence": said.confidence,
    }


def _nodes(store: Store, chosen: Chosen) -> list[tuple[tuple[int, str, str], tuple[str, ...]]]:
    """(level, name, key) of every node that is meant, each with the labels of the arms that share it."""
    arms = list(counting(store))
    _known(store, "arm", chosen.arms, {arm.name for arm in arms})
    arms = [arm for arm in arms if not chosen.arms or arm.name in chosen.arms]
    _known(store, "node", chosen.nodes, {name for arm in arms for name in arm.nodes})
    found = sorted(
        ((level_of(arm, name), name, key), number, arm.label)
        for number, arm in enumerate(arms)
        for name, key in arm.nodes.items()
        if not chosen.nodes or name in chosen.nodes
    )
    return [(place, tuple(label for *_, label in group)) for place, group in groupby(found, lambda entry: entry[0])]


def _known(store: Store, kind: str, wanted: Collection[str], there: Collection[str]) -> None:
    for name in wanted:
        if name not in there:
            raise RrmError(f"{store.folder}: no {kind} is called {name!r}. {suggest(name, sorted(there))}")


def level_of(arm: Arm, name: str, above: tuple[str, ...] = ()) -> int:
    """How many nodes stand below one, by the recorded plan; none of its components is built for this."""
    nodes = arm.plan.get("node")
    node = nodes.get(name) if isinstance(nodes, dict) and name not in above else None
    edges = node.get("helped_by") if isinstance(node, dict) else None
    below = [e.get("node") for e in edges.values() if isinstance(e, dict)] if isinstance(edges, dict) else []
    return 1 + max((level_of(arm, str(helper), (*above, name)) for helper in below), default=-1)


def _judged(store: Store, key: str) -> list[str]:
    return [s.removesuffix("/feedback") for s in store.streams(key) if s.endswith("/feedback")]


def _order(stream: str) -> tuple[int, int, str]:
    """What was judged elsewhere, then the rounds, then gates and spot checks."""
    found = re.search(r"\d+", stream)
    place = 0 if stream == JUDGED else 1 if stream.isdigit() else 2
    return place, int(found[0]) if found else 0, stream
