"""Who is trained when and where, and what it will cost."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, STUDY, Rrm
from hypothesis import given
from hypothesis import strategies as st

from rrm import build, cost, pace
from rrm.build import refuse_another
from rrm.errors import ComponentError, RrmError, StoreError
from rrm.job import assemble_node, jobs
from rrm.node import Node
from rrm.pace import Rate, Size
from rrm.plan import Plan, Study
from rrm.records import Arm
from rrm.registry import POLICY_TRAINERS, REWARD_TRAINERS, Registry
from rrm.roles import Turn
from rrm.store import Store

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from kill import contents, differences  # type: ignore[import-not-found]

ARMS = '[arm.a]\n[arm.b]\ncast = { protocol = { use = "unassisted" } }\n[vary]\nseed = [0, 1]\n'


def test_side_by_side_in_processes_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY + ARMS)
    told: list[tuple[str, str]] = []
    build.run(Study.load(study), Store(tmp_path / "one"), workers=1)
    build.run(
        Study.load(study), Store(tmp_path / "two"), workers=2, progress=lambda key, stage, *_: told.append((key, stage))
    )
    assert differences(contents(tmp_path / "one"), contents(tmp_path / "two")) == []
    assert len([stage for _, stage in told if stage == "done"]) == 6
    assert multiprocessing.active_children() == []


DYING = """
from rrm.evaluators.simulated import Simulated
import os

class Dying(Simulated):
    def values(self, *a):
        {}
"""


@pytest.mark.parametrize(("how", "kind"), [("os._exit(9)", RrmError), ("1 / 0", ComponentError)])
def test_a_worker_that_dies_ends_the_run_and_leaves_nobody_behind(
    how: str, kind: type[Exception], study: Path, tmp_path: Path
) -> None:
    file = tmp_path / "dying.py"
    file.write_text(DYING.format(how))
    study.write_text(STUDY.replace('"simulated"', f'"{file}:Dying"') + ARMS)
    with pytest.raises(kind) as caught:
        build.run(Study.load(study), Store(tmp_path / "out"), workers=2)
    if kind is RrmError:
        assert "Run the same command again" in str(caught.value)
    for worker in multiprocessing.active_children():
        worker.join(20)
    assert multiprocessing.active_children() == []


def test_no_torch_where_no_component_needs_it(study: Path, tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from pathlib import Path; from rrm import Store, Study, build\n"
        "build.run(Study.load(Path(sys.argv[1])), Store(Path(sys.argv[2])), workers=1)\n"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, study, tmp_path / "out"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


# -- what it costs ----------------------------------------------------------------------------------------------------

SIZE = Size(rounds=2, cases=20, reward=40, policy=40, exams=60, gate=5)


def test_counting_what_a_node_asks_of_the_evaluator_and_of_helpers(study: Path) -> None:
    study.write_text(STUDY.replace("cases = 6", "cases = 6, first_cases = 10, candidates = 4"))
    loaded = Study.load(study, sets=["gate.extra_rounds=2"])
    wanted = jobs(loaded)[0]
    found = {job.name: cost.costs(wanted, loaded, None, measure=False)[job.key] for job in wanted}
    # 10 + 6 cases of 3 comparisons; 4 items at the gate, of 5 comparisons each; 2 times 6 cases and 4 items more
    assert found["block"] == cost.Cost(48, 20, 76, 0, 0, None, "unknown")
    assert found["total"] == cost.Cost(48, 20, 76, 64, 16, None, "unknown")  # and 4 blocks in each of them


def test_the_time_of_the_first_cases_counts(study: Path) -> None:
    study.write_text(STUDY.replace("cases = 6", "cases = 6, first_cases = 10"))
    (arm,) = Study.load(study).arms
    assert pace.size(arm.plan, "total").cases == 16


COUNTS = ("judgements", "gate_judgements", "helper_questions", "gate_questions")


def counted(rrm: Rrm, plan: Path, out: Path, *options: str) -> tuple[list[object], list[object]]:
    """By node, what `rrm plan` says that a run will ask, and what it asked by its record."""
    said = json.loads(rrm("plan", plan, "--out", out, "--json", "--no-measure", *options).out)
    assert said["total"] == said["total"] | {k: sum(node[k] for node in said["nodes"]) for k in COUNTS}
    assert rrm("run", plan, "--out", out, "-w", 1, "-q", *options).code == 0
    (arm,) = json.loads(rrm("report", out, "--json").out)["arms"]
    planned: list[object] = [[node[k] for k in COUNTS] for node in said["nodes"]]
    return planned, [[arm["nodes"][node["node"]][k] for k in COUNTS] for node in said["nodes"]]


def test_what_is_planned_is_what_is_asked(rrm: Rrm, tmp_path: Path) -> None:
    """Each gate shows all 8 answers of the finite set; where there are helpers, judging a case asks 2 questions."""
    few = ["--set", "effort.rounds=2", "--set", "effort.first_cases=11"]
    planned, asked = counted(rrm, ROOT / "configs" / "glossary.toml", tmp_path, "--fast", "--arm", "recursive", *few)
    assert asked == [[57, 56, 0, 0]] + [[57, 56, 38, 16]] * 4
    assert planned == asked


def test_where_answers_may_be_equal_the_most_is_planned(study: Path, rrm: Rrm) -> None:
    """A task without a finite answer set: the gate shows the agent's answer and 5 others, less those that are equal."""
    more = ["--set", "effort.first_cases=10", "--set", "effort.candidates=3", "--set", "gate.items=20"]
    planned, asked = counted(rrm, study, study.with_name("out"), *more)
    assert planned == [[32, 100, 0, 0], [32, 100, 64, 80]]
    for most, real in zip(planned, asked, strict=True):
        assert isinstance(most, list)
        assert isinstance(real, list)
        assert real[2:] == most[2:]
        assert all(0.2 * m < r <= m for r, m in zip(real[:2], most[:2], strict=True))


