"""Which nodes are stale, as `make` would ask; and their training, in this process or side by side in several.

A node's key is the hash of all that its result depends on. Arms and seeds that agree up to a node share it; change one
node, and only it and what it helps is trained again.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from rrm import __version__
from rrm.errors import ComponentError, GateFailed, PlanError, RrmError, StoreError, Unfinished
from rrm.identity import identity
from rrm.level import Level, Node, Watch
from rrm.plan import NodePlan, Plan, Study, Use
from rrm.records import Arm, Case, Exhibit, GateResult, Response
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REWARD_TERMS,
    REWARD_TRAINERS,
    SELECTIONS,
)
from rrm.roles import Assistant, GivenTerm, Task, Wrapper
from rrm.seed import Seed
from rrm.store import Store

LOGIC = 1
"""Version of the level loop itself: raised when a change of it would give other results from the same plan."""

Progress = Callable[[str, str, int, int], None]
"""Told of a node (by key): what it does, how much of it is done, out of how much."""


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


# -- from a plan to nodes ---------------------------------------------------------------------------------------


def assemble(plan: Plan) -> dict[str, Node]:
    """Every node of a plan with its cast built, helpers first. Raises PlanError that says where the fault is."""
    graph, nodes = plan.graph(), dict[str, Node]()
    level_of = graph.level_of()
    waiting = list(level_of)
    while waiting:
        ready = [n for n in waiting if _needs(plan.node[n]) <= nodes.keys()]
        if not ready:
            raise PlanError(f"these nodes wait for each other's weights or help: {', '.join(waiting)}")
        for name in ready:
            nodes[name] = _node(name, plan, graph.tasks[name], nodes, level_of[name])
            _check_wiring(nodes[name])
        waiting = [n for n in waiting if n not in nodes]
    return nodes


def _needs(node: NodePlan) -> set[str]:
    return {h.node for h in node.helped_by.values()} | ({node.start} if node.start else set())


def _node(name: str, plan: Plan, task: Task, nodes: Mapping[str, Node], level: int) -> Node:
    spec, where = plan.node[name], f"node.{name}.cast"
    cast = spec.cast
    agent = cast.assistant.build(ASSISTANTS, f"{where}.assistant")
    if isinstance(agent, Wrapper):
        raise PlanError(f"{where}.assistant: {cast.assistant.use!r} wraps another assistant: name it under wrapped_in")
    parts: dict[str, Any] = {
        "protocol": cast.protocol.build(PROTOCOLS, f"{where}.protocol"),
        "evaluator": cast.evaluator.build(EVALUATORS, f"{where}.evaluator").seated(name, level),
        "selection": cast.selection.build(SELECTIONS, f"{where}.selection"),
        "reward": cast.reward.build(REWARD_TRAINERS, f"{where}.reward"),
        "policy": cast.policy.build(POLICY_TRAINERS, f"{where}.policy"),
    }
    own = _wraps(cast.wrapped_in, f"{where}.wrapped_in")
    with _said_at(f"{where}.assistant"):
        agent.check(task)
    for role in ("selection", "reward", "policy"):
        with _said_at(f"{where}.{role}"):
            parts[role].check(task, agent)
    terms = [(t, t.build(REWARD_TERMS, f"{where}.terms")) for t in cast.terms]
    edges = {s: (nodes[h.node], _wraps(h.wrapped_in, f"node.{name}.helped_by.{s}")) for s, h in spec.helped_by.items()}
    start = nodes[spec.start] if spec.start else None
    described = {
        "rrm": __version__,
        "logic": LOGIC,
        "node": name,
        "seed": plan.seed,
        "task": identity(task),
        "assistant": [identity(agent), *map(identity, own)],
        # Without helpers, how help is gathered changes nothing: so arms that differ in it share their lowest level.
        "parts": {k: identity(v) for k, v in parts.items() if edges or k != "protocol"},
        "terms": [[t.weight, t.shaping, identity(c)] for t, c in terms],
        "effort": spec.effort.model_dump(exclude=set() if edges else {"fresh"}),
        "gate": spec.gate.model_dump(exclude={"on_fail"}) | {"off": spec.gate.on_fail == "off"},
        "helped_by": {s: [h.key, *map(identity, wraps)] for s, (h, wraps) in edges.items()},
        "start": start.key if start else None,
    }
    return Node(
        name=name,
        key=hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16],
        seed=Seed(plan.seed).at(name),
        task=task,
        assistant=_wrap(agent, task, own),
        effort=spec.effort,
        gate=spec.gate,
        terms=[*task.terms(), *(GivenTerm(c, t.weight, t.shaping) for t, c in terms)],
        helpers={s: (h, functools.partial(_wrap, task=h.task, wraps=wraps)) for s, (h, wraps) in edges.items()},
        start=start,
        **parts,
    )


@contextmanager
def _said_at(where: str) -> Iterator[None]:
    """A fault of the plan is told with its place."""
    try:
        yield
    except PlanError as error:
        raise type(error)(f"{where}: {error}") from None


def _wraps(uses: Sequence[Use], where: str) -> list[Wrapper]:
    found = []
    for use in uses:
        wrapper = use.build(ASSISTANTS, where)
        if not isinstance(wrapper, Wrapper):
            raise PlanError(f"{where}: {use.use!r} does not wrap another assistant")
        found.append(wrapper)
    return found


def _wrap(assistant: Assistant, task: Task, wraps: Sequence[Wrapper]) -> Assistant:
    for wrapper in wraps:
        assistant = wrapper.around(assistant, task)
    return assistant


def _check_wiring(node: Node) -> None:
    """Raise PlanError if a helper would be asked items that are not its own."""
    item = node.task.sample(node.seed.at("wiring").rng())
    asking = node.task.queries(Case(item=item, responses=(Response(item=item.id, text=""),)))
    query = next(asking, None)
    while query is not None:
        reply = None
        if helper := node.helpers.get(query.subtask):
            task = helper[0].task
            if not task.accepts(query.item):
                raise PlanError(
                    f"node.{node.name}.helped_by.{query.subtask}: {helper[0].name!r} does not answer such questions as "
                    f"{query.item.prompt[:60]!r}; check the settings of its task"
                )
            # Some answer that the helper might give, so that what is asked next is looked at too.
            answers = task.answers(query.item) or ("0",)
            reply = Exhibit(text=answers[0], agent=helper[0].name, query=query)
        try:
            query = asking.send(reply)
        except StopIteration:
            break


# -- from a study to jobs ---------------------------------------------------------------------------------------


def jobs(study: Study) -> tuple[list[Job], list[Arm]]:
    """Every distinct node of a study, helpers first, and its arms as the record keeps them."""
    found: dict[str, Job] = {}
    arms = []
    for arm in study.arms:
        nodes = assemble(arm.plan)
        for name, node in nodes.items():
            needs = tuple(sorted({nodes[n].key for n in _needs(arm.plan.node[name])}))
            before = found.get(node.key)
            shared = (*before.arms, arm.label) if before else (arm.label,)
            found[node.key] = Job(node.key, name, before.plan if before else arm.plan, needs, shared)
        arms.append(
            Arm(
                name=arm.name,
                varied=dict(arm.varied),
                seed=arm.plan.seed,
                plan=arm.plan.model_dump(mode="json"),
                title=study.title,
                nodes={name: node.key for name, node in nodes.items()},
            )
        )
    return list(found.values()), arms


def is_published(store: Store, key: str) -> bool:
    """Whether a node is trained and its weights are there."""
    return store.has_agent(key, "published")


def run(study: Study, store: Store, *, progress: Progress | None = None, workers: int | None = None) -> None:
    """Train whatever is stale, level by level, as many nodes at once as there are workers (default: cores).

    Raises Unfinished where cases wait for a person (nodes that do not need them are trained first), GateFailed where
    a plan says to stop there, StoreError if another run holds the folder.
    """
    wanted, arms = jobs(study)
    with alone(store.folder):
        # of an arm that is recorded with several plans, the last one counts
        latest = {_setting(a): a.id for a in store.read("study", "arms", Arm).values()}
        store.append("study", "arms", [a for a in arms if latest.get(_setting(a)) != a.id])
        for job in wanted:
            if is_published(store, job.key):
                store.tidy_agents(job.key, "published")
                store.check_agent(job.key, "published")
        stale = [job for job in wanted if not is_published(store, job.key)]
        interactive = any(assemble_node(job).evaluator.interactive for job in stale)
        count = 1 if interactive else min(workers or cores(), len(stale))
        scheduler = _Scheduler(wanted, store, progress)
        if count <= 1:
            scheduler.in_this_process()
        else:
            scheduler.in_processes(count)


def _setting(arm: Arm) -> str:
    return json.dumps([arm.name, arm.seed, arm.varied], sort_keys=True)


def assemble_node(job: Job) -> Node:
    """A job's node, with everything below it."""
    return _assembled(job.plan.model_dump_json())[job.name]


