from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from hostile import MUST_NOT_SURVIVE
from rich.console import Console
from typer.testing import CliRunner

from rrm import picture
from rrm.blocks import Block, Code, Frames, Image, Table, Text
from rrm.cli import app
from rrm.errors import ComponentError, RrmError, StoreError
from rrm.graph import TaskGraph
from rrm.measure import TEMPERATURES, Figure, Share, wilson
from rrm.records import (
    Abstention,
    Arm,
    Case,
    Exam,
    Exhibit,
    GateResult,
    Item,
    Preference,
    Query,
    Ranking,
    Record,
    Response,
)
from rrm.report import Report
from rrm.report.reading import Reading
from rrm.report.study import Run, Study
from rrm.report.verdict import verdicts
from rrm.roles import Subtask, Task
from rrm.store import Store

TREE = ("part", "whole")


class Echo(Task):
    """The right answer to "3" is "3"; the nearer, the better."""

    subtasks: ClassVar[tuple[Subtask, ...]] = (Subtask(name="half"), Subtask(name="rest"))
    asked: ClassVar[list[tuple[str, str]]] = []

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="echo", prompt=str(rng.randrange(4)))

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        return [Item(task="echo", prompt=str(i)) for i in range(4)]

    def answers(self, item: Item) -> Sequence[str] | None:
        return ["0", "1", "2", "3"]

    def truth(self, item: Item, text: str) -> float | None:
        self.asked.append((item.prompt, text))
        if not text.isascii() or not text.isdigit():
            return 0.0
        return 1 - min(abs(int(text[:5]) - int(item.prompt)), 10) / 10

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text), Code(text=text), Table(columns=(text[:50],), rows=((text,),)))
        image = Image(pixels=((0, 255), (128, 900)), alt="two by two")
        return (Text(text=item.prompt), image, Frames(frames=(image, Text(text="and then"))))


def graph(arm: Arm | None = None) -> TaskGraph:
    return TaskGraph({"part": Echo(), "whole": Echo()}, {"whole": {"half": "part", "rest": "part"}})


def case(prompt: str, *texts: str, exhibits: tuple[Exhibit, ...] = ()) -> Case:
    item = Item(task="echo", prompt=prompt)
    return Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in texts), exhibits=exhibits)


def helped(prompt: str, text: str, *, title: str = "what is the half?") -> Exhibit:
    query = Query(subtask="half", item=Item(task="echo", prompt=prompt))
    return Exhibit(title=title, text=text, agent="part", query=query)


def said(c: Case, first_better: float) -> Preference:
    return Preference(case=c.id, evaluator="simulated", first_better=first_better)


def exam(moment: str, answers: str, **more: Any) -> Exam:
    return Exam(moment=moment, prompts=("0", "1", "2", "3"), answers=tuple(answers), **more)


def gate(passed: bool) -> GateResult:
    return GateResult(
        moment="round-1", passed=passed, checked=10, agreed=9, faults=4, found=3, agreement_needed=0.9,
        recall_needed=0.5, log_loss=0.25, calibration_error=0.05, temperature=1.5,
    )  # fmt: skip