def test_a_rated_answer_is_one_judgement(study: Path) -> None:
    study.write_text(STUDY.replace("cases = 6", "cases = 6, candidates = 1"))
    loaded = Study.load(study)
    assert all(c.judgements == 12 for c in cost.costs(jobs(loaded)[0], loaded, None, measure=False).values())


@given(st.integers(1, 50), st.floats(0.001, 10))
def test_time_grows_with_what_there_is_to_do(times: int, each: float) -> None:
    seconds = {"judge": each, "reward": 2 * each, "exam": each / 2, "save": each, "gate": each}
    more = Size(*(number * times for number in astuple(SIZE)))
    known = pace.rates([(SIZE, seconds)])
    assert pace.seconds(known, SIZE) == pytest.approx(sum(seconds.values()))
    assert pace.seconds(known, more) == pytest.approx(times * sum(seconds.values()))


def test_steps_are_told_apart_from_what_every_round_costs() -> None:
    """Two points: 3 seconds a round for scoring a pool, and a tenth of a second a step."""
    few, many = (Size(2, 20, 7, steps, 60, 5) for steps in (10, 30))
    known = pace.rates([(few, {"policy": 6 + 1.0}), (many, {"policy": 6 + 3.0})])
    assert known["policy"] == pytest.approx(Rate(3.0, 0.1))
    assert pace.seconds(known, Size(5, 20, 7, 500, 60, 5)) == pytest.approx(15 + 50)


def test_noise_never_makes_an_estimate_negative() -> None:
    few, many = (Size(2, 20, 7, steps, 60, 5) for steps in (10, 30))
    assert pace.seconds(pace.rates([(few, {"policy": 5.0}), (many, {"policy": 4.0})]), SIZE) >= 0
    assert pace.rates([]) == {}
    assert pace.seconds(pace.rates([(Size(1, 1, 0, 0, 0, 0), {"gate": 1.0})]), SIZE) >= 0


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 10), min_size=1), st.integers(1, 4))
def test_side_by_side_takes_no_longer_than_one_by_one_and_no_less_than_the_longest_chain(
    spent: Mapping[str, float], workers: int
) -> None:
    names = sorted(spent)
    needs = {name: names[max(i - 2, 0) : max(i - 1, 0)] for i, name in enumerate(names)}
    chain: dict[str, float] = {}
    for name in names:
        chain[name] = spent[name] + max((chain[n] for n in needs[name]), default=0.0)
    took = cost.elapsed(spent, needs, workers)
    assert max(max(chain.values()), sum(spent.values()) / workers) <= took + 1e-9
    assert took <= sum(spent.values()) + 1e-9
    assert cost.elapsed(spent, needs, 1) == pytest.approx(sum(spent.values()))


def test_what_is_trained_already_takes_no_time() -> None:
    assert cost.elapsed({"b": 2.0}, {"a": [], "b": ["a"]}, 1) == 2.0


@pytest.mark.parametrize("registry", [REWARD_TRAINERS, POLICY_TRAINERS])
def test_every_trainer_is_measured_in_small(registry: Registry[Any]) -> None:
    """What it says is little is a part of its settings, and grows with the scale as its units do."""
    for name in registry.names():
        kind = registry.get(name)
        assert kind.small(1).keys() <= kind.Settings.model_fields.keys()
        one, four, whole = (
            sum(registry.build(name, dict(few)).units(Turn(n, 2)) for n in range(2))
            for few in (kind.small(1), kind.small(4), {})
        )
        assert four == 4 * one, name
        assert bool(whole) == bool(one) == bool(kind.small(1)), name
        assert one * 5 <= whole or not whole, f"{name}: measuring it takes as long as a run"


