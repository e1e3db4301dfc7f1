"""Arms, seeds and nodes of a study, and what can be said over them: means, differences, the gap recovered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, NamedTuple

from rrm import measure
from rrm.asking import uncollected
from rrm.errors import RrmError
from rrm.graph import TaskGraph
from rrm.measure import Figure, Trio
from rrm.plan import Spot
from rrm.records import Arm, SpotResult
from rrm.registry import ASSISTANTS, POLICY_TRAINERS, REWARD_TRAINERS, Registry, in_file, placed
from rrm.report.apart import differences
from rrm.report.familiar import Familiar
from rrm.report.reader import read_node
from rrm.report.reading import Reading
from rrm.roles import Task
from rrm.spot import rejudged
from rrm.standing import Newer, Standing
from rrm.store import Store

RECURSIVE, UNASSISTED, ORACLE = "recursive", "unassisted", "oracle"
"""The arms that a gap is computed from, by name."""
TRUTH = "truth"
"""The arm of agents that act, trained on the truth: what there is to be had."""

Get = Callable[[Reading], Figure | None]
GraphOf = Callable[[Arm], TaskGraph]


class HelperError(NamedTuple):
    """A helper that a plan corrupts on purpose."""

    subtask: str
    helper: str
    use: str
    kind: str | None
    rate: float | None
    through: tuple[str, ...] = ()
    """The wrappers that stand before it, nearest first: they may make errors fixed (`cached`) or fewer (`majority`)."""

    def words(self) -> str:
        """For people: "independent errors at 30 %, through cached"."""
        rate = "" if self.rate is None else f" at {100 * self.rate:g} %"
        through = f", through {' and '.join(self.through)}" if self.through else ""
        return f"{self.kind or self.use} errors{rate}{through}"


@dataclass(frozen=True)
class Run:
    """One arm at one seed and one setting of what varies."""

    arm: Arm
    graph: TaskGraph
    readings: Mapping[str, Reading]
    differs: Mapping[str, Any] = field(default_factory=dict)
    """Settings that others of the study do not share, though the plan does not compare them."""

    @property
    def varied(self) -> dict[str, Any]:
        """What varies, and what differs beyond that: runs that are not the same in it are not compared."""
        return {**self.differs, **self.arm.varied}

    @property
    def setting(self) -> str:
        """What varies, in words; empty where nothing does."""
        told = sorted(self.varied.items())
        return ", ".join(f"{key} {_plain(value)}" for key, value in told if value is not None)

    @property
    def label(self) -> str:
        """The arm's name with its setting."""
        return f"{self.arm.name} ({self.setting})" if self.setting else self.arm.name

    def carries_over(self, node: str) -> bool:
        """Whether anything that the node's cast learns reaches other items. Of code in a file, which is not run for
        this, and where the plan does not say, it is taken to."""
        cast = _table(_table(_table(self.arm.plan, "node"), node), "cast")
        return _carries(REWARD_TRAINERS, cast, "reward") or _carries(POLICY_TRAINERS, cast, "policy")

    def spots(self, node: str) -> dict[str, SpotResult]:
        """By subtask, what all spot checks of the helper came to, held against what this arm's plan needs."""
        reading = self.readings.get(node)
        planned = _table(_table(_table(self.arm.plan, "node"), node), "spot")
        return {
            subtask: (rejudged(results, Spot.model_validate(planned)) if planned else results)[-1]
            for subtask, results in (reading.spots if reading else {}).items()
        }

    def helper_errors(self, node: str) -> list[HelperError]:
        """What the plan puts between `node` and its helpers, or around their agents, to make them err."""
        found, nodes = [], _table(self.arm.plan, "node")
        for subtask, entry in _table(_table(nodes, node), "helped_by").items():
            edge = entry if isinstance(entry, dict) else {"node": entry}
            helper = str(edge.get("node"))
            within = _table(_table(nodes, helper), "cast").get("wrapped_in") or ()
            chain = (*within, *(edge.get("wrapped_in") or ()))
            for number, use in enumerate(chain):
                given = _settings(use, str(self.arm.plan.get("folder", ""))) if isinstance(use, dict) else {}
                kind, rate = given.get("kind"), given.get("rate")
                if kind is not None or rate is not None:
                    share = float(rate) if isinstance(rate, (int, float)) else None
                    names = tuple(str(u["use"]) for u in chain[number + 1 :] if isinstance(u, dict))
                    found.append(HelperError(subtask, helper, str(use["use"]), kind and str(kind), share, names))
        return found


