"""What training a plan will cost: judgements, questions to helpers, and a rough estimate of the time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal, NamedTuple

from rrm.asking import drive
from rrm.gate import most_shown
from rrm.job import Job, assemble_node
from rrm.node import Node
from rrm.pace import Rate, measured, recorded, seconds, shape, size
from rrm.plan import Effort, Study
from rrm.records import Case, Item, Response
from rrm.seed import Seed
from rrm.store import Store

SAMPLES = 8
"""Items of which it is counted how many questions judging one raises."""

Source = Literal["recorded", "measured", "unknown"]
"""Where a time comes from: nodes trained in this folder, or a dry run in small."""


class Cost(NamedTuple):
    """What one node costs, counted as reports count it. Of judgements it is the most: an abstention is none, equal
    answers are shown once, and a rating is one."""

    judgements: int
    """Comparisons that the evaluator is asked for, those at the gate and at spot checks apart."""
    gate_judgements: int
    extra_judgements: int
    """Both again, as often as its gate may add a round (`gate.extra_rounds`); in neither of the above."""
    helper_questions: int
    """Answers of helpers that are shown, over all cases of all rounds; a deterministic helper is asked the same thing
    once. A mean over a few items, where items differ in it."""
    gate_questions: int
    seconds: float | None
    """CPU-seconds, roughly; None: it could not be measured."""
    source: Source
    spot_judgements: int = 0
    """Comparisons that the helpers' evaluators are asked for at spot checks."""
    spot_questions: int = 0
    """What helpers of helpers are asked there."""
    imported: int = 0
    """Judgements made elsewhere, which are read from files: nobody is asked for them."""


def elapsed(spent: Mapping[str, float], needs: Mapping[str, Sequence[str]], workers: int) -> float:
    """How long nodes take side by side, each begun as soon as what it needs is done and a worker is free."""
    done: set[str] = set(needs) - spent.keys()
    waiting = [key for key in needs if key in spent]
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for key in [k for k in waiting if all(n in done or n not in needs for n in needs[k])]:
            if len(running) < max(workers, 1):
                waiting.remove(key)
                heapq.heappush(running, (now + spent[key], key))
        if not running:
            break
        now, key = heapq.heappop(running)
        done.add(key)
    return now


def costs(wanted: Sequence[Job], study: Study, store: Store | None, *, measure: bool = True) -> dict[str, Cost]:
    """What each job costs, by key. `store`, if there is one, says what nodes like it took in this folder.

    With `measure`, a shape of node that is not recorded is trained in small, in a folder that is thrown away.
    """
    known: dict[str, tuple[Source, dict[str, Rate]]] = {}
    known |= {shape: ("recorded", r) for shape, r in recorded(store, study).items()} if store else {}
    strange = {shape(job.plan, job.name) for job in wanted} - known.keys()
    if strange and measure:
        known |= {shape: ("measured", r) for shape, r in measured(study).items() if shape in strange}
    return {job.key: _cost(job, known) for job in wanted}


def _cost(job: Job, known: Mapping[str, tuple[Source, dict[str, Rate]]]) -> Cost:
    node, much = assemble_node(job), size(job.plan, job.name)
    shown, at_gate = _shown(node), most_shown(node)
    each, each_at_gate = node.evaluator.judgements(shown), node.evaluator.judgements(at_gate)
    source, found = known.get(shape(job.plan, job.name), ("unknown", {}))
    again = node.gate.extra_rounds if much.gate else 0
    checks = _checks(node, job.plan.node[job.name].effort, shown)
    return Cost(
        judgements=much.cases * each,
        gate_judgements=much.gate * each_at_gate,
        extra_judgements=again * (node.effort.cases * each + much.gate * each_at_gate),
        helper_questions=round(questions(node, shown) * much.cases),
        gate_questions=round(questions(node, at_gate) * much.gate),
        seconds=seconds(found, much) if found else None,
        source=source,
        spot_judgements=sum(n * max(most_shown(helper) - 1, 1) for helper, n in checks),
        spot_questions=round(sum(n * questions(helper, most_shown(helper)) for helper, n in checks)),
        imported=sum(source.rows for source in node.judged),
    )


def _checks(node: Node, effort: Effort, shown: int) -> list[tuple[Node, int]]:
    """Each helper that is asked anything, and how many of its answers are checked at most."""
    if not node.spot.on:
        return []
    asked, rounds = _asked(node, shown), [effort.cases_in(number) for number in range(effort.rounds)]
    return [
        (helper, sum(min(node.spot.items, ceil(asked[subtask] * cases)) for cases in rounds))
        for subtask, (helper, _) in node.helpers.items()
    ]


def _shown(node: Node) -> int:
    """Answers shown in a case: no more than there are."""
    answers = node.task.answers(_some_item(node, 0))
    return min(node.effort.candidates, len(answers)) if answers else node.effort.candidates


def questions(node: Node, shown: int, samples: int = SAMPLES) -> float:
    """How many questions judging a case with so many answers puts to helpers, on average over a few items."""
    return sum(_asked(node, shown, samples).values())


def _asked(node: Node, shown: int, samples: int = SAMPLES) -> dict[str, float]:
    """The same by subtask.

    What a helper answers may decide what is asked next; the larger count of two tries is taken, in which helpers say
    nothing, or the first answer of their answer set.
    """
    counts: list[Counter[str]] = [Counter(), Counter()]
    for number in range(samples if node.helpers else 0):
        item = _some_item(node, number)
        texts = list(node.task.answers(item) or map(str, range(shown)))[:shown]
        responses = tuple(Response(item=item.id, text=text, sample=i) for i, text in enumerate(texts))
        for which, says in enumerate((False, True)):
            asking = node.protocol.assist(node.task, Case(item=item, responses=responses))
            asked = drive(asking, node.might_say if says else lambda _: None)
            counts[which].update(query.subtask for query in asked if query.subtask in node.helpers)
    most = max(counts, key=Counter.total)
    return {subtask: most[subtask] / samples for subtask in node.helpers}


def _some_item(node: Node, number: int) -> Item:
    return node.task.sample(Seed(0).at("cost", number).rng())