def test_an_acting_agent_is_measured_in_small() -> None:
    study = Study.load(ROOT / "configs" / "gridworlds.toml", arms=["recursive"])
    plan = study.arms[0].plan
    small = pace.size(pace._shrunk(plan, 1), "off-switch")
    whole = pace.size(plan, "off-switch")
    assert (small.reward, small.policy) == (6, 2), "3 steps and an iteration, in each of 2 rounds"
    iterations = POLICY_TRAINERS.build("ppo", {}).settings.iterations
    assert whole.policy == whole.rounds * iterations
    longer, wider = (
        Study.load(
            ROOT / "configs" / "gridworlds.toml", arms=["recursive"], sets=[f"node.off-switch.cast.policy.{one}"]
        )
        for one in ("iterations=9", "episodes=64")
    )
    shapes = [pace.shape(s.arms[0].plan, "off-switch") for s in (study, longer, wider)]
    assert shapes[0] == shapes[1] != shapes[2], "its length is no part of what kind of work it is"


def test_a_dry_run_measures_every_kind_of_node_and_leaves_nothing(study: Path, rrm: Rrm) -> None:
    before = sorted(study.parent.iterdir())
    shown = json.loads(rrm("plan", study, "--out", study.with_name("out"), "--json").out)
    assert sorted(study.parent.iterdir()) == before
    assert {n["source"] for n in shown["nodes"]} == {"measured"}
    assert all(n["seconds"] > 0 for n in shown["nodes"])
    assert shown["total"]["cpu_seconds"] == pytest.approx(sum(n["seconds"] for n in shown["nodes"]))


def test_what_was_recorded_is_believed_before_a_dry_run(study: Path, rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> None:
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1).code == 0
    monkeypatch.setattr(cost, "measured", lambda study: pytest.fail("measured, though it is on record"))
    shown = json.loads(rrm("plan", study, "--out", out, "--set", "effort.cases=60", "--json").out)
    assert {n["source"] for n in shown["nodes"]} == {"recorded"}
    assert [n["state"] for n in shown["nodes"]] == ["effort.cases 6 → 60"] * 2
    assert shown["total"]["nodes"] == 2