def keyed(name: str) -> str:
    """The key of a node that is called so here."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def arm(name: str, seed: int, nodes: dict[str, str], **more: Any) -> Arm:
    plan: dict[str, Any] = {"seed": seed, "node": {"whole": {"helped_by": more.pop("helped_by", {})}}}
    return Arm(name=name, seed=seed, plan=plan, nodes={n: keyed(k) for n, k in nodes.items()}, varied=more)


def publish(store: Store, name: str) -> None:
    store.save_agent(keyed(name), "published", lambda folder: None)


def filled(store: Store, name: str, answers: str, *, first: str = "0000", help: bool = True) -> None:
    """A node that was trained for two rounds on three cases, and is finished."""
    publish(store, name)
    key = keyed(name)
    scores = ((4, 3, 2, 1), (3, 4, 2, 1), (1, 4, 4, 1), (4, 1, 3, 2))  # right, right, a tie with the nearest, wrong
    drawn = exam("zero-shot", first, trained_on=("2", "2", "1"))
    store.append(key, "exam", [drawn, exam("round-0", first), exam("round-1", answers, scores=scores)])
    a, b = case("1", "1", "3"), case("2", "3", "1")  # b: the truth tells nothing apart
    c = case("3", "0", "3", "1", exhibits=(helped("1", "1"), helped("2", "2")) if help else ())
    store.append(key, "0/cases", [a, b])
    store.append(key, "0/feedback", [said(a, 1), said(b, 1)])
    store.append(key, "1/cases", [c])
    store.append(key, "1/feedback", [Ranking(case=c.id, evaluator="simulated", tiers=((2,), (0, 1)))])
    if help:
        store.write(key, "0/answers/0", [(0, helped("1", "1")), (1, helped("1", "1"))])
        store.write(key, "1/answers/0", [(0, helped("1", "1"))])
        store.write(key, "1/answers/1", [(0, helped("2", "2"))])
    store.append(key, "gate", [gate(False), gate(True)])
    d = case("0", "0", "1")
    store.append(key, "gate-1/cases", [d])
    store.append(key, "gate-1/feedback", [said(d, 1)])
    store.write(key, "gate-1/answers/0", [(0, helped("0", "0"))])
    store.spend(key, {"reward": 2.0, "policy": 0.5})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


@pytest.fixture
def study(store: Store) -> Store:
    """Three arms, three seeds, level 0 shared: recursive 1, unassisted .25, oracle 1 of 4 items."""
    for seed in range(3):
        filled(store, f"p{seed}", "0123", help=False)
        for name, answers in (("recursive", "0123"), ("unassisted", "0000"), ("oracle", "0123")):
            filled(store, f"{name}{seed}", answers, help=name == "recursive")
            store.append("study", "arms", [arm(name, seed, {"part": f"p{seed}", "whole": f"{name}{seed}"})])
    return store


def report(store: Store) -> Report:
    return Report.from_store(store, graph_of=graph)


def html(found: Report, path: Path) -> str:
    found.write_html(path)
    return path.read_text(encoding="utf-8")


def printed(found: Report, **more: Any) -> str:
    out = io.StringIO()
    found.print(Console(file=out, width=100, **more))
    return out.getvalue()


# -- the contract -----------------------------------------------------------------------------------------------------


def test_cases_are_shown_without_reading_all_others(
    study: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = report(study)
    monkeypatch.setattr(Store, "read", lambda self, node, stream, kind: pytest.fail(f"read all of {stream}"))
    assert html(found, tmp_path / "page.html").count("<h3>Answer") > 4


def test_exact_json(study: Store) -> None:
    found = report(study).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["schema"] == 1
    assert [(a["arm"], a["seed"]) for a in found["arms"][:3]] == [
        ({"name": "recursive"}, 0), ({"name": "unassisted"}, 0), ({"name": "oracle"}, 0),
    ]  # fmt: skip
    node = found["arms"][0]["nodes"]["whole"]
    expected = {
        "level": 1,
        "task": "echo",
        "finished": True,
        "truth": {"mean": 1.0, "low": 0.510109, "high": 1.0, "n": 4},
        "zero_shot": 0.25,
        "majority": 0.25,  # always "2", the most common right answer in training
        "tree": None,
        # Case a: right. Case b: nothing to tell. Case c: the mark on 1 beats 0 (right) and 3 (wrong). 2 of 3 pairs.
        "judge_accuracy": {"mean": 0.666667, "low": 0.15938, "high": 0.95474, "n": 2},
        "reward_accuracy": {"mean": 0.625, "low": 0.21943, "high": 0.90811, "n": 4},
        "coverage": 0.666667,  # "2" never stood among the answers to 2
        "judgements": 4,
        "helper_questions": 4,
        "helper_distinct": 2,
        "cpu_seconds": 2.5,
        "gate": "passed",
        "gate_judgements": 1,
        "gate_questions": 1,
        "error_kind": None,
        "helper_errors": None,
        "trained_on_every_item": True,
    }
    for key, value in expected.items():
        close = pytest.approx(value, abs=2e-5) if isinstance(value, dict) else value
        assert node[key] == close, key
    assert [(c["round"], c["mean"]) for c in node["curve"]] == [(0, 0.25), (1, 1.0)]
    assert found["gap_recovered"]["part"] is None  # no gap to divide by
    gap = found["gap_recovered"]["whole"]
    assert (gap["mean"], gap["n"], gap["median"]) == (1, 3, 1)
    assert gap["low"] == pytest.approx(1 - gap["high"] + 1)
    assert gap["low"] == pytest.approx(1 - 0.242494 / 0.75, abs=1e-5)  # 12 of 12 items in Wilson's interval
    assert gap["by_setting"][0]["low"] == gap["low"]
    grown = found["error_growth"]["recursive"]["whole"]
    assert grown["low"] < grown["mean"] == 0 < grown["high"]
    assert [e["seed"] for e in gap["each"]] == [0, 1, 2]
    unassisted = found["arms"][1]["nodes"]["whole"]
    assert (unassisted["helper_questions"], unassisted["helper_distinct"]) == (0, 0)  # asked nothing: a real 0


def test_missing_figures_are_null(store: Store) -> None:
    store.append("study", "arms", [arm("recursive", 0, {"part": "done", "whole": "never-trained"})])
    store.append(keyed("done"), "exam", [Exam(moment="zero-shot", prompts=(), answers=()), exam("round-0", "0120")])
    publish(store, "done")
    found = report(store).to_json()
    part, whole = (found["arms"][0]["nodes"][n] for n in TREE)
    assert (part["finished"], whole["finished"]) == (True, False)
    assert part["truth"]["mean"] == 0.75
    for node in (part, whole):
        for key in ("zero_shot", "majority", "tree", "judge_accuracy", "reward_accuracy", "coverage", "judgements"):
            assert node[key] is None, key
        for key in ("helper_questions", "helper_distinct", "cpu_seconds", "gate", "gate_judgements"):
            assert node[key] is None, key
    assert whole["truth"] is None
    assert whole["level"] == 1
    assert found["gap_recovered"] == {"part": None, "whole": None}
    assert "0.0" not in json.dumps(whole)


def test_the_last_round_of_an_unfinished_node_is_not_its_truth(study: Store) -> None:
    study.drop_agent(keyed("recursive1"), "published")
    found = report(study)
    data = found.to_json()
    node = next(a for a in data["arms"] if a["arm"]["name"] == "recursive" and a["seed"] == 1)["nodes"]["whole"]
    assert node["finished"] is False
    assert node["truth"] is None
    assert node["reward_accuracy"] is None
    assert [c["mean"] for c in node["curve"]] == [0.25, 1.0]
    assert [e["seed"] for e in data["gap_recovered"]["whole"]["each"]] == [0, 2]
    assert "Not finished in every arm, so without a final truth there: whole." in data["limits"]


FILE_TASK = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from rrm import Task
class Own(Task):
    def sample(self, rng, *, held_out=False):
        raise NotImplementedError
"""


