"""What training a plan will cost: judgements, questions to helpers, and a rough estimate of the time."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rrm.asking import drive
from rrm.build import run as train
from rrm.errors import RrmError
from rrm.gate import most_shown
from rrm.job import Job, assemble_node, jobs, plan_of
from rrm.node import Node
from rrm.plan import ArmPlan, Cast, Effort, Plan, Study, Use
from rrm.records import Arm, Case, Item, Response
from rrm.registry import EVALUATORS, POLICY_TRAINERS, REWARD_TRAINERS, Registry
from rrm.roles import Turn
from rrm.seed import Seed
from rrm.store import Store

STEPS = ("steps", "first_steps", "last_steps")
"""The settings that say how long a trainer learns."""

SAMPLES = 8
"""Items of which it is counted how many questions judging one raises."""

Source = Literal["recorded", "measured", "unknown"]
"""Where a time comes from: nodes trained in this folder, or a dry run in small."""


@dataclass(frozen=True)
class Size:
    """How much there is to do in one node, in the units that time grows with."""

    rounds: int
    cases: int
    """Cases judged, over all rounds."""
    steps: int
    """Optimiser steps of the reward and policy trainers, over all rounds; 0 where they take none."""
    exams: int
    """Held-out items answered, over all rounds."""
    gate: int
    """Held-out items judged at the gate."""
    spot: int = 0
    """Helpers' answers that are checked, over all rounds."""

    def units(self, stage: str) -> int:
        """What the time of a stage grows with."""
        return {
            "reward": self.steps or self.cases,
            "policy": self.steps or self.cases,
            "exam": self.exams,
            "gate": self.gate,
            "spot": self.spot,
            "save": self.rounds,
        }.get(stage, self.cases)


class Rate(NamedTuple):
    """Seconds of one stage."""

    fixed: float
    """In every round, however much is done."""
    each: float
    """For each unit."""


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


def size(plan: Plan, name: str) -> Size:
    """How much there is to do in a node of a plan."""
    node = plan.node[name]
    effort, gate = node.effort, node.gate
    return Size(
        rounds=effort.rounds,
        cases=sum(effort.cases_in(number) for number in range(effort.rounds)),
        steps=_steps(node.cast, effort.rounds),
        exams=(effort.rounds + 1) * effort.exam,
        gate=0 if gate.on_fail == "off" else gate.items,
        spot=effort.rounds * node.spot.items * len(node.helped_by) if node.spot.on else 0,
    )


def rates(points: Sequence[tuple[Size, Mapping[str, float]]]) -> dict[str, Rate]:
    """The line through what was measured, stage by stage: through the origin, if all was of one size."""
    found: dict[str, Rate] = {}
    for stage in sorted({stage for _, seconds in points for stage in seconds}):
        here = [(s.units(stage), seconds[stage], s.rounds) for s, seconds in points if stage in seconds]
        (low, early, _), (high, late, rounds) = min(here), max(here)
        slope = max(late - early, 0.0) / (high - low) if high > low else late / high if high else 0.0
        fixed = max(late - slope * high, 0.0) / max(rounds, 1) if high > low or not high else 0.0
        found[stage] = Rate(fixed, slope)
    return found


def seconds(known: Mapping[str, Rate], wanted: Size) -> float:
    """An estimate for a node of that size."""
    return sum(rate.fixed * wanted.rounds + rate.each * wanted.units(stage) for stage, rate in known.items())


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
    known |= {shape: ("recorded", r) for shape, r in _recorded(store, study).items()} if store else {}
    strange = {_shape(job.plan, job.name) for job in wanted} - known.keys()
    if strange and measure:
        known |= {shape: ("measured", r) for shape, r in _measured(study).items() if shape in strange}
    return {job.key: _cost(job, known) for job in wanted}


def _cost(job: Job, known: Mapping[str, tuple[Source, dict[str, Rate]]]) -> Cost:
    node, much = assemble_node(job), size(job.plan, job.name)
    shown, at_gate = _shown(node), most_shown(node)
    each, each_at_gate = node.evaluator.judgements(shown), node.evaluator.judgements(at_gate)
    source, found = known.get(_shape(job.plan, job.name), ("unknown", {}))
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


# -- what is known of time --------------------------------------------------------------------------------------------