@dataclass(frozen=True)
class Study:
    """All runs in a store, each node key read once."""

    runs: Sequence[Run]
    levels: Mapping[str, int] = field(default_factory=dict)
    """Every node's level, in order of level; the highest where arms differ."""
    title: str = ""
    """The newest plan's; empty where none is recorded."""
    newer: Sequence[Newer] = ()
    """Plans that were begun after those told here, and are not trained to their end."""
    left_out: Sequence[Arm] = ()
    """Plans at the small size that stand in the record too."""

    @classmethod
    def read(cls, store: Store, graph_of: GraphOf) -> Study:
        """Raises StoreError or PlanError where the record, or the plans in it, cannot be used."""
        standing = Standing.read(store)
        graphs: dict[str, TaskGraph] = {}
        readings: dict[str, Reading] = {}
        known, runs = Familiar(), []
        for arm, differs in zip(standing.counting, differences(standing.counting), strict=True):
            plan = _key([arm.plan.get("folder"), arm.plan.get("node")])
            if plan not in graphs:
                graphs[plan] = graph_of(arm)
            graph = graphs[plan]
            for node, key in arm.nodes.items():
                if key not in readings and node in graph.tasks:
                    with uncollected():
                        readings[key] = read_node(store, key, graph.tasks[node], known)
            runs.append(Run(arm, graph, {n: readings[k] for n, k in arm.nodes.items() if k in readings}, differs))
        levels: dict[str, int] = {}
        for run in runs:
            for node, level in run.graph.level_of().items():
                levels[node] = max(level, levels.get(node, 0))
        family: dict[str, int] = {}
        for run in runs:
            for number, part in enumerate(families(run.graph)):
                family.update(dict.fromkeys((node for node in part if node not in family), number))
        title = next((run.arm.title for run in reversed(runs) if run.arm.title), "")
        order = sorted(levels.items(), key=lambda nl: (family[nl[0]], nl[1], nl[0]))
        return cls(runs, dict(order), title, standing.newer, standing.small)

    def arms(self) -> dict[str, list[Run]]:
        """The runs of each arm and setting by label, in the order of the plan, seeds in order."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.label, []).append(run)
        return {name: sorted(runs, key=lambda r: r.arm.seed) for name, runs in found.items()}

    def settings(self) -> dict[str, dict[str, list[Run]]]:
        """Setting, then arm name, to runs."""
        found: dict[str, dict[str, list[Run]]] = {}
        for run in self.runs:
            found.setdefault(run.setting, {}).setdefault(run.arm.name, []).append(run)
        return found

    @property
    def small(self) -> bool:
        """Whether any of it was run with `--fast`: too small for anything to be said of it."""
        return any(run.arm.fast for run in self.runs)  # then all are: see `Standing`

    def seeds(self) -> int:
        """Of how many seeds anything is finished: an interrupted one adds nothing to any figure over seeds."""
        return len({run.arm.seed for run in self.runs if any(r.finished for r in run.readings.values())})

    def task(self, node: str) -> Task:
        """The node's task, in the first run that has it."""
        return next(run.graph.tasks[node] for run in self.runs if node in run.graph.tasks)

    def gaps(self, node: str) -> list[tuple[Run, float]]:
        """The gap recovered at each seed and setting where the three arms were measured and leave a gap."""
        told = [(run, measure.gap_recovered(*(f.mean for f in trio))) for run, trio in self._trios(node)]
        return [(run, gap) for run, gap in told if gap is not None]

    def _trios(self, node: str) -> list[tuple[Run, Trio]]:
        found = []
        for arms in self.settings().values():
            trio = [{r.arm.seed: r for r in arms.get(name, ())} for name in (RECURSIVE, UNASSISTED, ORACLE)]
            for seed in sorted(set.intersection(*map(set, trio))):
                truths = [t for runs in trio if (r := runs[seed].readings.get(node)) and (t := r.truth)]
                if len(truths) == 3:
                    found.append((trio[0][seed], Trio(*truths)))
        return found

    def gaps_by_setting(self, node: str) -> dict[str, list[tuple[Run, float]]]:
        """The same, apart by setting of what varies."""
        found: dict[str, list[tuple[Run, float]]] = {}
        for run, gap in self.gaps(node):
            found.setdefault(run.setting, []).append((run, gap))
        return found

    def gap_recovered(self, node: str, setting: str | None = None) -> Figure | None:
        """Its mean, with its interval over seeds: settings of one seed are not independent, so that each seed counts
        once, with the mean of its settings, unless one is named."""
        found: dict[int, list[Trio]] = {}
        for run, trio in self._trios(node):
            if setting is None or run.setting == setting:
                found.setdefault(run.arm.seed, []).append(trio)
        return measure.mean_gap(list(found.values()))

    def gap_median(self, node: str) -> float | None:
        """Its median over seeds, which one seed that failed does not move."""
        gaps = self._gap_of_seeds(node)
        return median(gaps) if gaps else None

    def _gap_of_seeds(self, node: str) -> list[float]:
        found: dict[int, list[float]] = {}
        for run, gap in self.gaps(node):
            found.setdefault(run.arm.seed, []).append(gap)
        return [fmean(gaps) for gaps in found.values()]