@pytest.mark.parametrize("where", ["task", "helper", "edge"])
def test_code_in_a_file_that_a_record_names_runs_only_if_it_is_trusted(
    store: Store, tmp_path: Path, where: str
) -> None:
    (tmp_path / "evil.py").write_text(FILE_TASK)
    evil, fine = {"use": f"{tmp_path}/evil.py:Own"}, {"use": "column-sum"}
    top: dict[str, Any] = {"task": evil if where == "task" else fine}
    part: dict[str, Any] = {"task": fine}
    if where == "helper":
        part["cast"] = {"wrapped_in": [evil]}
    if where == "edge":
        top["helped_by"] = {"block": {"node": "part", "wrapped_in": [evil]}}
    plan = {"seed": 0, "node": {"whole": top, "part": part}}
    store.append("study", "arms", [Arm(name="recursive", seed=0, plan=plan, nodes={"whole": keyed("k")}, varied={})])
    with pytest.raises(RrmError, match=r"names code in a file, .*evil\.py:Own'.*--trust") as refused:
        Report.from_store(store)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()
    said = CliRunner().invoke(app, ["report", str(store.folder), "--json"])
    assert said.exit_code != 0
    assert not (tmp_path / "ran").exists()
    if where == "task":
        trusted = CliRunner().invoke(app, ["report", str(store.folder), "--json", "--trust"], catch_exceptions=False)
        assert json.loads(trusted.output)["arms"][0]["nodes"]["whole"]["task"] == "own"
        assert (tmp_path / "ran").exists()


def test_abstentions_are_told(store: Store) -> None:
    for name, silent in (("recursive", 0), ("unassisted", 1), ("oracle", 3)):
        filled(store, name, "0120")
        store.append("study", "arms", [arm(name, 0, {"whole": name})])
        for number, mute in enumerate(
            case(str(i % 4), "0", "1", exhibits=(helped(name, str(i)),)) for i in range(silent)
        ):
            store.append(keyed(name), f"{2 + number}/cases", [mute])
            store.append(keyed(name), f"{2 + number}/feedback", [Abstention(case=mute.id, evaluator="x", reason="?")])
    found = report(store)
    nodes = {a["arm"]["name"]: a["nodes"]["whole"]["abstained"] for a in found.to_json()["arms"]}
    assert nodes == {"recursive": 0, "unassisted": 0.25, "oracle": 0.5}
    texts = [v.text for v in found.verdicts]
    assert "unassisted: the user abstained on .25 of the cases: nothing is learnt from those" in texts
    assert not [t for t in texts if t.startswith("recursive: the user abstained")]


def test_at_one_seed_a_gap_without_interval_says_so(store: Store, tmp_path: Path) -> None:
    for name, answers in (("recursive", "0120"), ("unassisted", "0100"), ("oracle", "0123")):
        filled(store, name, answers)
        store.append("study", "arms", [arm(name, 0, {"whole": name})])
    found = report(store)
    assert found.to_json()["gap_recovered"]["whole"]["low"] is None
    (worth,) = (v.text for v in found.verdicts if "effect of help" in v.text)
    assert worth.startswith("no effect of help is shown: +.25 [")
    assert worth.endswith("(one seed: no interval of the gap recovered)")
    assert "Gap: one seed: no interval." in printed(found)
    assert "(one seed: no interval)" in html(found, tmp_path / "page.html")


def test_the_page_is_called_as_the_plan_is(store: Store, tmp_path: Path) -> None:
    filled(store, "k", "0123")
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    assert "<h1>run</h1>" in html(report(store), tmp_path / "page.html")
    new = arm("run", 0, {"whole": "k"}).model_copy(update={"title": "Echoes <heard> twice"})
    store.append("study", "arms", [new])
    assert "<h1>Echoes &lt;heard&gt; twice</h1>" in html(report(store), tmp_path / "page.html")
    assert report(store).to_json()["title"] == "Echoes <heard> twice"


def test_settings_of_one_seed_are_not_independent(store: Store) -> None:
    for seed, few in ((0, "0120"), (1, "0000")):
        for cases, answers in ((100, few), (200, "0123")):
            for name, text in (("recursive", answers), ("unassisted", "0000"), ("oracle", "0123")):
                key = f"{name}{cases}{seed}"
                filled(store, key, text)
                store.append("study", "arms", [arm(name, seed, {"whole": key}, **{"effort.cases": cases})])
    found = report(store)
    gap = found.to_json()["gap_recovered"]["whole"]
    assert len(gap["each"]) == 4
    assert (gap["n"], gap["mean"], gap["median"]) == (2, pytest.approx(2 / 3, abs=1e-5), pytest.approx(2 / 3, abs=1e-5))
    apart = [(s["setting"], s["mean"], s["n"]) for s in gap["by_setting"]]
    assert apart == [({"effort.cases": 100}, 0.333333, 2), ({"effort.cases": 200}, 1.0, 2)]
    assert "Baselines: of recursive at effort.cases 100. Gap: mean over settings." in printed(found)


def test_no_gap_is_computed_from_arms_that_were_trained_apart(study: Store) -> None:
    """The same three arms at three seeds; then one of them again, the plan that it changes being another."""
    base: dict[str, Any] = {"node": {"whole": {"effort": {"cases": 200}}}}
    few: dict[str, Any] = {"node": {"whole": {"effort": {"cases": 4}}}}
    old = list(study.read("study", "arms", Arm).values())
    study.append("study", "arms", [a.model_copy(update={"plan": base, "base": base}) for a in old])
    before = report(study).to_json()
    assert before["gap_recovered"]["whole"]["mean"] == 1
    assert [v for v in before["verdicts"] if v["kind"] == "good"]
    mine = [a.model_copy(update={"plan": few, "base": few}) for a in old if a.name == "recursive"]
    study.append("study", "arms", mine)
    found = report(study)
    assert found.to_json()["gap_recovered"]["whole"] is None
    assert list(found.study.arms()) == [
        "recursive (effort.cases 4)", "unassisted (effort.cases 200)", "oracle (effort.cases 200)",
    ]  # fmt: skip
    assert not [v for v in found.to_json()["verdicts"] if "recursive" in v["text"] and "unassisted" in v["text"]]
    assert not [v for v in found.to_json()["verdicts"] if v["kind"] == "good"]
    assert "Arms here differ in effort.cases" in " ".join(printed(found).split())