def _recorded(store: Store, study: Study) -> dict[str, dict[str, Rate]]:
    """Rates by shape, from the nodes that are trained in a folder; of arms that name no file that the study does not,
    for what a record names is not run."""
    own = {file for arm in study.arms for file in arm.plan.files()}
    points: dict[str, list[tuple[Size, Mapping[str, float]]]] = {}
    for arm in store.read("study", "arms", Arm).values():
        with suppress(RrmError):  # of another version of rrm, or of components that are not here
            plan = plan_of(arm)
            for name, key in arm.nodes.items() if plan.files() <= own else ():
                if store.has_agent(key, "published") and (spent := store.spent(key)):
                    points.setdefault(_shape(plan, name), []).append((size(plan, name), spent))
    return {shape: rates(found) for shape, found in points.items()}


def _measured(study: Study) -> dict[str, dict[str, Rate]]:
    """Rates by shape, from training every arm in small: once to get warm, then at two sizes."""
    points: dict[str, list[tuple[Size, Mapping[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="rrm-cost-") as place:
        for turn, scale in enumerate((1, 1, 4)):
            small = Study("cost", [ArmPlan(arm.name, {}, _shrunk(arm.plan, scale)) for arm in study.arms])
            store = Store(Path(place) / str(turn))
            try:
                train(small, store, workers=1)
            except RrmError:  # a plan that fails here fails later too, and says why then
                continue
            if turn:
                for job in jobs(small)[0]:
                    point = size(job.plan, job.name), store.spent(job.key)
                    points.setdefault(_shape(job.plan, job.name), []).append(point)
    return {shape: rates(found) for shape, found in points.items()}


def _shrunk(plan: Plan, scale: int) -> Plan:
    """The plan with little to do, and nobody to wait for."""
    nodes = {}
    for name, node in plan.node.items():
        cast = node.cast
        if cast.evaluator.kind(EVALUATORS).interactive:
            cast = cast.model_copy(update={"evaluator": Cast().evaluator})
        parts: dict[str, Any] = {}
        for role, registry in (("reward", REWARD_TRAINERS), ("policy", POLICY_TRAINERS)):
            use = getattr(cast, role)
            fields = use.kind(registry).Settings.model_fields
            few = {k: 3 * scale for k in STEPS if k in fields}
            parts[role] = use.model_copy(update=few)
        effort = Effort(rounds=2, cases=8 * scale, exam=16 * scale, candidates=node.effort.candidates)
        gate = node.gate.model_copy(update={"items": 4 * scale, "on_fail": _lenient(node.gate.on_fail)})
        spot = node.spot.model_copy(
            update={"items": min(node.spot.items, 2 * scale), "on_fail": _lenient(node.spot.on_fail)}
        )
        changed = {"cast": cast.model_copy(update=parts), "effort": effort, "gate": gate, "spot": spot}
        nodes[name] = node.model_copy(update=changed)
    return plan.model_copy(update={"seed": 0, "node": nodes})


def _lenient(on_fail: str) -> str:
    return "off" if on_fail == "off" else "warn"


def _shape(plan: Plan, name: str) -> str:
    """What decides how long a unit of work takes: the task and the cast, however much of it there is."""
    node = plan.node[name]
    cast = node.cast.model_dump(mode="json", exclude={"evaluator"})
    cast["evaluator"] = node.cast.evaluator.model_dump(mode="json")
    if node.cast.evaluator.kind(EVALUATORS).interactive:
        cast["evaluator"] = Cast().evaluator.model_dump(mode="json")
    for role in ("reward", "policy"):
        cast[role] = {k: v for k, v in cast[role].items() if k not in STEPS}
    return json.dumps([node.task.model_dump(mode="json"), cast, sorted(node.helped_by)], sort_keys=True)


def _steps(cast: Cast, rounds: int) -> int:
    total = 0
    parts: tuple[tuple[Use, Registry[Any]], ...] = ((cast.reward, REWARD_TRAINERS), (cast.policy, POLICY_TRAINERS))
    for use, registry in parts:
        settings = use.build(registry, use.use).settings
        if (steps_in := getattr(settings, "steps_in", None)) is not None:  # not by its class, which loads torch
            total += sum(steps_in(Turn(number, rounds)) for number in range(rounds))
    return total
