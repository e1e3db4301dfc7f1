"""Sentences that say what the figures show, and no more than their intervals allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rrm.figures import bounds, number, signed
from rrm.measure import MIN_GAP, Figure, over_seeds
from rrm.report.apart import sentences
from rrm.report.reading import Reading
from rrm.report.study import (
    ORACLE,
    RECURSIVE,
    UNASSISTED,
    Run,
    Study,
    cell,
    compared,
    gates,
    mean_of,
    spots,
)
from rrm.spot import agreement, recall

NEGLIGIBLE = 0.03
"""Differences below this are called none, where the interval says that they are below it."""

GOOD = 0.95
"""An accuracy of which "high" is said only if its whole interval is above."""

SILENT = 0.1
"""A share of abstentions above this is worth a word: nothing is learnt from them."""

MANY_REPEATS = 0.05
"""A share of repeated held-out items above this is worth a word."""

HALF = 0.5
"""Below this, an agent that passed its gate is worth a word."""

SMALL = (
    "This is the small size (--fast): it shows that the parts work together, and nothing else. No verdicts are drawn: "
    "run it without --fast for figures."
)

Arms = Mapping[str, Sequence[Run]]
Kind = Literal["good", "limit", "caution", "note"]


@dataclass(frozen=True)
class Verdict:
    """One sentence about one node, at one setting of what varies."""

    node: str
    kind: Kind
    text: str
    setting: str = ""


def verdicts(study: Study) -> list[Verdict]:
    """What can be said of every node, in order of level. All of it follows from figures in the report. Nothing can be
    said of a study at its small size, whose figures show that its parts work together."""
    found = []
    for node in () if study.small else study.levels:
        for setting, arms in study.settings().items():
            found += [Verdict(node, kind, text, setting) for kind, text in _of_node(study, node, arms)]
    return found


def _of_node(study: Study, node: str, arms: Arms) -> Iterator[tuple[Kind, str]]:
    helped = any(run.graph.helpers_of(node) for runs in arms.values() for run in runs if node in run.graph.tasks)
    if helped:
        yield from _worth(study, node, arms)
    yield from _silence(node, arms)
    yield from _oracle(node, arms, "help" if helped else "judgements")
    learning = {n: r for n, r in arms.items() if n not in (UNASSISTED, ORACLE)} or arms
    for names, runs in _alike(node, arms):
        if learning.keys().isdisjoint(names):
            continue
        of = f"{', '.join(names)}: " if len(learning) > 1 else ""
        for kind, text in _limits(node, runs):
            yield kind, of + text
    yield from _spots(node, arms)
    for names, runs in _alike(node, arms):
        for kind, text in (*_overoptimised(node, runs), *_gated(node, names, runs)):
            yield kind, f"{', '.join(names)}: {text}"


def _alike(node: str, arms: Arms) -> list[tuple[list[str], Sequence[Run]]]:
    """Arms that share a node at every seed say the same of it: their names, and the runs of the first."""
    found: dict[frozenset[tuple[int, str | None]], tuple[list[str], Sequence[Run]]] = {}
    for name, runs in arms.items():
        keys = frozenset((run.arm.seed, run.arm.nodes.get(node)) for run in runs)
        found.setdefault(keys, ([], runs))[0].append(name)
    return list(found.values())


def _gated(node: str, names: Sequence[str], runs: Sequence[Run]) -> Iterator[tuple[Kind, str]]:
    passed, stood = gates(runs, node)
    if passed < stood:
        grave: Kind = "note" if {*names} <= {UNASSISTED, ORACLE} else "caution"
        above = any(node in run.graph.helpers_of(other).values() for run in runs for other in run.graph.tasks)
        so = "; levels above may not hold" if above else ""
        yield grave, f"failed its gate at {_of_seeds(stood - passed, stood)}{so}"
    right = cell(runs, node, _truth)
    if stood and passed == stood and right and right.high is not None and right.high < HALF:
        yield "note", f"passed its gate though right on {number(right.mean)}: a gate asks the user, who errs too"


def _of_seeds(some: int, every: int) -> str:
    return "the one seed" if every == 1 else f"{some} of {every} seeds"


def _overoptimised(node: str, runs: Sequence[Run]) -> Iterator[tuple[Kind, str]]:
    """Where an agent got what its reward model believes in, and that was worth less and less."""
    told = [(run.arm.seed, gap) for run in runs if (r := run.readings.get(node)) and (gap := r.gap)]
    over = [(seed, gap, gap.over) for seed, gap in told if gap.over]
    if not over:
        return
    seed, gap, found = over[0]
    at = f" at {len(over)} of {len(told)} seeds; at seed {seed}," if len(told) > 1 else ":"
    then, now = (next(p.correlation for p in gap.points if p.round == n) for n in (found.since, found.until))
    moved = f" (correlation over answers {number(then.mean)}, then {number(now.mean)})" if then and now else ""
    yield (
        "caution",
        f"overoptimised{at} from round {found.since} to {found.until} the reward model's belief in its agent's answers "
        f"rose by {signed(found.believed)} in its own unit, while their truth moved by {signed(found.true)}{moved}",
    )


def _silence(node: str, arms: Arms) -> Iterator[tuple[Kind, str]]:
    """Arms whose user could not tell, and so taught nothing."""
    for names, runs in _alike(node, arms):
        share = mean_of(runs, node, lambda r: r.abstained)
        who = ", ".join(names)
        if share == 1:
            yield "caution", f"{who}: the user abstained on every case: nothing was learnt from its judgement"
        elif share is not None and share > SILENT:
            yield "note", f"{who}: the user abstained on {number(share)} of the cases: nothing is learnt from those"


def _spots(node: str, arms: Arms) -> Iterator[tuple[Kind, str]]:
    """Helpers whose answers, where they were relied on, their own users did not find good enough."""
    said: dict[str, list[str]] = {}
    for name, runs in arms.items():
        for (helper, subtask), results in spots(runs, node).items():
            if bad := sum(not r.trusted for r in results):
                found, agreed = (over_seeds([f for r in results if (f := get(r))]) for get in (recall, agreement))
                told = ", ".join(
                    f"{what} {number(f.mean)} {bounds(f)}".rstrip()
                    for what, f in (("recall", found), ("agreement", agreed))
                    if f
                )
                text = f"what {helper} said ({subtask}) could not be trusted at {_of_seeds(bad, len(results))}"
                said.setdefault(f"{text}, as spot checks showed: {told}", []).append(name)
    for text, names in said.items():  # of arms that share a node once; those that need other shares may not say it
        yield "caution", f"{', '.join(names)}: {text}"


def _worth(study: Study, node: str, arms: Arms) -> Iterator[tuple[Kind, str]]:
    gain = compared(arms.get(RECURSIVE, ()), arms.get(UNASSISTED, ()), node, _truth)
    if gain is None:
        return
    if gain.low is None or gain.high is None:
        yield "note", f"with help {signed(gain)} against the same user alone (one seed: no interval)"
    elif gain.low > 0:
        yield "good", f"help was worth {signed(gain)} over the same user alone"
    elif gain.high < 0:
        yield "caution", f"help did harm: {signed(gain)} against the same user alone"
    else:
        gap = " (one seed: no interval of the gap recovered)" if gain.n == 1 and study.gaps(node) else ""
        idle = not any(run.carries_over(node) for run in arms[RECURSIVE])
        why = " (this cast learns nothing that carries over to other items: see user)" if idle else ""
        yield "note", f"no effect of help is shown: {signed(gain)} against the same user alone{gap}{why}"


def _oracle(node: str, arms: Arms, suspect: str) -> Iterator[tuple[Kind, str]]:
    """Whether labels from the truth would have done better: what is lost in judging, apart from what is not learnt."""
    recursive = arms.get(RECURSIVE, ())
    lead, truth = compared(arms.get(ORACLE, ()), recursive, node, _truth), cell(recursive, node, _truth)
    if lead is None or lead.low is None or lead.high is None or truth is None:
        return
    if lead.high <= NEGLIGIBLE:
        left = 1 - truth.mean
        if left > NEGLIGIBLE:
            what = f"what is missing, {number(left)}, is a limit of the learner or the data"
            yield "limit", f"not limited by the {suspect}: the oracle arm does no better ({signed(lead)}); {what}"
        else:
            yield "good", f"not limited by the {suspect}: the oracle arm does no better ({signed(lead)})"
    elif lead.low > 0:
        yield "limit", f"limited by the judgements: the oracle arm does better by {signed(lead)}"
    elif lead.high > 2 * NEGLIGIBLE:
        yield "note", f"whether judgements limit it is open: the oracle arm's lead is {signed(lead)}"


def _limits(node: str, runs: Sequence[Run]) -> Iterator[tuple[Kind, str]]:
    truth, reward, judge = (cell(runs, node, get) for get in (_truth, _reward, _judge))
    covered = cell(runs, node, lambda r: r.coverage)
    if truth is None:
        return
    short = compared(runs, runs, node, _reward, _truth)
    if reward and short and _above(reward, GOOD) and _above(short, MIN_GAP):
        yield (
            "limit",
            f"the policy is the limit: the reward model puts the right answer first on {number(reward.mean)} of items, "
            f"the agent gives it on {number(truth.mean)}",
        )
    lost = compared(runs, runs, node, _judge, _reward)
    if judge and reward and lost and _above(judge, GOOD) and _above(lost, MIN_GAP):
        yield (
            "limit",
            f"the reward model is the limit: the user was right on {number(judge.mean)} of the pairs it judged, the "
            f"reward model on {number(reward.mean)} of the nearest ones",
        )
    if covered and covered.high is not None and covered.high < GOOD and 1 - truth.mean > NEGLIGIBLE:
        yield (
            "limit",
            f"on {number(1 - covered.mean)} of the items asked about, the right answer never stood among those shown: "
            "no judgement can teach it",
        )
    yield from _growth(node, runs)
    yield from _baselines(node, runs, truth)
    for words, names in _errors(node, runs).items():
        yield "note", f"its helpers were corrupted on purpose: {words} ({', '.join(sorted(names))})"


def _growth(node: str, runs: Sequence[Run]) -> Iterator[tuple[Kind, str]]:
    """Whether the user is right less often here than one level below."""
    for helper in sorted({h for run in runs if node in run.graph.tasks for h in run.graph.helpers_of(node).values()}):
        below = [Run(run.arm, run.graph, {node: run.readings[helper]}) for run in runs if helper in run.readings]
        fall = compared(below, runs, node, _judge)
        here, there = cell(runs, node, _judge), cell(below, node, _judge)
        if fall and here and there and _above(fall, 0) and fall.mean > NEGLIGIBLE:
            yield (
                "limit",
                f"errors grow through the judgements: the user was right on {number(there.mean)} of the pairs at "
                f"{helper} and on {number(here.mean)} here, less by {signed(fall).lstrip('+')}",
            )


def _baselines(node: str, runs: Sequence[Run], truth: Figure) -> Iterator[tuple[Kind, str]]:
    tree = compared(runs, runs, node, lambda r: r.tree, _truth)
    if tree and tree.low is not None and tree.high is not None:
        if tree.low > 0:
            yield (
                "limit",
                f"the untrained tree of level-0 agents does better by {signed(tree)}: training this level bought one "
                "call in place of many, not accuracy",
            )
        elif tree.high < 0:
            gain = Figure(-tree.mean, -tree.high, -tree.low, tree.n)
            yield "good", f"the trained agent does better than the untrained tree of level-0 agents by {signed(gain)}"
        elif tree.low >= -NEGLIGIBLE and tree.high <= NEGLIGIBLE:
            yield "note", "as good as the untrained tree of level-0 agents: training bought one call in place of many"
    same = compared(runs, runs, node, _truth, lambda r: r.zero_shot)
    if same and same.high is not None and same.high <= NEGLIGIBLE:
        yield "caution", "no better than the agent of the level below, untrained here (zero-shot)"
    blind = compared(runs, runs, node, _truth, lambda r: r.majority)
    if blind and blind.low is not None and blind.low <= 0:
        yield "caution", f"not shown to beat always giving the most common answer: {signed(blind)}"


def _errors(node: str, runs: Sequence[Run]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        for error in run.helper_errors(node):
            found.setdefault(error.words(), set()).add(error.helper)
    return found


def limits(study: Study) -> list[str]:
    """What a reader must know before believing the figures: about the study, not about one node."""
    found = [SMALL] if study.small else []
    seeds, planned_seeds = study.seeds(), len({run.arm.seed for run in study.runs})
    if seeds < 2:
        found.append("One seed: intervals are over held-out items only and say nothing of how runs differ.")
    elif seeds < 5:
        found.append(f"{seeds} seeds: intervals over seeds are wide, and rest on the seeds being alike.")
    if idle := planned_seeds - seeds:
        has = "has" if idle == 1 else "have"
        of = f"Of {planned_seeds} seeds that were begun, {idle}" if planned_seeds > 1 else "The one seed that was begun"
        found.append(f"{of} {has} finished nothing yet.")
    if few := _shares(study, lambda r: r.repeats, MANY_REPEATS):
        found.append(
            "Held-out questions came more than once in the exam, and count as often: intervals there are too narrow. "
            f"Share of repeats: {few}."
        )
    if old := _shares(study, lambda r: None if r.exhaustive else r.familiar, 0):
        found.append(
            "Held-out questions that training asks too: figures there show in part what was learnt, and not that it "
            f"generalises. Share of them: {old}."
        )
    every = [n for n in study.levels if any(r.exhaustive for run in study.runs if (r := run.readings.get(n)))]
    if every:
        found.append(
            f"Every item of this task is seen in training ({', '.join(every)}): the truth there shows whether the "
            "chain of judgements holds, not whether the agent generalises."
        )
    planned = {n: [r.readings.get(n) for r in study.runs if n in r.arm.nodes] for n in study.levels}
    if unfinished := [n for n, readings in planned.items() if not all(r and r.finished for r in readings)]:
        found.append(f"Not finished in every arm, so without a final truth there: {', '.join(unfinished)}.")
    if unknown := [n for n, readings in planned.items() if any(r and r.finished and not r.truth for r in readings)]:
        found.append(f"Finished without a truth that could be measured: {', '.join(unknown)}.")
    if study.left_out:
        names = ", ".join(dict.fromkeys(arm.name for arm in study.left_out))
        found.append(
            f"Runs at the small size (--fast) of {names} stand in this folder too. None of them is told here: give "
            "such runs an --out of their own."
        )
    found += [*_newer(study), *sentences([r.arm for r in study.runs], [r.differs for r in study.runs])]
    if any(_simulated(run) for run in study.runs):
        found.append("The user was simulated: a model of a person whose means are bounded, not a person.")
    ungated = [n for n in study.levels if not gates(study.runs, n)[1]]
    if ungated:
        found.append(f"Stood at no gate: {', '.join(ungated)}.")
    return found


def _newer(study: Study) -> Iterator[str]:
    """Which arms have a plan that was begun after the one told here, and how far it is."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(n.arm.name for n in study.newer):
        begun = [n for n in study.newer if n.arm.name == name]
        trained, nodes = sum(n.trained for n in begun), sum(len(n.arm.nodes) for n in begun)
        seeds = sorted({n.arm.seed for n in begun})
        at = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        alike.setdefault(f"({at}) is begun and not finished, {trained} of its {nodes} nodes trained", []).append(name)
    for state, names in alike.items():
        yield (
            f"A newer plan of {', '.join(names)} {state}: what is told here is of the one before it, which was "
            "trained to its end."
        )


def _shares(study: Study, get: Callable[[Reading], float | None], least: float) -> str:
    """A share of the exam's questions, of each node in which it is larger than that: "a (.12), b (.5)"."""
    each = {n: mean_of(study.runs, n, get) for n in study.levels}
    return ", ".join(f"{n} ({number(share)})" for n, share in each.items() if share is not None and share > least)


def _simulated(run: Run) -> bool:
    """Whether the plan casts the built-in simulated user anywhere."""
    nodes = run.arm.plan.get("node")
    for node in nodes.values() if isinstance(nodes, dict) else ():
        role: object = node
        for key in ("cast", "evaluator", "use"):
            role = role.get(key) if isinstance(role, dict) else None
        if role == "simulated":
            return True
    return False


def _above(f: Figure, least: float) -> bool:
    return f.low is not None and f.low > least


def _truth(r: Reading) -> Figure | None:
    return r.truth


def _reward(r: Reading) -> Figure | None:
    return r.reward


def _judge(r: Reading) -> Figure | None:
    return r.judge