def test_varied_settings_stand_beside_the_name_and_are_not_mixed(store: Store) -> None:
    for cases, answers in ((100, "0120"), (200, "0123")):
        for name, text in (("recursive", answers), ("unassisted", "0000"), ("oracle", "0123")):
            key = f"{name}{cases}"
            filled(store, key, text)
            store.append("study", "arms", [arm(name, 0, {"whole": key}, **{"effort.cases": cases})])
    found = report(store)
    data = found.to_json()
    assert data["arms"][0]["arm"] == {"name": "recursive", "effort.cases": 100}
    gap = data["gap_recovered"]["whole"]
    assert [(e["effort.cases"], e["value"]) for e in gap["each"]] == [(100, 0.666667), (200, 1.0)]
    assert "recursive (effort.cases 100)" in found.study.arms()


def test_an_arm_run_again_replaces_the_old_one(store: Store) -> None:
    filled(store, "old", "0000")
    filled(store, "new", "0123")
    store.append("study", "arms", [arm("run", 0, {"whole": "old"}), arm("run", 0, {"whole": "new"})])
    [only] = report(store).to_json()["arms"]
    assert only["nodes"]["whole"]["truth"]["mean"] == 1


def test_shared_nodes_are_read_once_and_each_truth_asked_once(study: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str]] = []
    original = Store.read

    def counting(self: Store, node: str, stream: str, kind: Any) -> Any:
        read.append((node, stream))
        return original(self, node, stream, kind)

    monkeypatch.setattr(Store, "read", counting)
    report(study)
    assert len(read) == len(set(read))
    Echo.asked.clear()
    Report.from_store(study, graph_of=graph)
    assert len(Echo.asked) <= 12 * 16  # 12 keys, at most 4 prompts by 4 answers


def test_a_seed_that_finished_nothing_is_not_counted(store: Store) -> None:
    filled(store, "k", "0123")
    store.append(keyed("late"), "exam", [exam("round-0", "0000")])
    store.append("study", "arms", [arm("run", 0, {"whole": "k"}), arm("run", 1, {"whole": "late"})])
    found = report(store)
    assert "one seed [95 % interval over items]" in printed(found)
    limits = found.to_json()["limits"]
    assert any(text.startswith("One seed") for text in limits)
    assert "Of 2 seeds that were begun, 1 has finished nothing yet." in limits


def test_items_that_came_again_in_an_exam_are_told(store: Store) -> None:
    filled(store, "k", "0123")
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    assert not any("came more than once" in text for text in report(store).to_json()["limits"])
    again = Exam(moment="round-2", prompts=("0", "1", "1", "1"), answers=("0", "1", "1", "1"))
    store.append(keyed("k"), "exam", [again])
    told = report(store).to_json()
    assert told["arms"][0]["nodes"]["whole"]["repeated_items"] == 0.5
    assert any("came more than once" in text and "whole (.50)" in text for text in told["limits"])


