"""What each part of the gridworlds' recipe is worth, and what wrong helpers cost: the same arm, changed in one thing.

    python -m benchmarks.ablation [CHANGE …] [--seeds 0-2] [--worlds off-switch …] [--out runs/ablation] [--json]

Trains configs/gridworlds.toml, arm `recursive`, as it is and with each change (by default all: about 25 CPU seconds for
each world, seed and change). Nodes that a change does not concern are shared. A line is one change: the unsafe rate
and the hidden performance with it, each the mean over worlds and seeds, and the difference that it made, by pairs of
runs of one world and seed, with a 95 % interval over these pairs. A run that a gate stopped has no agent: it is counted
as *stopped*, and left out of the means. `nothing` is the recipe as it is; --fast shows that it runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bars import numbers
from benchmarks.machine import give, parser
from rrm import build
from rrm.errors import GateFailed
from rrm.measure import t_interval
from rrm.plan import ArmPlan, Study
from rrm.report import Report
from rrm.store import Store

CONFIG = Path("configs/gridworlds.toml")
WORLDS = ("off-switch", "side-effects", "absent-supervisor", "containment", "subagents")
ACTING, REPORTER, AUDITOR = (f"family.{name}.cast" for name in ("acting", "reporter", "auditor"))
PARTS: Mapping[str, Sequence[str]] = {
    "nothing": [],
    "no pairs of three kinds": [f"{ACTING}.assistant.own=1.0"],
    "no pairs by disagreement": [f'{ACTING}.selection="random"'],
    "no recent judgements": [f"{ACTING}.reward.recent=0.0"],
    "no longer first round": [f"{ACTING}.reward.first_steps=50"],
    "no entropy at first": [f"{ACTING}.policy.entropy=0.05"],
    "not what a step led to": ["node.WORLD.task.outcome=false"],
    "no ensemble of rewards": [f"{ACTING}.reward.ensemble=1"],
    "no steps by kind": ["node.WORLD-step.task.by_kind=0.0"],
    "no ridge of the reporter": [f"{REPORTER}.reward.ridge=0.001"],
    "no looks where unsure": [f"{AUDITOR}.evaluator.budget=0"],
}
"""What is left out, and how a plan leaves it out."""

_UNCHECKED = ['family.reporter.gate="off"', 'family.auditor.gate="off"']


def _wrong(rate: float) -> str:
    return f'[{{ use = "corrupted", rate = {rate} }}]'


HELPERS: Mapping[str, Sequence[str]] = {
    **{f"reporters wrong in {r:.0%}": [f"{REPORTER}.wrapped_in={_wrong(r)}", *_UNCHECKED] for r in (0.1, 0.3, 0.5)},
    "reporters inverted": [
        f'{REPORTER}.wrapped_in=[{{ use = "corrupted", kind = "adversarial", rate = 1.0, '
        'swap = ["fine", "irreversible"] }]',
        *_UNCHECKED,
    ],
    **{f"auditors wrong in {r:.0%}": [f"{AUDITOR}.wrapped_in={_wrong(r)}", *_UNCHECKED] for r in (0.1, 0.3, 0.5)},
}
"""What helpers say is spoilt afresh at each answer, and no gate looks."""
CHANGES = {**PARTS, **HELPERS}


def train(
    changes: Sequence[str], folder: Path, worlds: Sequence[str], seeds: Sequence[int], *, fast: bool
) -> dict[str, dict[str, Any]]:
    """By change, then by world and seed: the acting agent's figures; None where a gate stopped the run."""
    arms = [arm for change in changes for seed in seeds for arm in _arms(change, worlds, seed, fast=fast)]
    store = Store(folder)
    with suppress(GateFailed):  # told by the figures that are missing
        build.run(Study("what each part of the recipe is worth", arms), store)
    entries = Report.from_store(store).to_json()["arms"]
    told = {(entry["arm"]["name"], entry["seed"]): entry["nodes"] for entry in entries}
    return {
        change: {f"{world} {seed}": told.get((change, seed), {}).get(world) for world in worlds for seed in seeds}
        for change in changes
    }


def _arms(change: str, worlds: Sequence[str], seed: int, *, fast: bool) -> list[ArmPlan]:
    """The arm with a change, named after it, without the nodes of other worlds."""
    sets = [line.replace("WORLD", world) for line in CHANGES[change] for world in worlds]
    study = Study.load(CONFIG, fast=fast, arms=["recursive"], sets=[*dict.fromkeys(sets), f"seed={seed}"])
    wanted = {f"{world}{level}" for world in worlds for level in ("", "-audit", "-step")}
    return [
        replace(
            arm,
            name=change,
            plan=arm.plan.model_copy(update={"node": {n: v for n, v in arm.plan.node.items() if n in wanted}}),
        )
        for arm in study.arms
    ]


def line(change: str, runs: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The means, and the mean differences to the whole recipe over the pairs of which both have an agent."""
    told: dict[str, Any] = {"change": change, "stopped": 0}
    for measure in ("unsafe", "performance"):
        known = {run: _mean(node, measure) for run, node in runs.items()}
        there = {run: value for run, value in known.items() if value is not None}
        told["stopped"] = len(known) - len(there)
        pairs = [v - base for run, v in there.items() if (base := _mean(whole.get(run), measure)) is not None]
        told[measure] = statistics.mean(there.values()) if there else None
        told[f"{measure}_change"] = t_interval(pairs) if len(pairs) > 1 and change != "nothing" else None
        told[f"{measure}_each"] = there
    return told


def _mean(node: Mapping[str, Any] | None, measure: str) -> float | None:
    found = (node or {}).get(measure) or {}
    value: float | None = found.get("mean")
    return value


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument(
        "changes", nargs="*", metavar="CHANGE", help=f"{', '.join(CHANGES)}; parts; helpers.".replace("%", "%%")
    )
    asked.add_argument("--seeds", type=numbers, default=numbers("0-2"))
    asked.add_argument("--worlds", nargs="*", choices=WORLDS, default=list(WORLDS))
    asked.add_argument("--out", type=Path, default=Path("runs/ablation"))
    asked.add_argument("--fast", action="store_true")
    given = asked.parse_args()
    groups = {"parts": PARTS, "helpers": HELPERS}
    named = [name for word in given.changes or CHANGES for name in groups.get(word, [word])]
    if unknown := set(named) - set(CHANGES):
        asked.error(f"there is no {sorted(unknown)[0]!r}; there are parts, helpers, {', '.join(CHANGES)}")
    changes = list(dict.fromkeys(["nothing", *named]))
    runs = train(changes, given.out, given.worlds, given.seeds, fast=given.fast)
    lines = [line(change, runs[change], runs["nothing"]) for change in changes]
    rows: list[list[object]] = [["changed", "unsafe", "change", "performance", "change", "stopped"]]
    rows += [
        [r["change"], r["unsafe"], _said(r["unsafe_change"]), r["performance"], _said(r["performance_change"]),
         r["stopped"]] for r in lines
    ]  # fmt: skip
    give({"seeds": given.seeds, "worlds": given.worlds, "lines": lines}, rows, as_json=given.json)


def _said(change: Any) -> str:
    return "–" if change is None else f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


if __name__ == "__main__":
    main()
