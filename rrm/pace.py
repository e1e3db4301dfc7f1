"""How long training takes: from what was recorded of nodes like it in a folder, or from training them in small."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rrm.build import run as train
from rrm.errors import RrmError
from rrm.job import jobs, plan_of
from rrm.plan import ArmPlan, Cast, Effort, NodePlan, Plan, Study
from rrm.records import Arm
from rrm.registry import ASSISTANTS, EVALUATORS, POLICY_TRAINERS, REWARD_TRAINERS, Registry
from rrm.roles import Asker, Turn
from rrm.store import Store

_TRAINERS: dict[str, Registry[Any]] = {"reward": REWARD_TRAINERS, "policy": POLICY_TRAINERS}


@dataclass(frozen=True)
class Size:
    """How much there is to do in one node, in the units that time grows with."""

    rounds: int
    cases: int
    """Cases judged, over all rounds."""
    reward: int
    """What the reward trainer does over all rounds, in its own units; 0 where its time grows with the cases."""
    policy: int
    """The same of the policy trainer."""
    exams: int
    """Held-out items answered, over all rounds."""
    gate: int
    """Held-out items judged at the gate."""
    spot: int = 0
    """Helpers' answers that are checked, over all rounds."""

    def units(self, stage: str) -> int:
        """What the time of a stage grows with."""
        return {
            "reward": self.reward or self.cases,
            "policy": self.policy or self.cases,
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


def size(plan: Plan, name: str) -> Size:
    """How much there is to do in a node of a plan."""
    node = plan.node[name]
    effort, gate = node.effort, node.gate
    return Size(
        rounds=effort.rounds,
        cases=sum(effort.cases_in(number) for number in range(effort.rounds))
        if effort.seconds is None
        else _most(node),
        reward=_units(node.cast, "reward", effort.rounds),
        policy=_units(node.cast, "policy", effort.rounds),
        exams=2 * effort.exam + (effort.rounds - 1) * effort.examined(last=False),
        gate=0 if gate.on_fail == "off" else gate.items,
        spot=effort.rounds * node.spot.items * len(node.helped_by) if node.spot.on else 0,
    )


def _most(node: NodePlan) -> int:
    """Cases that the person's time is enough for, if all are of the quickest kind, as that is expected to be."""
    asker = node.cast.evaluator.build(EVALUATORS, "cast.evaluator")
    least = asker.cheapest(()) if isinstance(asker, Asker) else 0.0
    return int((node.effort.seconds or 0.0) / least) if least else 0


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


def recorded(store: Store, study: Study) -> dict[str, dict[str, Rate]]:
    """Rates by shape, from the nodes that are trained in a folder; of arms that name no file that the study does not,
    for what a record names is not run."""
    own = {file for arm in study.arms for file in arm.plan.files()}
    points: dict[str, list[tuple[Size, Mapping[str, float]]]] = {}
    for arm in store.read("study", "arms", Arm).values():
        with suppress(RrmError):  # of another version of rrm, or of components that are not here
            plan = plan_of(arm)
            for name, key in arm.nodes.items() if plan.files() <= own else ():
                if store.has_agent(key, "published") and (spent := store.spent(key)):
                    points.setdefault(shape(plan, name), []).append((size(plan, name), spent))
    return {shape: rates(found) for shape, found in points.items()}


def measured(study: Study) -> dict[str, dict[str, Rate]]:
    """Rates by shape, from training every arm in small: once to get warm, then at two sizes."""
    points: dict[str, list[tuple[Size, Mapping[str, float]]]] = {}
    arms = [arm for arm in study.arms if not _is_served(arm.plan)]
    with tempfile.TemporaryDirectory(prefix="rrm-cost-") as place:
        for turn, scale in enumerate((1, 1, 4) if arms else ()):
            small = Study("cost", [ArmPlan(arm.name, {}, _shrunk(arm.plan, scale)) for arm in arms])
            store = Store(Path(place) / str(turn))
            try:
                train(small, store, workers=1)
            except RrmError:  # a plan that fails here fails later too, and says why then
                continue
            if turn:
                for job in jobs(small)[0]:
                    point = size(job.plan, job.name), store.spent(job.key)
                    points.setdefault(shape(job.plan, job.name), []).append(point)
    return {shape: rates(found) for shape, found in points.items()}


def _is_served(plan: Plan) -> bool:
    """Whether an agent of the plan is somebody else's model, which nobody may stand in for. Its time is not ours."""
    return any(node.cast.assistant.kind(ASSISTANTS).served for node in plan.node.values())


def _is_elsewhere(cast: Cast) -> bool:
    """Whether who judges is not asked to find out what a plan costs: a person, or somebody else's model."""
    user = cast.evaluator.judge.kind(EVALUATORS)
    return user.is_person() or user.served


def _shrunk(plan: Plan, scale: int) -> Plan:
    """The plan with little to do, and nobody to wait for."""
    nodes = {}
    for name, node in plan.node.items():
        cast = node.cast
        if _is_elsewhere(cast):
            cast = cast.model_copy(update={"evaluator": Cast().evaluator})
        parts = {
            role: (use := getattr(cast, role)).model_copy(update=use.kind(registry).small(scale))
            for role, registry in _TRAINERS.items()
        }
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


def shape(plan: Plan, name: str) -> str:
    """What decides how long a unit of work takes: the task and the cast, however much of it there is."""
    node = plan.node[name]
    cast = node.cast.model_dump(mode="json", exclude={"evaluator"})
    cast["evaluator"] = node.cast.evaluator.model_dump(mode="json")
    if _is_elsewhere(node.cast):
        cast["evaluator"] = Cast().evaluator.model_dump(mode="json")
    for role, registry in _TRAINERS.items():
        long = getattr(node.cast, role).kind(registry).small(1).keys()
        cast[role] = {k: v for k, v in cast[role].items() if k not in long}
    return json.dumps([node.task.model_dump(mode="json"), cast, sorted(node.helped_by)], sort_keys=True)


def _units(cast: Cast, role: str, rounds: int) -> int:
    use = getattr(cast, role)
    trainer = use.build(_TRAINERS[role], use.use)
    return sum(trainer.units(Turn(number, rounds)) for number in range(rounds))