class Drawn(Echo):
    """Training asks 0 and 1 alone."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="drawn", prompt=str(rng.randrange(4 if held_out else 2)))

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        return None


def test_held_out_questions_that_training_asks_are_told(store: Store, tmp_path: Path) -> None:
    filled(store, "k", "0123")
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    found = Report.from_store(store, graph_of=lambda arm: TaskGraph({"whole": Drawn()}, {}))
    told = found.to_json()
    assert told["arms"][0]["nodes"]["whole"]["asked_in_training"] == 0.5
    words = "Held-out questions that training asks too"
    assert [text for text in told["limits"] if text.startswith(words)] == [
        f"{words}: figures there show in part what was learnt, and not that it generalises. Share of them: whole (.50)."
    ]
    assert words in printed(found)
    assert words in html(found, tmp_path / "page.html")
    listed = report(store).to_json()
    assert listed["arms"][0]["nodes"]["whole"]["asked_in_training"] == 1
    assert not any(words in text for text in listed["limits"]), "of a task that lists its items, another line says it"


def test_the_seconds_of_every_person_are_counted(store: Store) -> None:
    """In training, at the gate and at spot checks; the steps of a helper's user stand apart, as its own task's."""
    filled(store, "k", "0123")
    for stream, seconds in (("2", 10.0), ("gate-2", 20.0), ("spot-2/half/drawn", 40.0), ("spot-2/half/chosen", 80.0)):
        c = case("1", "1", stream)
        store.append(keyed("k"), f"{stream}/cases", [c])
        spent = Preference(case=c.id, evaluator="person", first_better=1, seconds=seconds, work=1)
        store.append(keyed("k"), f"{stream}/feedback", [spent])
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    reading = report(store).study.runs[0].readings["whole"]
    assert reading.person_seconds == 150
    assert (reading.work, reading.spot_work) == (2, {"half": 2})


def test_errors_of_helpers_that_were_never_asked_do_not_grow(store: Store) -> None:
    filled(store, "low", "0123")
    filled(store, "helped", "0120")
    filled(store, "alone", "0120", help=False)
    store.append("study", "arms", [arm("recursive", 0, {"part": "low", "whole": "helped"})])
    store.append("study", "arms", [arm("unassisted", 0, {"part": "low", "whole": "alone"})])
    grown = report(store).to_json()["error_growth"]
    assert grown["recursive"]["whole"] is not None
    assert grown["unassisted"]["whole"] is None


@pytest.mark.parametrize(("right", "grows"), [(99_900, False), (90_000, True)])
def test_errors_grow_only_by_what_is_not_negligible(right: int, grows: bool) -> None:
    n = 100_000
    part, whole = (Reading(finished=True, truth=wilson(n, n), judge=wilson(of, n)) for of in (n, right))
    runs = [Run(arm("run", s, {}), graph(), {"part": part, "whole": whole}) for s in range(3)]
    said = [v.text for v in verdicts(Study(runs, {"part": 0, "whole": 1}))]
    assert any("errors grow" in text for text in said) is grows


@pytest.mark.parametrize(
    ("found", "told", "end"),
    [(TEMPERATURES[0], "≤ 0.01", "low"), (TEMPERATURES[1], "≥ 100", "high"), (1.5, "1.5", None)],
)
def test_a_temperature_at_the_end_of_its_search_is_a_bound(
    store: Store, tmp_path: Path, found: float, told: str, end: str | None
) -> None:
    filled(store, "k", "0123")
    store.append(keyed("k"), "gate", [gate(True).model_copy(update={"temperature": found})])
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    detail = report(store).to_json()["arms"][0]["nodes"]["whole"]["gate_detail"]
    assert (detail["temperature"], detail["temperature_at_bound"]) == (found, end)
    assert f"<td>{told}</td>" in html(report(store), tmp_path / "page.html")


@pytest.mark.parametrize(
    ("reward", "policy", "learns"),
    [
        ("tally", "best-of-n", False), ("bradley-terry", "best-of-n", True), ("tally", "regression", True),
        ("mine.py:Own", "best-of-n", True), ("gone", "best-of-n", True),
    ],
)  # fmt: skip
def test_where_nothing_learnt_carries_over_no_effect_is_explained(
    store: Store, reward: str, policy: str, learns: bool
) -> None:
    cast = {"reward": {"use": reward}, "policy": {"use": policy}}
    for seed in range(3):
        for name in ("recursive", "unassisted"):
            filled(store, f"{name}{seed}", "0120")
            made = arm(name, seed, {"whole": f"{name}{seed}"})
            made.plan["node"]["whole"]["cast"] = cast
            store.append("study", "arms", [made])
    (said,) = (v.text for v in report(store).verdicts if "no effect of help" in v.text)
    assert ("learns nothing that carries over" in said) is not learns


def test_what_stands_before_a_corrupted_helper_is_told(store: Store) -> None:
    filled(store, "k", "0123")
    chain = [{"use": "corrupted", "rate": 0.3}, {"use": "cached"}]
    wrapped = {"node": "part", "wrapped_in": chain}
    store.append("study", "arms", [arm("recursive", 0, {"whole": "k"}, helped_by={"half": wrapped, "rest": "part"})])
    assert "independent errors at 30 %, through cached" in printed(report(store)).replace("\n", " ")


def test_coverage_remembers_every_round(store: Store) -> None:
    store.append(keyed("k"), "0/cases", [case("1", "1", "3"), case("2", "3", "1")])
    store.append(keyed("k"), "1/cases", [case("1", "0", "3"), case("3", "0", "1")])
    store.append("study", "arms", [arm("recursive", 0, {"whole": "k"})])
    assert report(store).to_json()["arms"][0]["nodes"]["whole"]["coverage"] == 0.333333


def test_helper_errors_are_named(store: Store) -> None:
    filled(store, "k", "0123")
    wrapped = {"node": "part", "wrapped_in": [{"use": "corrupted", "kind": "systematic", "rate": 0.3}]}
    store.append("study", "arms", [arm("recursive", 0, {"whole": "k"}, helped_by={"half": wrapped, "rest": "part"})])
    found = report(store)
    node = found.to_json()["arms"][0]["nodes"]["whole"]
    assert node["error_kind"] == "systematic"
    assert node["helper_errors"] == [
        {"subtask": "half", "helper": "part", "use": "corrupted", "kind": "systematic", "rate": 0.3, "through": ()}
    ]
    assert any("systematic errors at 30 %" in v.text for v in found.verdicts)
    assert "systematic errors at 30 %" in printed(found)


def test_a_broken_truth_is_explained(study: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Echo, item: Item, text: str) -> float:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Echo, "truth", broken)
    with pytest.raises(ComponentError, match=r"'echo': truth\(\) failed on the answer"):
        report(study)


# -- verdicts ---------------------------------------------------------------------------------------------------------


def big(store: Store, name: str, share: float, *, tree: float | None = None, reward: float = 1.0) -> None:
    """400 held-out items of which a share is right, and a reward model that is right on another share."""
    prompts = tuple(str(i % 4) for i in range(400))

    def answered(right: float) -> tuple[str, ...]:
        return tuple(p if i < right * 400 else str((int(p) + 1) % 4) for i, p in enumerate(prompts))

    scores = tuple(
        tuple(float((a == int(p)) == (i < reward * 400)) for a in range(4)) for i, p in enumerate(prompts)
    )  # fmt: skip
    exams = [Exam(moment="tree", prompts=prompts, answers=answered(tree))] if tree is not None else []
    last = Exam(moment="round-0", prompts=prompts, answers=answered(share), scores=scores)
    store.append(keyed(name), "exam", [*exams, last])
    publish(store, name)


def sentences(store: Store, shares: dict[str, float], **more: float) -> str:
    for seed in range(3):
        for name, share in shares.items():
            big(store, f"{name}{seed}", share, **(more if name == "recursive" else {}))
            store.append("study", "arms", [arm(name, seed, {"whole": f"{name}{seed}"})])
    return "\n".join(v.text for v in report(store).verdicts)


def test_verdict_help_was_worth_it(store: Store) -> None:
    text = sentences(store, {"recursive": 0.95, "unassisted": 0.5, "oracle": 0.95})
    assert re.search(r"help was worth \+\.45 \[\.4\d, \.4\d\] over the same user alone", text)
    assert "not limited by the help: the oracle arm does no better" in text
    assert "limit of the learner or the data" in text


def test_verdict_limited_by_judgements(store: Store) -> None:
    text = sentences(store, {"recursive": 0.6, "unassisted": 0.6, "oracle": 0.95})
    assert "no effect of help is shown" in text
    assert "limited by the judgements: the oracle arm does better by +.35" in text
    assert "worth" not in text


def test_verdict_harm_and_policy_limit_and_tree(store: Store) -> None:
    text = sentences(store, {"recursive": 0.5, "unassisted": 0.7}, tree=0.9, reward=1.0)
    assert "help did harm: −.20" in text
    assert "the policy is the limit: the reward model puts the right answer first on 1.00" in text
    assert "the untrained tree of level-0 agents does better by +.40" in text


def test_verdict_tree_beaten(store: Store) -> None:
    text = sentences(store, {"recursive": 0.95}, tree=0.5, reward=0.95)
    assert "does better than the untrained tree of level-0 agents by +.45" in text
    assert "policy is the limit" not in text


def test_one_seed_of_four_items_proves_nothing(store: Store) -> None:
    for name, answers in (("recursive", "0100"), ("unassisted", "0000"), ("oracle", "0123")):
        filled(store, name, answers)
        store.append("study", "arms", [arm(name, 0, {"whole": name})])
    text = "\n".join(v.text for v in report(store).verdicts)
    assert "no effect of help is shown" in text
    assert "was worth" not in text
    assert "does no better" not in text


# -- terminal and page ------------------------------------------------------------------------------------------------


def test_terminal_fits_and_says_what_matters(study: Store) -> None:
    text = printed(report(study))
    assert max(map(len, text.splitlines())) <= 100
    for word in ("recursive", "unassisted", "oracle", "majority", "zero-shot", "tree", "gap", "distinct", "CPU-s"):
        assert word in text, word
    assert re.search(r"whole +1\.00 \[\.75, 1\.00\] +\.25 \[", text)
    assert "Every item of this task is seen in training" in text


def test_whose_the_baselines_are_is_said_where_arms_differ_in_them(study: Store) -> None:
    """And they stand in one part of the table, however many arms there are."""
    assert "Baselines:" not in printed(report(study)), "they are the same in every arm"
    for name, first in (("other", "0123"), ("another", "0000")):
        filled(study, name, "0123", first=first)
        study.append("study", "arms", [arm(name, 0, {"part": "p0", "whole": name})])
    text = printed(report(study))
    assert text.count("Baselines: of recursive.") == 1
    heads = [line for line in text.splitlines() if line.startswith("level")]
    assert [all(w in line for w in ("majority", "zero-shot", "tree", "gap")) for line in heads] == [True, False]
    assert [any(w in line for w in ("majority", "zero-shot", "tree", "gap")) for line in heads] == [True, False]


@pytest.mark.parametrize("middle", ["1-audit", "x" * 20 + "-1-of-several-audits"])
def test_two_nodes_never_look_the_same(store: Store, middle: str) -> None:
    names = [f"absent-supervisor-{m}" for m in (middle, middle.replace("1", "2"), "agent")]
    tasks: dict[str, Task] = {name: Echo() for name in names}
    for name in names:
        filled(store, name, "0123", help=False)
    store.append("study", "arms", [arm("recursive", 0, {n: n for n in names})])
    told = printed(Report.from_store(store, graph_of=lambda arm: TaskGraph(tasks, {})))
    cut = re.findall(r"^(?:    0  )?(absent\S*)  *(?:recursive|1\.00)", told, re.MULTILINE)
    assert sorted(map(cut.count, cut)) == [2] * 6, told  # three names, each in both tables
    assert max(map(len, told.splitlines())) <= 100


def test_terminal_of_many_arms_still_fits(store: Store) -> None:
    filled(store, "k", "0123")
    store.append("study", "arms", [arm(f"an-arm-with-a-long-name-{i}", 0, {"whole": "k"}) for i in range(8)])
    text = printed(report(store))
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_recorded_yet(store: Store, tmp_path: Path) -> None:
    found = report(store)
    assert found.to_json()["arms"] == []
    assert "No arm" in printed(found)
    assert "Nothing can be said yet" in html(found, tmp_path / "r.html")


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and all that it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetches: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetches += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "xlink:href")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        if tag not in ("meta", "img", "path", "rect", "line", "circle", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "rect", "line", "circle"):
            return
        assert self.open.pop() == tag


def checked(text: str) -> Page:
    page = Page(text)
    assert page.open == []
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "form", "base", "input", "a"}
    assert page.handlers == []
    assert all(f.startswith("data:image/png;base64,") for f in page.fetches)
    return page


def test_page_is_whole_and_needs_nothing(study: Store, tmp_path: Path) -> None:
    text = html(report(study), tmp_path / "report.html")
    page = checked(text)
    assert text.startswith("<!doctype html>")
    assert not re.search(r"https?://|//cdn|url\((?!#)|@import", text)
    assert "default-src 'none'" in text
    assert {"svg", "table", "details", "img", "pre"} <= page.tags
    assert text.count("judged right") >= 3
    assert text.count("judged wrong") >= 3
    assert "the half" in text
    assert "asked by this report; in training only control arms" in text
    assert "no user, helper" not in text
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_page_that_cannot_be_written(study: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        report(study).write_html(tmp_path / "nowhere" / "report.html")


def test_hostile_node_names_are_inert_in_pictures() -> None:
    names = ["</text><script>alert(1)</script>", "a\u202eb", "$x^2$", "n" * 500]
    drawn = TaskGraph({n: Echo() for n in [*names, "top"]}, {"top": {"half": names[0], "rest": names[1]}})
    for text in (picture.graph_svg(drawn), picture.graph_svg(drawn, standalone=False)):
        assert "<script" not in text
        assert not MUST_NOT_SURVIVE.search(text)
        assert Page(text).open == []


def test_report_loads_no_torch(study: Store) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from rrm.store import Store
from test_report import report
found = report(Store(Path({str(study.folder)!r})))
found.to_json(); found.write_html(Path({str(study.folder / "r.html")!r}))
print("torch" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("False", 0), ran.stderr


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_graph_layout_puts_helpers_below_and_boxes_apart() -> None:
    wide = {f"n{i:03}": Echo() for i in range(199)}
    drawn = TaskGraph({**wide, "top": Echo()}, {"top": {"half": "n000", "rest": "n198"}})
    boxes, width, height = picture.layout(drawn)
    assert len(boxes) == 200
    assert boxes["top"].y < min(boxes[n].y for n in wide)
    assert all(b.x >= 0 and b.x + b.width <= width and 0 <= b.y <= height for b in boxes.values())
    rows: dict[float, list[picture.Box]] = {}
    for box in boxes.values():
        rows.setdefault(box.y, []).append(box)
    for row in rows.values():
        row.sort()
        assert all(a.x + a.width < b.x for a, b in pairwise(row))
    assert width < 1200
    assert Page(picture.graph_svg(drawn)).open == []
    assert "half" in picture.graph_svg(drawn)


def test_chart_scales_and_names() -> None:
    line = picture.Series("recursive", [(0, Figure(1.0, 0.9, 1.0, 3)), (1, Figure(0.0, None, None, 1))])
    text = picture.line_chart_svg([line], title="t", x_label="level", y_label="truth")
    assert 'role="img"' in text
    assert "recursive, 0: truth 1.000 [0.900, 1.000]" in text
    assert "recursive, 1: truth 0.000<" in text
    places = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', text)]
    assert places[:2] == [14.0, 214.0]
    assert Page(picture.line_chart_svg([], title="t", x_label="x", y_label="y")).open == []


def test_png_of_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RrmError, match="pip install"):
        picture.graph_png(graph(), tmp_path / "g.png")
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    picture.graph_png(graph(), tmp_path / "g.png")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


def test_records_of_reading_ignore_what_they_do_not_need(study: Store) -> None:
    """A damaged record is still refused: the address is checked over all of its text."""
    assert issubclass(Case, Record)
    with study._engine.begin() as db:
        db.exec_driver_sql("UPDATE records SET body = replace(body, '\"3\"', '\"9\"') WHERE stream = '1/cases'")
    with pytest.raises(StoreError, match="is damaged"):
        report(study)


# -- measures ---------------------------------------------------------------------------------------------------------


class Acting(Echo):
    """Tells more of an answer, and counts the user's work."""

    measure = "mean"
    work_name = "frames_seen"
    shares = frozenset({"unsafe", "unsafe_supervised"})

    def measures(self, items: Sequence[Item], texts: Sequence[str]) -> dict[str, Sequence[float | None]]:
        even = [int(i.prompt) % 2 == 0 for i in items]
        bad = [float(t == "0") for t in texts]
        return {
            "unsafe": bad,
            "unsafe_supervised": [x if e else None for x, e in zip(bad, even, strict=True)],
            "performance": [float(t) for t in texts],
            "idle": [-1.0] * len(texts),
        }


