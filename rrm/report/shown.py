"""Judged cases, shown whole: the item, the answers, what helpers said, what the user said, what the truth says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rrm.blocks import Block, Frames
from rrm.drawn import WORDS, drawn
from rrm.errors import ComponentError, StoreError
from rrm.inert import inert
from rrm.records import FEEDBACK, Case, Exhibit, Feedback, Item, Preference, Ranking
from rrm.report.film import NOTHING, Heard, Notes, Said, asked, marks, said
from rrm.report.reading import Pick
from rrm.report.study import Run, Study
from rrm.roles import Task
from rrm.store import Store

MOST = 60
"""So many cases are shown at most: a page that nobody can scroll through helps nobody."""


@dataclass(frozen=True)
class Shown:
    """One case, every text in it inert, ready for a template that escapes."""

    node: str
    arm: str
    right: bool
    pairs: str
    """How many pairs the user judged as the truth has them."""
    item: list[dict[str, Any]]
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Each with `blocks`, `truth` and the exhibits `about` it."""
    exhibits: list[dict[str, Any]] = field(default_factory=list)
    """What was said of the case as a whole."""
    said: str = ""
    placed: list[dict[str, Any]] = field(default_factory=list)
    """What was said of single frames of the item, which is shown there too."""


def shown(study: Study, store: Store) -> Iterator[Shown]:
    """One right and one wrong judgement of each arm and node, from its first seed that has them."""
    seen: set[tuple[str, str, bool]] = set()
    done: set[tuple[str, str, int]] = set()
    heard = Heard(store)
    for node in study.levels:
        for label, runs in study.arms().items():
            for run in runs:
                for pick in run.readings[node].picks if node in run.readings else ():
                    kind, place = (node, label, pick.right), (run.arm.nodes[node], pick.stream, pick.number)
                    if kind not in seen and place not in done and len(done) < MOST:
                        seen.add(kind)
                        done.add(place)
                        yield _whole(store, run, node, label, pick, heard)


def _whole(store: Store, run: Run, node: str, label: str, pick: Pick, heard: Heard) -> Shown:
    key, task = run.arm.nodes[node], run.graph.tasks[node]
    case = store.read_one(key, f"{pick.stream}/cases", pick.number, Case)
    feedback: Feedback | None = store.read_one(key, f"{pick.stream}/feedback", pick.number, FEEDBACK)
    if case is None or feedback is None:
        raise StoreError(f"{store.folder}: {key} {pick.stream}/{pick.number} is gone: the record was altered meanwhile")
    below, names = heard.below(run, node), _names(case)
    answers = []
    for name, r in zip(names, case.responses, strict=True):
        about = [e for e in case.exhibits if e.about == r.id]
        shown, truth = _show(task, case.item, r.text), task.truth(case.item, r.text)
        told, placed = _apart(run, node, about, asked(shown))
        blocks = [block(b, Notes(said(about), below)) for b in shown]
        answers.append({"name": name, "blocks": blocks, "truth": truth, "exhibits": told, "placed": placed})
    own = {r.id for r in case.responses}
    rest = [e for e in case.exhibits if e.about not in own]
    shown = _show(task, case.item, None)
    told, placed = _apart(run, node, rest, asked(shown))
    pointing = [Said(f"answer {name}", r.text) for name, r in zip(names, case.responses, strict=True)]
    item = [block(b, Notes([*said(rest), *pointing], below)) for b in shown]
    pairs = f"{pick.agreeing:g} of {pick.asked} pair{'' if pick.asked == 1 else 's'}"
    return Shown(node, label, pick.right, pairs, item, answers, told, words(case, feedback), placed)


def _names(case: Case) -> list[str]:
    return [chr(ord("A") + i) if i < 26 else str(i + 1) for i in range(len(case.responses))]


def _apart(
    run: Run, node: str, exhibits: Sequence[Exhibit], frames: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was said of the whole, and what was said of single frames and stands there."""
    placed = [e for e in exhibits if e.query and e.query.item.prompt in frames]
    rest = [e for e in exhibits if e not in placed]
    return [_exhibit(run, node, e) for e in rest], [_exhibit(run, node, e) for e in placed]


def _exhibit(run: Run, node: str, exhibit: Exhibit) -> dict[str, Any]:
    """Its answer in the blocks of the helper's own task, under the question that was asked."""
    query, task = exhibit.query, run.graph.tasks.get(exhibit.agent)
    if query is not None and task is None:
        helper = run.graph.helpers_of(node).get(query.subtask)
        task = run.graph.tasks[helper] if helper else None
    served = query is not None and task is not None and query.item.task == task.name()
    return {
        "who": inert(exhibit.agent or exhibit.kind, 80),
        "title": inert(exhibit.title or (query.subtask if query else exhibit.kind), 300),
        "asked": [block(b) for b in _show(task, query.item, None)] if query and task and served else [],
        "said": [{"type": "text", "text": inert(exhibit.text, WORDS)}],
        "confidence": exhibit.confidence,
    }


def words(case: Case, feedback: Feedback) -> str:
    """What the user said, in words."""
    names = _names(case)
    if isinstance(feedback, Preference):
        if feedback.first_better == 0.5:
            return "A and B are equally good"
        better, sure = ("A", feedback.first_better) if feedback.first_better > 0.5 else ("B", 1 - feedback.first_better)
        return f"{better} is better" + ("" if sure == 1 else f" (with probability {sure:.2g})")
    if isinstance(feedback, Ranking):
        return " > ".join(" = ".join(names[i] for i in tier if i < len(names)) for tier in feedback.tiers)
    rest = feedback.model_dump(exclude={"case", "evaluator", "seconds", "seen", "confidence", "kind"})
    return inert(f"{feedback.kind}: " + ", ".join(f"{k} {v}" for k, v in rest.items()), WORDS)


def _show(task: Task, item: Item, text: str | None) -> Sequence[Block]:
    try:
        return task.show(item, text)
    except Exception as error:
        raise ComponentError(f"{task.name()!r}: show() failed: {type(error).__name__}: {error}") from error


def block(b: Block, notes: Notes = NOTHING) -> dict[str, Any]:
    """A block as a template takes it, with what was said of each frame at it."""
    plain = drawn(b)
    if isinstance(b, Frames):
        marked = zip(plain["frames"], marks(b, notes), strict=False)
        return {"type": "frames", "frames": [{"block": frame["block"], **mark} for frame, mark in marked]}
    return plain