def families(graph: TaskGraph) -> list[list[str]]:
    """The parts of a graph that have nothing to do with each other, each from its leaves up."""
    level, part = graph.level_of(), {node: node for node in graph.tasks}

    def root(node: str) -> str:
        while part[node] != node:
            part[node] = part[part[node]]
            node = part[node]
        return node

    for node, _, helper in graph.edges():
        part[root(node)] = root(helper)
    found: dict[str, list[str]] = {}
    for node in graph.tasks:
        found.setdefault(root(node), []).append(node)
    return [sorted(nodes, key=lambda n: (level[n], n)) for nodes in found.values()]


def values(runs: Iterable[Run], node: str, get: Get) -> list[Figure]:
    """A figure of one node in each run that has it."""
    return [f for run in runs if (r := run.readings.get(node)) and (f := get(r)) is not None]


def cell(runs: Iterable[Run], node: str, get: Get) -> Figure | None:
    """A figure of one node over seeds."""
    return measure.over_seeds(values(runs, node, get))


def compared(
    ones: Sequence[Run], others: Sequence[Run], node: str, get: Get, get_other: Get | None = None
) -> Figure | None:
    """How much larger a figure is in `ones` than in `others`, paired by seed."""
    at = {run.arm.seed: run for run in others}
    pairs = [
        (a, b)
        for run in ones
        if run.arm.seed in at and node in run.readings and node in at[run.arm.seed].readings
        if (a := get(run.readings[node])) and (b := (get_other or get)(at[run.arm.seed].readings[node]))
    ]
    return measure.difference([a for a, _ in pairs], [b for _, b in pairs])


def mean_of(runs: Iterable[Run], node: str, get: Callable[[Reading], float | None]) -> float | None:
    """A count or a cost of one node: its mean over seeds."""
    found = [x for run in runs if (r := run.readings.get(node)) and (x := get(r)) is not None]
    return sum(found) / len(found) if found else None