def acting(arm: Arm | None = None) -> TaskGraph:
    return TaskGraph({"part": Acting(), "whole": Acting()}, {"whole": {"half": "part", "rest": "part"}})


def worked(store: Store, name: str, answers: str, *, steps: int, seconds: float | None = None, help: bool) -> None:
    filled(store, name, answers, help=help)
    c = case("1", "1", "2")
    done = Preference(case=c.id, evaluator="x", first_better=1, work=steps, seconds=seconds)
    store.append(keyed(name), "2/cases", [c])
    store.append(keyed(name), "2/feedback", [done])


@pytest.fixture
def measured(store: Store) -> Report:
    worked(store, "p", "0123", steps=7, help=False)
    for name, answers, seconds in (("recursive", "0112", 2.5), ("informed", "0000", None), ("truth", "3333", None)):
        worked(store, name, answers, steps=10, seconds=seconds, help=name == "recursive")
        store.append("study", "arms", [arm(name, 0, {"part": "p", "whole": name})])
    return Report.from_store(store, graph_of=acting)


def test_measures_shares_and_what_a_person_spent(measured: Report) -> None:
    nodes = {a["arm"]["name"]: a["nodes"] for a in measured.to_json()["arms"]}
    mine = nodes["recursive"]["whole"]
    assert (mine["unsafe"]["mean"], mine["unsafe"]["n"]) == (0.25, 4)
    assert (mine["unsafe_supervised"]["mean"], mine["unsafe_supervised"]["n"]) == (0.5, 2)
    assert mine["performance"]["mean"] == 1
    assert mine["performance_share"] == 0.5  # of the way from idle, -1, to the arm of the truth, 3
    assert [nodes[n]["whole"]["performance_share"] for n in ("informed", "truth")] == [0.25, 1]
    assert (mine["frames_seen"], mine["frames_seen_with_helpers"]) == (10, 17)
    assert nodes["informed"]["whole"]["frames_seen_with_helpers"] == 10  # it asked nobody
    assert [nodes[n]["whole"]["person_seconds"] for n in ("recursive", "informed")] == [2.5, None]