def test_plan_says_why_each_node_would_be_trained(study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")

    def states(*options: str) -> dict[str, str]:
        said = rrm("plan", study, "--out", out, "--json", "--no-measure", *options)
        return {n["node"]: n["state"] for n in json.loads(said.out)["nodes"]}

    assert states() == {"block": "new", "total": "new"}
    assert rrm("run", study, "--out", out, "-w", 1).code == 0
    assert states() == {"block": "trained", "total": "trained"}
    assert states("--set", "node.total.effort.cases=7") == {"block": "trained", "total": "effort.cases 6 → 7"}
    below = states("--set", "node.block.effort.cases=7")
    assert below == {"block": "effort.cases 6 → 7", "total": "block changed"}
    assert "Nothing to do" in rrm("plan", study, "--out", out).out


# -- plans of another rrm ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [{}, {"node": {"block": {"job": "column-sum"}}}, {"seed": "x", "node": 3}, None])
def test_a_recorded_plan_that_cannot_be_read_is_told_or_left_out(plan: Any, study: Path, rrm: Rrm) -> None:
    """None: the plan is well, but does not have the node that the arm names."""
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0
    store = Store(out)
    (arm,) = store.read("study", "arms", Arm).values()
    strange = {**arm.plan, "node": {"other": {"task": "column-sum"}}} if plan is None else plan
    old = arm.model_copy(update={"plan": strange, "nodes": dict.fromkeys(arm.nodes, "0" * 16)})
    store.append("study", "arms", [old])
    store.save_agent("0" * 16, "published", lambda folder: None)  # so that this plan counts
    told = rrm("report", out)
    assert told.code == 1
    assert told.err.startswith(
        "rrm: the recorded plan of the arm run, seed 7 cannot be read: it was recorded by another"
    )
    assert told.err.count("\n") == 1
    shown = json.loads(rrm("plan", study, "--out", out, "--set", "effort.cases=9", "--json").out)
    assert {n["state"] for n in shown["nodes"]} == {"recorded by another version of rrm"}
    assert {n["source"] for n in shown["nodes"]} == {"recorded"}  # what can be read still tells the time
    assert rrm("prune", out).code == 0
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0  # which makes the newest plan a readable one
    assert rrm("report", out).code == 0


def test_a_plan_is_assembled_once(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rrm import job

    study.write_text(STUDY + ARMS)
    assembled: list[int] = []
    real = job.assemble

    def counted(plan: Plan) -> dict[str, Node]:
        assembled.append(plan.seed)
        return real(plan)

    monkeypatch.setattr(job, "assemble", counted)
    build.run(Study.load(study), Store(tmp_path / "out"), workers=1)
    assert sorted(assembled) == [0, 0, 1, 1]


def test_a_plan_is_assembled_anew_each_time_that_its_jobs_are_asked_for(study: Path, tmp_path: Path) -> None:
    """A file that a component reads may have changed."""
    book = tmp_path / "book.json"
    study.write_text(STUDY.replace('"careless-adder", slip = 0.5', '"answer-book", path = "book.json"'))
    keys = []
    for text in ('{"a": "b"}', '{"a": "c"}'):
        book.write_text(text)
        wanted = jobs(Study.load(study))[0]
        keys.append([job.key for job in wanted])
        assert [assemble_node(job).key for job in wanted] == keys[-1]
    assert keys[0] != keys[1]


def test_a_folder_holds_one_study(study: Path, rrm: Rrm, tmp_path: Path) -> None:
    """Two studies in one folder would give one report. What is told from another study is a changed plan."""
    out, other = tmp_path / "out", tmp_path / "other.toml"
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0
    other.write_text(STUDY.replace("# Sums in two levels, small.", "# Other sums.").replace("total", "sum"))
    before = list(Store(out).export())
    run = rrm("run", other, "--out", out, "-w", 1)
    assert run.code == 1
    assert run.err == (
        f"rrm: {out}: another study stands in this folder (Sums in two levels, small.). Give another --out; "
        "a plan that was changed counts as the same study while its title (its first comment line), or the names of "
        "its nodes and of an arm, stay\n"
    )
    assert list(Store(out).export()) == before, "nothing is recorded of it"
    other.write_text(STUDY.replace("# Sums in two levels, small.", "# Small sums, in two levels."))
    assert rrm("run", other, "--out", out, "-w", 1, "-q").code == 0, "the nodes are the same"
    other.write_text(STUDY.replace("total", "sum"))
    assert rrm("run", other, "--out", out, "-w", 1, "-q").code == 0, "the title is the same"
    other.write_text(STUDY.replace("# Sums in two levels, small.", "# Sums and arms.") + "[arm.a]\n")
    assert rrm("run", other, "--out", out, "-w", 1).code == 1, "nodes of the same names are not enough"


def test_no_study_of_ours_is_taken_for_another(tmp_path: Path) -> None:
    """Whatever stands in a folder of one, the plan of another is refused there."""
    arms = {}
    for path in sorted((ROOT / "configs").glob("*.toml")):
        study = Study.load(path)
        arms[path.stem] = [
            Arm(name=a.name, seed=a.plan.seed, plan={}, title=study.title, nodes=dict.fromkeys(a.plan.node, "0" * 16))
            for a in study.arms
        ]
    assert len(arms) > 10
    for name, there in arms.items():
        store = Store(tmp_path / name)
        store.append("study", "arms", there)
        assert refuse_another(store, there)
        for other in arms.keys() - {name}:
            with pytest.raises(StoreError, match="another study stands in this folder"):
                refuse_another(store, arms[other])


def test_one_node_with_what_it_needs(study: Path, rrm: Rrm, tmp_path: Path) -> None:
    """It is the same node as in the whole plan: nothing is trained twice, and the whole is not forgotten for it."""
    out = tmp_path / "out"
    study.write_text(STUDY + '[node.apart]\ntask = { use = "column-sum", length = 3 }\n[vary]\nseed = [0, 1]\n')

    def trained() -> list[list[str]]:
        arms = json.loads(rrm("report", out, "--json").out)["arms"]
        return [[name for name, node in arm["nodes"].items() if node["finished"]] for arm in arms]

    assert rrm("run", study, "--out", out, "-w", 1, "-q", "--node", "total").code == 0
    assert trained() == [["block", "total"]] * 2
    whole = rrm("run", study, "--out", out, "-w", 1)
    assert "4 of 6 nodes are trained already" in whole.err
    assert trained() == [["block", "total", "apart"]] * 2
    before = list(Store(out).export())
    assert rrm("run", study, "--out", out, "-w", 1, "-q", "--node", "block").code == 0
    assert list(Store(out).export()) == before, "it is trained already, as part of the whole"
    missing = rrm("run", study, "--out", out, "--node", "totl")
    assert missing.err == "rrm: --node 'totl': no node is called so. Did you mean 'total'?\n"