def gates(runs: Iterable[Run], node: str) -> tuple[int, int]:
    """(passed, stood) at the gate."""
    stood = [r.gate.passed for run in runs if (r := run.readings.get(node)) and r.gate]
    return sum(stood), len(stood)


def spots(runs: Iterable[Run], node: str) -> dict[tuple[str, str], list[SpotResult]]:
    """What spot checks of its helpers came to, by helper and subtask, in each run."""
    found: dict[tuple[str, str], list[SpotResult]] = {}
    for run in runs:
        for result in run.spots(node).values():
            found.setdefault((result.helper, result.subtask), []).append(result)
    return found


def growth(runs: Sequence[Run], node: str) -> Figure | None:
    """How much larger the node's error is than its worst helper's, over seeds; None for an arm that asked none, and
    where truths are accuracies here and worths there."""
    here: list[Figure] = []
    below: list[Figure] = []
    for run in runs:
        helpers = sorted(set(run.graph.helpers_of(node).values())) if node in run.graph.tasks else []
        truths = [r.truth for n in (node, *helpers) if (r := run.readings.get(n)) and r.truth]
        asked = node in run.readings and run.readings[node].helper_questions
        alike = len({run.graph.tasks[n].measure for n in (node, *helpers) if n in run.graph.tasks}) == 1
        if asked and alike and helpers and len(truths) == 1 + len(helpers):
            here.append(truths[0])
            below.append(min(truths[1:], key=lambda t: t.mean))
    return measure.error_growth(here, [below]) if here else None


def performance_share(study: Study, run: Run, node: str) -> float | None:
    """Where an acting node's performance stands between doing nothing (0) and the arm trained on the truth (1)."""
    alike = (r for r in study.runs if (r.arm.seed, r.setting) == (run.arm.seed, run.setting))
    best = next((r.readings.get(node) for r in alike if r.arm.name == TRUTH), None)
    here = run.readings.get(node)
    if best is None or here is None or not {"performance", "idle"} <= here.measures.keys() & best.measures.keys():
        return None
    idle, top = here.measures["idle"].mean, best.measures["performance"].mean
    return (here.measures["performance"].mean - idle) / (top - idle) if top > idle else None


def work_of(run: Run, node: str) -> dict[str, int]:
    """What users did, in each one's unit: the node's own, and those of the helpers that it checked."""
    done: dict[str, int] = {}
    reading, helpers = run.readings.get(node), run.graph.helpers_of(node)
    if reading is None:
        return done
    told = [(node, reading.work), *((helpers[s], work) for s, work in reading.spot_work.items() if s in helpers)]
    for asked, work in told:
        if work is not None:
            unit = run.graph.tasks[asked].work_name
            done[unit] = done.get(unit, 0) + work
    return done


def work_with_helpers(run: Run, node: str) -> int | None:
    """What the user did for a node and for all nodes that its judgements rest on: its helpers, where it asked them, and
    theirs. Only nodes that count their work under the same name."""
    below, waiting = {node}, [node]
    while waiting:
        asking = [n for n in waiting if (r := run.readings.get(n)) and r.helper_questions]
        waiting = [h for n in asking for h in run.graph.helpers_of(n).values() if h not in below]
        below.update(waiting)
    same = run.graph.tasks[node].work_name
    known = [done[same] for n in below if same in (done := work_of(run, n))]
    return sum(known) if known else None


def _carries(registry: Registry[Any], cast: Mapping[str, Any], role: str) -> bool:
    use = _table(cast, role).get("use")
    if not isinstance(use, str) or in_file(use):
        return True
    try:
        return bool(registry.get(use).carries_over)
    except (RrmError, ImportError):  # not installed here
        return True


def _table(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _settings(use: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A component's settings, with the defaults of those that the plan leaves out."""
    given = {k: v for k, v in use.items() if k != "use"}
    try:
        return ASSISTANTS.build(placed(str(use.get("use")), folder), given).settings.model_dump()
    except RrmError:
        return given


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
