"""From a file to arms: what is a default, what overrides what, and what is told when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, STUDY

from rrm.errors import PlanError
from rrm.job import jobs
from rrm.layering import lay, merge, put, spread
from rrm.plan import Plan, Study

ARMS = """
[arm.plain]
[arm.truth]
cast = { evaluator = { use = "oracle" } }
effort = { cases = 9 }

[vary]
seed = [0, 1, 2]
effort.rounds = [1, 2]

[fast]
effort = { rounds = 1, cases = 3 }
gate = "off"
vary = { seed = [5] }
"""


def load(path: Path, text: str, **options: object) -> Study:
    path.write_text(text)
    return Study.load(path, **options)  # type: ignore[arg-type]


def test_one_arm_called_run_where_none_is_named(study: Path) -> None:
    (arm,) = Study.load(study).arms
    assert (arm.name, arm.varied, arm.plan.seed) == ("run", {}, 7)
    assert Study.load(study).title == "Sums in two levels, small."


def test_what_stands_on_top_is_every_nodes_default(study: Path) -> None:
    text = STUDY.replace('helped_by = { block = "block" }', 'helped_by = { block = "block" }\neffort = { cases = 9 }')
    (arm,) = load(study, text).arms
    assert [(n.effort.cases, n.effort.rounds) for n in arm.plan.node.values()] == [(6, 2), (9, 2)]


def test_arms_times_what_varies(study: Path) -> None:
    arms = load(study, STUDY + ARMS).arms
    assert len(arms) == 2 * 3 * 2
    assert {(a.name, a.plan.seed, a.varied["effort.rounds"]) for a in arms} == {
        (name, seed, rounds) for name in ("plain", "truth") for seed in (0, 1, 2) for rounds in (1, 2)
    }
    assert all(a.plan.node["total"].effort.rounds == a.varied["effort.rounds"] for a in arms)
    assert all((a.plan.node["total"].cast.evaluator.use == "oracle") == (a.name == "truth") for a in arms)
    assert (arms[0].name, arms[0].varied, arms[0].plan.seed) == ("plain", {"effort.rounds": 1}, 0)


def test_another_component_replaces_the_old_one_with_all_its_settings(study: Path) -> None:
    truth = next(a for a in load(study, STUDY + ARMS).arms if a.name == "truth")
    assert truth.plan.node["block"].cast.evaluator.model_extra == {}


def test_only_the_named_arms_are_kept(study: Path) -> None:
    assert {a.name for a in load(study, STUDY + ARMS, arms=["truth"]).arms} == {"truth"}


def test_fast_is_laid_over_everything(study: Path) -> None:
    arms = load(study, STUDY + ARMS, fast=True).arms
    assert {(a.plan.seed, a.plan.node["block"].effort.cases) for a in arms} == {(5, 3)}
    assert {a.plan.node["total"].gate.on_fail for a in arms} == {"off"}


def test_fast_switches_on_nothing_that_is_off(study: Path) -> None:
    """An arm in which nobody is asked is the same arm in small; what is merely large becomes small."""
    small = '[fast]\neffort = { cases = 3, first_cases = 5, exam = 4 }\ngate = { items = 2, on_fail = "warn" }\n'
    small += 'spot = { items = 2, on_fail = "warn" }\n'
    arms = {
        "asked": "",
        "nobody": "effort = { cases = 0 }",
        "first": "effort = { first_cases = 50, cases = 0 }",
        "later": 'effort = { first_cases = 0, exam = 0 }\ngate = "off"\nspot = "off"',
    }
    study.write_text(STUDY + "".join(f"[arm.{name}]\n{text}\n" for name, text in arms.items()) + small)
    found = {a.name: a.plan.node["total"] for a in Study.load(study, fast=True).arms}
    asked = {name: (n.effort.first_cases, n.effort.cases, n.effort.exam) for name, n in found.items()}
    assert asked == {"asked": (5, 3, 4), "nobody": (0, 0, 4), "first": (5, 0, 4), "later": (0, 3, 0)}
    assert [(n.gate.on_fail, n.spot.on_fail) for n in found.values()] == [*[("warn", "warn")] * 3, ("off", "off")]
    assert {(n.gate.items, n.spot.items) for n in found.values()} == {(2, 2)}
    said = Study.load(study, fast=True, sets=["effort.cases=7", "gate=warn"]).arms
    assert {(a.plan.node["total"].effort.cases, a.plan.node["total"].gate.on_fail) for a in said} == {(7, "warn")}


def test_arms_of_agents_that_act_mean_the_same_in_small() -> None:
    path = ROOT / "configs" / "gridworlds.toml"
    for large, small in zip(Study.load(path).arms, Study.load(path, fast=True).arms, strict=True):
        for name, node in large.plan.node.items():
            assert small.plan.node[name].effort.asks == node.effort.asks, (large.name, name)
            assert (small.plan.node[name].gate.on_fail == "off") == (node.gate.on_fail == "off"), (large.name, name)


def test_set_has_the_last_word(study: Path) -> None:
    sets = ["effort.cases=4", "seed=9", "cast.evaluator.budget=2", "gate=stop", "node.block.cast.assistant.slip=0.25"]
    arms = load(study, STUDY + ARMS, sets=sets, arms=["plain"]).arms
    assert {a.plan.seed for a in arms} == {9}  # and no longer varies
    block, total = arms[0].plan.node["block"], arms[0].plan.node["total"]
    assert (block.effort.cases, total.effort.cases) == (4, 4)
    assert block.cast.evaluator.model_extra == {"budget": 2}
    assert block.cast.assistant.model_extra == {"slip": 0.25}
    assert total.cast.assistant.model_extra == {"slip": 0.5}
    assert total.gate.on_fail == "stop"


def test_set_may_change_what_varies(study: Path) -> None:
    arms = load(study, STUDY + ARMS, sets=["vary.seed=[3, 4]"], arms=["plain"]).arms
    assert {a.plan.seed for a in arms} == {3, 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"3"', "3"),
        ("oracle", "oracle"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_the_value_of_set_is_toml_or_else_a_word(text: str, value: object) -> None:
    from rrm.layering import assignment

    assert assignment(f" x.y = {text}") == ("x.y", value)


def test_a_plan_survives_json(study: Path) -> None:
    for arm in load(study, STUDY + ARMS).arms:
        assert Plan.model_validate_json(arm.plan.model_dump_json()) == arm.plan
        assert Plan.model_validate(arm.plan.model_dump(mode="json")) == arm.plan


def test_laying_changes_over_a_plan_leaves_the_plan_as_it_was() -> None:
    under = {"a": {"b": 1, "c": {"use": "x", "k": 1}}, "d": 2}
    assert merge(under, {"a": {"c": {"k": 2}}}) == {"a": {"b": 1, "c": {"use": "x", "k": 2}}, "d": 2}
    assert merge(under, {"a": {"c": {"use": "y"}}})["a"]["c"] == {"use": "y"}
    put(copy := dict(under), "a.b", 5)
    assert copy["a"]["b"] == 5
    assert under == {"a": {"b": 1, "c": {"use": "x", "k": 1}}, "d": 2}


def test_a_change_reaches_every_node_and_one_node_alone_where_it_says_so() -> None:
    whole = spread({"effort": {"cases": 1}, "node": {"a": {"task": 1}, "b": {"task": 2, "effort": {"cases": 5}}}}, "x")
    assert [whole["node"][n]["effort"] for n in "ab"] == [{"cases": 1}, {"cases": 5}]
    over = lay(whole, {"effort": {"cases": 9}, "node": {"b": {"effort": {"exam": 0}}}})
    assert over["node"]["a"]["effort"] == {"cases": 9}
    assert over["node"]["b"]["effort"] == {"cases": 9, "exam": 0}


def test_a_family_is_the_default_of_its_nodes(study: Path) -> None:
    text = STUDY.replace("[node.block]", "[family.small]\neffort = { cases = 4 }\n\n[node.block]\nfamily = 'small'")
    nodes = load(study, text).arms[0].plan.node
    assert [nodes[n].effort.cases for n in ("block", "total")] == [4, 6]
    with pytest.raises(PlanError, match=r"there is no \[family.smal\]. Did you mean 'small'"):
        load(study, text.replace("family = 'small'", "family = 'smal'"))


def test_all_faults_of_a_plan_are_told_at_once(study: Path) -> None:
    with pytest.raises(PlanError) as caught:
        load(study, STUDY.replace("cases = 6", "casses = 6").replace('reward    = { use = "tally" }', "reward = 3"))
    assert "casses" in str(caught.value)
    assert "cast.reward" in str(caught.value)


def test_a_setting_reaches_the_components_that_have_it(study: Path) -> None:
    arms = load(study, STUDY + ARMS, sets=["cast.evaluator.budget=2", "cast.evaluator.beta=3.0"]).arms
    said = {a.name: a.plan.node["total"].cast.evaluator.model_extra for a in arms}
    assert said == {"plain": {"budget": 2, "beta": 3.0}, "truth": {"beta": 3.0}}
    one = load(study, STUDY + ARMS, sets=["node.total.cast.evaluator.budget=2"]).arms
    assert {
        (a.name, n)
        for a in one
        for n, p in a.plan.node.items()
        if (p.cast.evaluator.model_extra or {}) == {"budget": 2}
    } == {("plain", "total")}
    small = load(study, STUDY + ARMS + "cast = { evaluator = { budget = 2 } }\n", fast=True, arms=["truth"]).arms
    assert small[0].plan.node["total"].cast.evaluator.model_extra == {}
    varied = load(study, STUDY + ARMS.replace("effort.rounds = [1, 2]", "cast.evaluator.budget = [1, 2]")).arms
    assert {(a.name, a.plan.node["total"].cast.evaluator.model_extra.get("budget")) for a in varied} == {
        ("plain", 1),
        ("plain", 2),
        ("truth", None),
    }


@pytest.mark.parametrize(("sets", "arms"), [("cast.evaluator.budgt=2", []), ("cast.evaluator.budget=2", ["truth"])])
def test_a_setting_that_reaches_nothing_is_told(sets: str, arms: list[str], study: Path) -> None:
    found = load(study, STUDY + ARMS, sets=[sets], arms=arms)
    with pytest.raises(PlanError, match="has no setting 'budg"):
        jobs(found)


def test_an_arms_own_component_can_be_set(study: Path) -> None:
    text = STUDY + '[arm.a]\n[arm.ann]\ncast = { evaluator = { use = "terminal" } }\n'
    arms = load(study, text, sets=["cast.evaluator.person=bob"]).arms
    said = {a.name: (a.plan.node["total"].cast.evaluator.model_extra or {}).get("person") for a in arms}
    assert said == {"a": None, "ann": "bob"}


def test_a_change_of_a_family_reaches_its_nodes(study: Path) -> None:
    text = STUDY.replace("[node.block]", "[family.small]\neffort = { cases = 4 }\n\n[node.block]\nfamily = 'small'")
    text += "[arm.a]\n[arm.b]\nfamily.small.effort.rounds = 3\n"
    arms = load(study, text, sets=["family.small.effort.cases=2"]).arms
    assert [(n.effort.cases, n.effort.rounds) for a in arms for n in a.plan.node.values()] == [
        (2, 2),
        (6, 2),
        (2, 3),
        (6, 2),
    ]
    with pytest.raises(PlanError, match=r"family.smal: .* Did you mean 'small'"):
        load(study, text, sets=["family.smal.effort.cases=2"])
