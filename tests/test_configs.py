"""Every checked-in study: it says what it shows, loads, and runs end to end at its small size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rrm import build
from rrm.conduct import conduct
from rrm.job import jobs
from rrm.plan import Study, read_toml
from rrm.report import Report
from rrm.store import Store

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.toml"))

SUMS = ("chat", "column_sum", "people")

NODE_KEYS = {
    "level", "task", "truth", "zero_shot", "majority", "judge_accuracy", "reward_accuracy", "judgements",
    "helper_questions", "helper_distinct", "cpu_seconds", "gate",
}  # fmt: skip
"""What scripts elsewhere rely on, of every node."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "configs"))


def test_all_are_found() -> None:
    assert [name_of(path) for path in CONFIGS] == [
        "chat.toml",
        "column_sum.toml",
        "demo.toml",
        "glossary.toml",
        "gridworlds.toml",
        "gridworlds_asking.toml",
        "handwriting.toml",
        "helper_errors.toml",
        "kinds.toml",
        "kinds_gridworld.toml",
        "letter_count.toml",
        "minimax.toml",
        "people.toml",
        "permutation_power.toml",
        "trial.toml",
    ], "a study was added or taken away: say so here"


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_it_opens_with_what_it_shows_and_the_command(path: Path) -> None:
    first, second, third = path.read_text(encoding="utf-8").split("\n")[:3]
    assert first.startswith("# ")
    assert first.endswith((".", "?"))
    stem = path.stem
    assert second == f"#   rrm run {path.relative_to(ROOT)} --out runs/{stem}"
    assert not third.startswith("#")


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_its_arms_can_be_compared(path: Path) -> None:
    study = Study.load(path)
    if path.stem in ("people", "trial"):  # people judge one arm at one seed: who would judge nine? A trial has its own
        assert [(arm.name, arm.plan.seed) for arm in study.arms] == [("run", 0)]
        return
    controls = {
        "chat": {"recursive", "unassisted"},
        "helper_errors": {"clean"},
        "gridworlds": {"visible", "informed", "silent", "truth", "recursive"},
        "gridworlds_asking": {"random", "frozen", "truth"},
        "kinds": {"adaptive", "preference", "demonstration"},
        "kinds_gridworld": {"adaptive", "preference", "rating"},
    }
    assert {arm.name for arm in study.arms} >= controls.get(path.stem, {"recursive", "unassisted", "oracle"})
    assert len({arm.plan.seed for arm in study.arms}) >= 3 or path.stem in ("chat", "gridworlds")  # one seed at a time
    assert "fast" in read_toml(path)[0]
    wanted, arms = jobs(study)
    alone = path.stem in ("gridworlds_asking", "kinds", "kinds_gridworld")  # nobody helps there
    assert alone or len(wanted) < sum(len(arm.nodes) for arm in arms), "arms share no node: their lowest are alike"
    for arm in study.arms:
        helpers = {h.node for node in arm.plan.node.values() for h in node.helped_by.values()}
        gated = helpers if path.stem.startswith(("gridworlds", "kinds")) else arm.plan.node
        assert arm.name == "silent" or all(arm.plan.node[name].gate.on_fail != "off" for name in gated)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_it_runs_at_its_small_size(path: Path, tmp_path: Path) -> None:
    study = Study.load(path, fast=True)
    store = Store(tmp_path / "run")
    build.run(study, store, workers=1)
    conduct(study, store)
    found = json.loads(json.dumps(Report.from_store(store).to_json(), allow_nan=False))
    assert found["schema"] == 1
    assert ("trial" in found) == (study.trial is not None)
    assert [(a["arm"]["name"], a["seed"]) for a in found["arms"]] == [(a.name, a.plan.seed) for a in study.arms]
    for arm, planned in zip(found["arms"], study.arms, strict=True):
        assert set(arm["nodes"]) == set(planned.plan.node) == set(found["gap_recovered"])
        for name, node in arm["nodes"].items():
            assert node.keys() >= NODE_KEYS
            assert node["truth"].keys() == {"mean", "low", "high", "n"}
            assert node["cpu_seconds"] > 0
            if path.stem.startswith(("gridworlds", "kinds")):  # some ask nobody, no tree acts, no gate stands
                continue
            assert node["judgements"] > 0
            helped = planned.name != "unassisted" and planned.plan.node[name].helped_by
            assert (node["helper_questions"] > 0) == bool(helped)
            # the untrained tree is the user's own choice from a finite answer set, and a sum has none
            has_tree = planned.plan.node[name].helped_by and planned.name != "oracle" and path.stem not in SUMS
            assert (node["tree"] is not None) == bool(has_tree)
            assert node["gate"] in ("passed", "failed")
