"""What a study comes to: every distinct node once, which nodes it needs, and which arms share it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from rrm.assemble import assemble
from rrm.errors import PlanError, RrmError, StoreError
from rrm.inert import inert
from rrm.node import Node
from rrm.plan import ArmPlan, Plan, Spot, Study, Trial
from rrm.records import Arm, slots
from rrm.registry import in_file
from rrm.store import Store
from rrm.trial.record import ASKED, NODE, TrialAsked


@dataclass(frozen=True)
class Job:
    """One node to be trained, as often as arms share it."""

    key: str
    name: str
    plan: Plan
    needs: tuple[str, ...]
    """Keys of the nodes that must be published before."""
    arms: tuple[str, ...]
    """Labels of the arms that share it."""
    stops: tuple[str, ...] = ()
    """Those of them that go no further if it fails its gate."""
    spot_stops: tuple[tuple[str, Spot], ...] = ()
    """Those of them that go no further than where its spot checks find a helper that cannot be trusted, and what each
    needs."""


def jobs(study: Study) -> tuple[list[Job], list[Arm]]:
    """Every distinct node of a study, helpers first, and its arms as the record keeps them."""
    found: dict[str, Job] = {}
    arms = []
    for said in study.arms:
        try:
            nodes = _assembled(said.plan)
        except PlanError as error:
            raise study.told(said, error) from None
        arm = Arm(
            name=said.name,
            varied=dict(said.varied),
            seed=said.plan.seed,
            plan=said.plan.model_dump(mode="json"),
            base=dict(said.base),
            title=study.title,
            fast=study.fast,
            nodes={name: node.key for name, node in nodes.items()},
        )
        arms.append(arm)
        for name, node in nodes.items():
            needs = tuple(sorted({below.key for below in node.needs()}))
            before = found.get(node.key)
            job = before or Job(node.key, name, said.plan, needs, ())
            stops = (arm.label,) if node.gate.on_fail == "stop" else ()
            spot_stops = ((arm.label, node.spot),) if node.spot.on and node.spot.on_fail == "stop" else ()
            found[node.key] = replace(
                job,
                arms=(*job.arms, arm.label),
                stops=(*job.stops, *stops),
                spot_stops=(*job.spot_stops, *spot_stops),
            )
    return list(found.values()), arms


def plan_of(arm: Arm) -> Plan:
    """The plan of a recorded arm, with all of its nodes. Raises StoreError if this rrm cannot read it."""
    try:
        plan = Plan.model_validate(arm.plan)
    except ValueError:  # pydantic's own is one too
        plan = None
    if plan is None or not arm.nodes.keys() <= plan.node.keys():
        raise StoreError(
            f"the recorded plan of the arm {inert(arm.label, 200)} cannot be read: it was recorded by another version "
            "of rrm, or altered. Read it with that version, or run the plan again: the newest plan of an arm counts."
        )
    return plan


def recorded(store: Store, *, trust: bool = False) -> Study:
    """The study that a record holds: the newest plan of each arm, at the size that was run last.

    Raises StoreError if there is none, and PlanError if it names code in a file and nobody said to `trust` it."""
    arms = list(store.read("study", "arms", Arm).values())
    newest = [slot[-1] for slot in slots(arm for arm in arms if arm.fast == arms[-1].fast)]  # one size, or the other
    if not newest:
        raise StoreError(f"{store.folder}: no arm of a study is in this record yet: `rrm run PLAN` trains one")
    plans = [ArmPlan(arm.name, arm.varied, plan_of(arm), arm.base) for arm in newest]
    asked = list(store.read(NODE, ASKED, TrialAsked).values())
    trial = Trial.recorded(asked[-1]) if asked else None
    uses = [use.use for use in trial.uses()] if trial else []
    strange = sorted({file for arm in plans for file in arm.plan.files()} | {use for use in uses if in_file(use)})
    if strange and not trust:
        raise PlanError(
            f"{store.folder}: the record names code in a file, {strange[0]!r}, which would be run: if you trust it, "
            "say so with --trust"
        )
    return Study(newest[0].title, plans, fast=any(arm.fast for arm in newest)).with_recorded(trial)


def people_of(store: Store, *, trust: bool = False, besides: Collection[str] = ()) -> set[str]:
    """The keys of a record's nodes, and those of trials that wait for people (`besides`). Raises RrmError where no
    person judges any of them in a browser, or all is done."""
    study = recorded(store, trust=trust)
    wanted, _ = jobs(study)
    asked = [job for job in wanted if any(user.use == PEOPLE for user in job.plan.users(job.name))]
    if not asked and not besides:
        used = sorted({job.plan.node[job.name].cast.evaluator.use for job in wanted})
        raise PlanError(
            f"{store.folder}: nobody is asked in a browser here: its evaluators are {', '.join(used)}. Cast "
            f'evaluator = "{PEOPLE}" in the plan, and run it'
        )
    if not besides and all(is_published(store, job.key) for job in wanted):
        raise RrmError(
            f"{store.folder}: this run is finished: nothing waits to be judged. `rrm report` says what it found"
        )
    return {job.key for job in wanted} | set(besides)


PEOPLE = "people"
"""The evaluator whose cases wait on a desk."""


def is_published(store: Store, key: str) -> bool:
    """Whether a node is trained and its weights are there."""
    return store.has_agent(key, "published")


def assemble_node(job: Job) -> Node:
    """A job's node, with everything below it."""
    plan = job.plan.model_dump_json()
    nodes = _ASSEMBLED[plan] if plan in _ASSEMBLED else _assembled(Plan.model_validate_json(plan))
    return nodes[job.name]


KEPT = 64
_ASSEMBLED: dict[str, dict[str, Node]] = {}
"""The nodes of the last plans that were assembled, so that none is twice for what is done with it."""


def _assembled(plan: Plan) -> dict[str, Node]:
    """Anew: a file that a component reads may have changed."""
    nodes, written = assemble(plan), plan.model_dump_json()
    _ASSEMBLED.pop(written, None)
    _ASSEMBLED[written] = nodes
    for oldest in list(_ASSEMBLED)[:-KEPT]:
        del _ASSEMBLED[oldest]
    return nodes