def test_a_worth_is_no_share_whatever_its_values_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one seed all are 0 or 1, at the other not: both are worths, and so is their mean."""
    for seed, answers in enumerate(("0110", "0123")):
        worked(store, f"k{seed}", answers, steps=1, help=False)
        store.append("study", "arms", [arm("run", seed, {"whole": f"k{seed}"})])
    study = Report.from_store(store, graph_of=acting).study
    figures = {
        name: [type(run.readings["whole"].measures[name]) for run in study.runs] for name in ("performance", "unsafe")
    }
    assert figures == {"performance": [Figure, Figure], "unsafe": [Share, Share]}
    monkeypatch.setattr(Acting, "shares", frozenset({"performance"}))
    with pytest.raises(ComponentError, match=r"'acting': the measure 'performance' is among its `shares`, and of one"):
        Report.from_store(store, graph_of=acting)


def test_measures_stand_in_tables(measured: Report, tmp_path: Path) -> None:
    text = printed(measured)
    assert max(map(len, text.splitlines())) <= 100
    rows = [line.split() for line in text[text.index("What the tasks tell") :].splitlines()]
    part, whole = ([r for r in rows if r[:2] == [node, "recursive"]][:2] for node in TREE)
    assert part[0][2:] == [".25", "[.04,", ".70]", ".50", "[.09,", ".91]", "1.50", "1.00", "−1.00"]
    assert part[1][2:] == ["7", "7"]
    assert whole[0][2:] == [".25", "[.04,", ".70]", ".50", "[.09,", ".91]", "1.00", ".50"]
    assert whole[1][2:] == ["−1.00", "10", "17", "2.5"]
    assert ["node", "arm", "idle", "frames", "seen", "with", "helpers", "person's", "seconds"] in rows
    page = html(measured, tmp_path / "page.html")
    checked(page)
    table = page[page.index('aria-label="measures, table 2"') :]
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', table[: table.index("</thead>")])
    assert heads == [
        "agent", "arm", "unsafe", "unsafe supervised", "performance", "performance share", "idle", "frames seen",
        "with helpers", "person&#39;s seconds",
    ]  # fmt: skip
    assert "<b>.25</b> <small>[.04, .70]</small>" in table


def test_tasks_that_tell_nothing_more_have_no_table(study: Store, tmp_path: Path) -> None:
    assert "What the tasks tell" not in printed(report(study))
    assert "What the tasks tell" not in html(report(study), tmp_path / "page.html")


def test_what_arms_share_is_said_once(store: Store) -> None:
    filled(store, "shared", "0000")
    filled(store, "own", "0000")
    for key in ("shared", "own"):
        store.append(keyed(key), "gate", [gate(False)])
    for name, key in (("recursive", "shared"), ("silent", "shared"), ("other", "own"), ("truth", "shared")):
        store.append("study", "arms", [arm(name, 0, {"part": key})])
    said = [v.text for v in report(store).verdicts]
    assert len(said) == len(set(said))
    failed = [t for t in said if "failed its gate" in t]
    assert failed == [
        "recursive, silent, truth: failed its gate at the one seed; levels above may not hold",
        "other: failed its gate at the one seed; levels above may not hold",
    ]
    assert sum("common answer" in t or "zero-shot" in t for t in said) >= 2
    assert all(t.startswith(("recursive, silent, truth: ", "other: ")) for t in said)


def test_a_gate_under_which_nothing_stands_says_nothing_of_levels_above(store: Store) -> None:
    filled(store, "top", "0000")
    store.append(keyed("top"), "gate", [gate(False)])
    store.append("study", "arms", [arm("recursive", 0, {"whole": "top"})])
    (failed,) = (v.text for v in report(store).verdicts if "failed its gate" in v.text)
    assert failed == "recursive: failed its gate at the one seed"


def test_one_seed_that_was_begun_is_said_in_the_singular(store: Store) -> None:
    case_ = case("1", "1", "3")
    store.append(keyed("k"), "0/cases", [case_])
    store.append("study", "arms", [arm("run", 0, {"whole": "k"})])
    found = report(store)
    assert "The one seed that was begun has finished nothing yet." in found.to_json()["limits"]
    assert "means over seeds" not in printed(found)


def test_what_is_said_of_arms_that_share_an_agent_names_all_of_them_once(store: Store) -> None:
    for seed in range(2):
        filled(store, f"k{seed}", "0003", help=False)
        for name in ("recursive", "unassisted", "silent"):
            store.append("study", "arms", [arm(name, seed, {"whole": f"k{seed}"})])
    texts = [v["text"] for v in report(store).to_json()["verdicts"]]
    assert len(texts) == len(set(texts))
    told = [text.partition(": ") for text in texts if text.startswith("recursive")]
    assert told
    assert {who for who, _, _ in told} == {"recursive, unassisted, silent"}
    assert len({what for _, _, what in told}) == len(told)


def test_a_chart_reaches_as_high_as_its_line() -> None:
    line = picture.Series("a", [(0, Figure(0.0, None, None, 1)), (1, Figure(4.0, None, None, 1))])
    text = picture.line_chart_svg([line], title="t", x_label="x", y_label="y")
    places = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', text)]
    assert places[:2] == [214.0, 14.0]
    assert ">4</text>" in text
