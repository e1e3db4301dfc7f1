"""Arms and seeds that were trained under different settings stand apart, and nothing is said across them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDY, Rrm

from rrm.records import Arm
from rrm.report.apart import differences, sentences

ARMS = """
[arm.recursive]
[arm.unassisted]
cast = { protocol = "unassisted", evaluator = { budget = 2 } }
[arm.oracle]
cast = { evaluator = { use = "oracle" } }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Three arms at seed 7."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY + ARMS)
    return path


def told(rrm: Rrm, out: Path) -> dict[str, Any]:
    return dict(json.loads(rrm("report", out, "--json").out))


def across(found: dict[str, Any]) -> list[str]:
    """What is said of more than one arm."""
    names = ("recursive", "unassisted", "oracle")
    help_ = [v["text"] for v in found["verdicts"] if sum(n in v["text"] for n in names) > 1]
    return help_ + [v["text"] for v in found["verdicts"] if "the same user alone" in v["text"]]


def test_arms_of_one_plan_differ_in_nothing_that_needs_a_word(plan: Path, rrm: Rrm) -> None:
    out = plan.with_name("out")
    sets = ("--set", "effort.cases=9", "--set", "cast.evaluator.budget=3", "--set", "gate.on_fail=stop")
    assert rrm("run", plan, "--out", out, "-w", 1, "-q", *sets).code in (0, 1)
    assert rrm("run", plan, "--out", out, "-w", 1, "-q", *sets[:2], "--arm", "oracle").code == 0
    found = told(rrm, out)
    assert [a["arm"] for a in found["arms"]] == [{"name": "recursive"}, {"name": "unassisted"}, {"name": "oracle"}]
    assert not [text for text in found["limits"] if "nothing that the plan compares" in text]


def test_an_arm_that_was_run_apart_is_not_compared(plan: Path, rrm: Rrm) -> None:
    out = plan.with_name("out")
    assert rrm("run", plan, "--out", out, "-w", 1, "-q").code == 0
    before = told(rrm, out)
    assert across(before)
    sets = ("--arm", "recursive", "--set", "effort.cases=4", "--set", "gate=off")
    run = rrm("run", plan, "--out", out, "-w", 1, "-q", *sets)
    assert run.code == 0
    said = " ".join(run.out.split())
    assert said.count("! Arms here differ in") == 1, "what parts the same arms from the same is one sentence"
    assert (
        "! Arms here differ in effort.cases and gate.on_fail, which is nothing that the plan compares "
        "(effort.cases 4, gate.on_fail off in recursive; effort.cases 6, gate.on_fail warn in unassisted, oracle): they"
    ) in said
    found = told(rrm, out)
    assert {"name": "recursive", "effort.cases": 4, "gate.on_fail": "off"} in [a["arm"] for a in found["arms"]]
    assert across(found) == [], "nothing is said across them"
    assert rrm("run", plan, "--out", out, "-w", 1, "-q").code == 0
    assert told(rrm, out) == before, "the whole plan again, and all is as it was"


def test_seeds_that_were_run_apart_are_not_averaged(plan: Path, rrm: Rrm) -> None:
    out = plan.with_name("out")
    one = ("--arm", "recursive", "--out", out, "-w", 1, "-q")
    assert rrm("run", plan, *one, "--set", "vary.seed=[0, 1]").code == 0
    assert rrm("run", plan, *one, "--set", "seed=1", "--set", "node.total.effort.cases=4").code == 0
    found = told(rrm, out)
    assert [a["arm"].get("node.total.effort.cases") for a in found["arms"]] == [6, 4]
    (said,) = [text for text in found["limits"] if "nothing that the plan compares" in text]
    assert said.startswith(
        "Seeds of recursive differ in node.total.effort.cases, which is nothing that the plan compares"
    )
    assert "(6 in recursive at seed 0; 4 in recursive at seed 1)" in said
    assert "one seed" in rrm("report", out).out


def test_a_sentence_is_told_whole_however_many_arms_and_keys_it_names(plan: Path, rrm: Rrm) -> None:
    """Only what others wrote is cut: not the words of the report."""
    out = plan.with_name("out")
    seeds = ("--set", f"vary.seed={list(range(12))}")
    assert rrm("run", plan, "--out", out, "-w", 1, "-q", *seeds, "--set", "effort.exam=0").code == 0
    few = ("--set", "vary.seed=[0, 1]", "--set", "effort.rounds=1", "--set", "gate.items=2", "--set", "effort.exam=0")
    text = " ".join(rrm("run", plan, "--out", out, "-w", 1, "-q", *few).out.split())
    told_ = (
        "! Seeds of recursive, unassisted and oracle differ in effort.rounds and gate.items, which is nothing that the "
        "plan compares (effort.rounds 1, gate.items 2 in recursive, unassisted and oracle at seeds 0, 1; effort.rounds "
        "2, gate.items 4 in recursive, unassisted and oracle at seeds 2, 3, 4, 5, 6, 7, 8, 9, 10, 11): they were "
        "trained apart, with other settings, so that they stand apart here, and nothing is said across them."
    )
    assert told_ in text
    assert "more characters" not in text
    page = (out / "report.html").read_text(encoding="utf-8")
    assert told_[2:] in page


def arm(name: str, node: dict[str, Any], base: dict[str, Any], **varied: Any) -> Arm:
    return Arm(name=name, seed=0, varied=varied, plan={"node": node}, base={"node": base} if base else {}, nodes={})


def test_only_what_no_arm_says_is_a_difference() -> None:
    low, high = {"a": {"effort": {"cases": 1}}}, {"a": {"effort": {"cases": 2}}}
    assert differences([arm("x", low, low), arm("y", high, low)]) == [{}, {}], "an arm's own change"
    assert differences([arm("x", low, low), arm("y", high, high)]) == [{"effort.cases": 1}, {"effort.cases": 2}]
    assert differences([arm("x", low, {}), arm("y", high, high)]) == [{}, {}], "of an older record it is not known"
    assert differences([arm("x", low, low, k=1), arm("x", high, high, k=2)]) == [{}, {}], "settings that vary"


def test_a_node_that_only_some_have_is_named() -> None:
    few, more = {"a": {"start": None}}, {"a": {"start": None}, "b": {"start": "a"}}
    found = differences([arm("x", few, few), arm("y", more, more)])
    assert found == [{"node.b": None}, {"node.b": True}]
    (said,) = sentences([arm("x", few, few), arm("y", more, more)], found)
    assert said.startswith("Arms here differ in node.b, which")
    assert "(none in x; true in y)" in said


def test_a_setting_that_one_plan_leaves_to_its_default_differs() -> None:
    plain, set_ = ({"a": {"cast": {"policy": {"use": "p", **more}}}} for more in ({}, {"n": 8}))
    found = differences([arm("x", plain, plain), arm("y", set_, set_)])
    assert found == [{"cast.policy.n": None}, {"cast.policy.n": 8}]


def test_what_an_arm_changes_itself_is_compared_whatever_the_others_have_there() -> None:
    low, high, oracle = ({"a": {"cast": {"evaluator": e}}} for e in ({"budget": 1}, {"budget": 2}, {"use": "oracle"}))
    assert differences([arm("x", high, high), arm("oracle", oracle, low)]) == [{}, {}]
