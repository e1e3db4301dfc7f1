"""What each part of the gridworlds' recipe is worth: the same arm with one part switched off at a time, over seeds.

    python -m benchmarks.ablation [PART …] [--seeds 0-2] [--worlds off-switch …] [--out runs/ablation] [--json]

Trains configs/gridworlds.toml, arm `recursive`, whole and without each part (all of them by default: about 25 CPU
seconds for each world, seed and part). Nodes that a part does not concern are shared. A line is one part: the unsafe
rate and the hidden performance without it, each the mean over worlds and seeds, and what its absence changed, by pairs
of runs of one world and seed, with a 95 % interval over these pairs. A run that a gate stopped has no agent: it is
counted as *stopped*, and left out of the means. `nothing` is the whole recipe; --fast shows that it runs.
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
from rrm.plan import Study
from rrm.report import Report
from rrm.store import Store

CONFIG = Path("configs/gridworlds.toml")
WORLDS = ("off-switch", "side-effects", "absent-supervisor", "containment", "subagents")
ACTING, REPORTER, AUDITOR = (f"family.{name}.cast" for name in ("acting", "reporter", "auditor"))
PARTS: Mapping[str, Sequence[str]] = {
    "nothing": [],
    "pairs of three kinds": [f"{ACTING}.assistant.own=1.0"],
    "pairs by disagreement": [f'{ACTING}.selection="random"'],
    "recent judgements": [f"{ACTING}.reward.recent=0.0"],
    "entropy at first": [f"{ACTING}.policy.entropy=0.05"],
    "what a step led to": ["node.WORLD.task.outcome=false"],
    "ensemble of rewards": [f"{ACTING}.reward.ensemble=1"],
    "steps by kind": ["node.WORLD-step.task.by_kind=0.0"],
    "ridge of the reporter": [f"{REPORTER}.reward.ridge=0.001"],
    "looks where unsure": [f"{AUDITOR}.evaluator.budget=0"],
}
"""What is left out, and how a plan leaves it out."""


def train(part: str, folder: Path, worlds: Sequence[str], seeds: Sequence[int], *, fast: bool) -> dict[str, Any]:
    """By world and seed, the acting agent's figures; None where a gate stopped the run."""
    sets = [line.replace("WORLD", world) for line in PARTS[part] for world in worlds]
    found: dict[str, Any] = {}
    for seed in seeds:
        study = Study.load(CONFIG, fast=fast, arms=["recursive"], sets=[*dict.fromkeys(sets), f"seed={seed}"])
        store = Store(folder)  # one for all parts, so that they share what they do not concern
        with suppress(GateFailed):  # told by the figures that are missing
            build.run(_of(study, worlds), store)
        (entry,) = (arm for arm in Report.from_store(store).to_json()["arms"] if arm["seed"] == seed)
        found |= {f"{world} {seed}": entry["nodes"].get(world) for world in worlds}
    return found


def _of(study: Study, worlds: Sequence[str]) -> Study:
    """The study without the nodes of other worlds."""
    wanted = {f"{world}{level}" for world in worlds for level in ("", "-audit", "-step")}
    kept = [
        replace(arm, plan=arm.plan.model_copy(update={"node": {n: v for n, v in arm.plan.node.items() if n in wanted}}))
        for arm in study.arms
    ]
    return replace(study, arms=kept)


def line(part: str, runs: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The means, and the mean differences to the whole recipe over the pairs of which both have an agent."""
    told: dict[str, Any] = {"part": part, "stopped": 0}
    for measure in ("unsafe", "performance"):
        known = {run: _mean(node, measure) for run, node in runs.items()}
        there = {run: value for run, value in known.items() if value is not None}
        told["stopped"] = len(known) - len(there)
        pairs = [v - base for run, v in there.items() if (base := _mean(whole.get(run), measure)) is not None]
        told[measure] = statistics.mean(there.values()) if there else None
        told[f"{measure}_change"] = t_interval(pairs) if len(pairs) > 1 and part != "nothing" else None
        told[f"{measure}_each"] = there
    return told


def _mean(node: Mapping[str, Any] | None, measure: str) -> float | None:
    found = (node or {}).get(measure) or {}
    value: float | None = found.get("mean")
    return value


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("parts", nargs="*", metavar="PART", help=f"Of {', '.join(PARTS)}.")
    asked.add_argument("--seeds", type=numbers, default=numbers("0-2"))
    asked.add_argument("--worlds", nargs="*", choices=WORLDS, default=list(WORLDS))
    asked.add_argument("--out", type=Path, default=Path("runs/ablation"))
    asked.add_argument("--fast", action="store_true")
    given = asked.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        asked.error(f"there is no {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    parts = list(dict.fromkeys(["nothing", *(given.parts or PARTS)]))
    runs = {part: train(part, given.out, given.worlds, given.seeds, fast=given.fast) for part in parts}
    lines = [line(part, runs[part], runs["nothing"]) for part in parts]
    rows: list[list[object]] = [["without", "unsafe", "change", "performance", "change", "stopped"]]
    rows += [
        [r["part"], r["unsafe"], _said(r["unsafe_change"]), r["performance"], _said(r["performance_change"]),
         r["stopped"]] for r in lines
    ]  # fmt: skip
    give({"seeds": given.seeds, "worlds": given.worlds, "lines": lines}, rows, as_json=given.json)


def _said(change: Any) -> str:
    return "–" if change is None else f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


if __name__ == "__main__":
    main()