@functools.lru_cache(maxsize=64)
def _assembled(plan: str) -> dict[str, Node]:
    return assemble(Plan.model_validate_json(plan))


class _Scheduler:
    """Hands out jobs whose needs are published, and gathers what stopped the others."""

    def __init__(self, wanted: Sequence[Job], store: Store, progress: Progress | None) -> None:
        self._store, self._progress = store, progress or (lambda key, stage, done, of: None)
        self._done = {j.key for j in wanted if is_published(store, j.key)}
        self._waiting = [j for j in wanted if j.key not in self._done]
        self._stopped: list[RrmError] = []
        for job in wanted:
            if job.key in self._done:
                self._check_gate(job)

    def _ready(self) -> Iterator[Job]:
        for job in list(self._waiting):
            if set(job.needs) <= self._done:
                self._waiting.remove(job)
                yield job

    def _check_gate(self, job: Job) -> None:
        """A failed gate stops what the node would have helped; the node itself stays published, for reports."""
        gate = job.plan.node[job.name].gate
        results = list(self._store.read(job.key, "gate", GateResult).values())
        if gate.on_fail == "stop" and results and not results[-1].passed:
            last = results[-1]
            self._done.discard(job.key)
            self._stopped.append(
                GateFailed(
                    f"{job.name} ({job.arms[0]}) did not pass its gate: the user found its answer best on "
                    f"{last.agreed} of {last.checked} items ({last.agreement_needed:.0%} needed), and it found "
                    f"{last.found} of {last.faults} uncommon answers ({last.recall_needed:.0%} needed). Give it more "
                    'rounds, cases or gate.extra_rounds, or set gate = "warn" to go on regardless.'
                )
            )

    def _finish(self, job: Job, error: RrmError | None) -> None:
        if error is not None:
            self._stopped.append(error)
            return
        self._done.add(job.key)
        self._check_gate(job)
        self._progress(job.key, "done", 1, 1)

    def _raise(self) -> None:
        for kind in (RrmError, Unfinished):
            for error in self._stopped:
                if kind is Unfinished or not isinstance(error, Unfinished):
                    raise error

    def in_this_process(self) -> None:
        while batch := list(self._ready()):
            for job in batch:
                try:
                    train(job, self._store, functools.partial(self._progress, job.key))
                except RrmError as error:
                    self._finish(job, error)
                else:
                    self._finish(job, None)
        self._raise()

    def in_processes(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        events: Any = context.Queue()
        listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        listener.start()
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(count, context, _start_worker, (str(self._store.folder), events)) as pool:
            try:
                self._hand_out(pool)
            except BaseException as error:
                # what is recorded is whole wherever a worker stops, so nobody need wait for the others
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
                if isinstance(error, BrokenProcessPool):
                    raise RrmError(_DIED) from None
                raise
        events.put(None)
        listener.join()
        self._raise()

    def _hand_out(self, pool: ProcessPoolExecutor) -> None:
        running: dict[Future[None], Job] = {}
        while True:
            running |= {pool.submit(_work, job): job for job in self._ready()}
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job, error = running.pop(future), future.exception()
                if error is not None and not isinstance(error, RrmError):
                    raise error
                self._finish(job, error)

    def _listen(self, events: Any) -> None:
        while (event := events.get()) is not None:
            self._progress(*event)


def train(job: Job, store: Store, watch: Watch) -> None:
    """Train one node, everything that it needs being published.

    Raises ComponentError for whatever goes wrong in a component, saying in which file: plug-ins are not ours to trust.
    """
    node = assemble_node(job)
    _one_thread()
    try:
        Level(node, store, watch).train()
    except (RrmError, KeyboardInterrupt):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise ComponentError(f"{job.name} ({job.arms[0]}): {type(error).__name__} in {where}: {error}") from error


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


# -- processes --------------------------------------------------------------------------------------------------

_DIED = (
    "a worker process ended without a word (killed, or out of memory?). Run the same command again, perhaps with fewer "
    "--workers: it goes on from what was recorded."
)

_worker: dict[str, Any] = {}


def _start_worker(folder: str, events: Any) -> None:
    """Set up a worker, and an end to it when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    handle = (Path(folder) / "workers.lock").open("a")
    fcntl.flock(handle, fcntl.LOCK_SH)
    _worker.update(store=Store(Path(folder)), events=events, lock=handle)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()


def _work(job: Job) -> None:
    last: list[object] = []
    if not _worker.get("settled"):
        assemble_node(job)  # so that what its components import is there
        _few_collections()
        _worker["settled"] = True

    def watch(stage: str, done: int, of: int) -> None:
        mark = [stage, done * 50 // max(of, 1)]
        if mark != last:  # a message for every case would cost more than the case
            last[:] = mark
            _worker["events"].put((job.key, stage, done, of))

    train(job, _worker["store"], watch)


def _one_thread() -> None:
    """Keep torch, if a component of the plan uses it, to one thread: more lose on small models, and vary by machine."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # for a component that imports it later
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _few_collections() -> None:
    """Records form no cycles, yet making thousands keeps waking a collector that walks all of torch each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder: one `rrm run` at a time, and none while workers of a killed one are still ending."""
    try:
        locks = (folder / "run.lock").open("a"), (folder / "workers.lock").open("a")
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written to: {error.strerror or error}. Give another --out.") from error
    with locks[0] as lock, locks[1] as workers:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{folder}: another `rrm run` is using this folder; wait for it, or give another --out"
            ) from None
        fcntl.flock(workers, fcntl.LOCK_EX)
        fcntl.flock(workers, fcntl.LOCK_UN)
        yield
