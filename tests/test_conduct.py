"""A plan's trial, done: who judged what with which help, resumed to the same bytes, blind, and without the truth."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDY, Rrm

from rrm import Item, build
from rrm.conduct import conduct, prepare, waiting
from rrm.desk import Desk, place_of
from rrm.errors import ComponentError, PlanError, RrmError
from rrm.job import jobs, people_of, recorded
from rrm.plan import Study
from rrm.records import FEEDBACK, Case, Feedback, Preference
from rrm.registry import TASKS
from rrm.report import Report
from rrm.report.verdict import SMALL
from rrm.store import Store
from rrm.trial.record import NODE, STREAM, TrialRecord

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from kill import contents, differences  # type: ignore[import-not-found]

TRIAL = """
[trial]
arms = ["unassisted", "assisted", "misleading"]
raters = 6
cases = 12
of = 18
people = [{ use = "simulated", budget = 5, step_seconds = 2 }, { use = "simulated", budget = 5, mistake = 0.2 }]
"""


@pytest.fixture
def trial(study: Path) -> Path:
    study.write_text(STUDY + TRIAL)
    return study


def done(path: Path, folder: Path, **more: Any) -> tuple[TrialRecord, Store]:
    study, store = Study.load(path, **more), Store(folder)
    build.run(study, store, workers=1)
    record = conduct(study, store)
    assert record
    return record, store


def test_everybody_judges_what_was_drawn_for_them_with_the_help_of_its_arm(trial: Path, tmp_path: Path) -> None:
    record, store = done(trial, tmp_path / "run")
    cases = store.read(record.key, "trial/cases", Case)
    said: dict[int, Feedback] = store.read(record.key, "trial/feedback", FEEDBACK)
    assert len(cases) == len(said) == len(record.design) == 72
    assert all(said[n].case == cases[n].id for n in cases)
    assert set(Counter((rater, cases[n].item.prompt) for n, (rater, _, _) in enumerate(record.design)).values()) == {1}
    assert set(Counter((rater, cell) for rater, _, cell in record.design).values()) == {4}
    help_of: dict[tuple[int, int], tuple[Case, ...]] = {}
    for number, (_, item, cell) in enumerate(record.design):
        help_of[item, cell] = (*help_of.get((item, cell), ()), cases[number])
    for (item, cell), alike in help_of.items():
        assert len({(c.item.id, c.responses, c.exhibits) for c in alike}) == 1
        assert bool(alike[0].exhibits) == (cell != 0)
        plain = help_of.get((item, 1))
        if cell == 2 and plain:
            pairs = zip(alike[0].exhibits, plain[0].exhibits, strict=True)
            assert all(wrong.text != right.text for wrong, right in pairs), "of the same helper, asked the same"
            assert alike[0].responses == plain[0].responses
    assert len({c.item.prompt for c in cases.values()}) == 18


def test_no_rater_can_tell_the_arm(trial: Path, tmp_path: Path) -> None:
    record, store = done(trial, tmp_path / "run")
    for number, case in store.read(record.key, "trial/cases", Case).items():
        assert case.place == f"trial/{number}"
        assert not any(word in case.body for word in ("assisted", "misleading", "arm"))


def test_a_trial_that_was_stopped_ends_with_the_same_bytes(trial: Path, tmp_path: Path) -> None:
    """Of people who tire: whoever judged six cases before the machine stopped is as tired after it."""
    trial.write_text(trial.read_text().replace("step_seconds = 2", "step_seconds = 2, fatigue = 0.08"))
    _, whole = done(trial, tmp_path / "whole")
    study, store = Study.load(trial), Store(tmp_path / "parts")
    build.run(study, store, workers=1)

    class Stopped(Exception):
        pass

    def stop(after: int) -> Any:
        def told(made: int, of: int) -> None:
            if made >= after:
                raise Stopped

        return told

    for after in (0, 1, 30, 71):
        with pytest.raises(Exception, match="Stopped"):
            conduct(study, store, progress=stop(after))
    assert store.length(conduct_key(study), "trial/feedback") == 71
    conduct(study, Store(tmp_path / "parts"))
    assert differences(contents(tmp_path / "whole"), contents(tmp_path / "parts")) == []
    assert whole.length(conduct_key(study), "trial/feedback") == 72


def conduct_key(study: Study) -> str:
    return prepare(study).key


def test_the_truth_is_not_asked(trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leak(self: object, item: Item, text: str) -> float:
        raise AssertionError("the truth was asked")

    monkeypatch.setattr(TASKS.get("column-sum"), "truth", leak)
    record, store = done(trial, tmp_path / "run")
    assert store.length(record.key, "trial/feedback") == 72
    with pytest.raises(ComponentError, match="the truth was asked"):
        Report.from_store(store)


def test_the_report_says_what_help_was_worth(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    sets = ["trial.raters=8", "trial.cases=40", "trial.of=60", "node.block.cast.assistant.slip=0.02"]
    said = rrm("run", trial, "--out", tmp_path / "run", *(w for s in sets for w in ("--set", s)), "--quiet")
    assert said.code == 0
    assert "Trial of help, total" in said.out
    assert "assisted: people are right oftener, by +" in said.out
    (found,) = json.loads(rrm("report", tmp_path / "run", "--json").out)["trial"]
    assert (found["node"], found["planned"], found["judged"]) == ("total", 320, 320)
    alone, helped, misled = found["cells"]
    assert [c["name"] for c in found["cells"]] == ["unassisted", "assisted", "misleading"]
    assert alone["uplift"] is None
    assert helped["uplift"]["low"] > 0.1, "who adds five numbers cannot judge sixteen"
    assert misled["uplift"]["mean"] < helped["uplift"]["mean"]
    assert misled["help_right"] is None
    assert misled["help_wrong"]["n"] == misled["judgements"]
    assert helped["turned"]["mended"]["mean"] > helped["turned"]["by_chance"]["mean"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What help is worth to a person" in page
    assert "people are right oftener" in page


def test_nothing_is_said_of_a_trial_at_the_small_size(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    trial.write_text(trial.read_text() + "[fast]\neffort = { cases = 5 }\n")
    sets = ["trial.raters=8", "trial.cases=40", "trial.of=60", "node.block.cast.assistant.slip=0.02"]
    said = rrm("run", trial, "--out", tmp_path / "run", "--fast", *(w for s in sets for w in ("--set", s)), "--quiet")
    (found,) = json.loads(rrm("report", tmp_path / "run", "--json").out)["trial"]
    assert found["cells"][1]["uplift"]["low"] > 0.1, "though much would be said else"
    assert found["words"] == [SMALL]
    page = (tmp_path / "run" / "report.html").read_text()
    for told in (said.out, page):
        assert "Trial of help" in told or "What help is worth" in told
        assert "people are right" not in told
        assert "No verdicts are drawn" in " ".join(told.split())


def test_a_run_without_a_trial_reports_none(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    assert rrm("run", study, "--out", tmp_path / "run", "--quiet").code == 0
    assert "trial" not in json.loads(rrm("report", tmp_path / "run", "--json").out)
    assert conduct(Study.load(study), Store(tmp_path / "run")) is None


def test_another_trial_of_the_same_nodes_trains_nothing(trial: Path, tmp_path: Path) -> None:
    first, store = done(trial, tmp_path / "run")
    again, _ = done(trial, tmp_path / "run")
    other, _ = done(trial, tmp_path / "run", sets=["trial.seed=1"])
    assert first == again
    assert first.key != other.key
    assert first.design != other.design
    assert first.arm == other.arm
    assert [r.key for r in store.read(NODE, STREAM, TrialRecord).values()] == [first.key, other.key]
    assert len({job.key for job in jobs(Study.load(trial))[0]}) == 2


def test_a_budget_of_time_is_an_axis(trial: Path, tmp_path: Path) -> None:
    sets = ["trial.cases=60", "trial.of=60", "node.block.cast.assistant.slip=0.02"]
    sets += ["trial.seconds=[4, 20]", 'trial.people=[{ use = "simulated", budget = 5, step_seconds = 2 }]']
    record, store = done(trial, tmp_path / "run", sets=sets)
    assert [(c.name, c.seconds, c.control) for c in record.cells] == [
        ("unassisted", 4, 0), ("assisted", 4, 0), ("misleading", 4, 0),
        ("unassisted", 20, 3), ("assisted", 20, 3), ("misleading", 20, 3),
    ]  # fmt: skip
    (found,) = Report.from_store(store).trials
    assert [arm.name for arm in found.result.arms][3:] == ["unassisted, 20 s", "assisted, 20 s", "misleading, 20 s"]
    hurried, leisurely = (found.result.arms[cell].accuracy for cell in (1, 4))
    assert hurried
    assert leisurely
    assert hurried.mean < leisurely.mean - 0.1, "two additions do not reach over four blocks, five do"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trial.node=blok", "trial.node: no node is called 'blok'. Did you mean 'block'?"),
        ("trial.node=block", "trial.node: nobody helps to judge 'block'"),
        ("trial.arm=x", "trial.arm: no arm is called 'x'. There are: run."),
        ("trial.raters=0", "trial.raters: input should be greater than or equal to 1 (got 0)"),
        ("trial.rates=0", "trial.rates: there is no such key here. Did you mean 'raters'?"),
        ("trial.of=3", "trial: nobody can judge 12 of 3 cases without judging one twice: raise `of`"),
        ('trial.arms=["assisted"]', "trial.arms:"),
        ('trial.arms=["assisted", "assisted"]', "trial: two arms, or two budgets of time, are alike"),
        ("trial.expect.baseline=0.95", "trial.expect: baseline and uplift together are 1.07"),
        ("trial=3", "trial should be a table, not 3"),
        ('trial.arms=["assisted", "debat"]', "trial.arms.debat.protocol: no protocol is called 'debat'"),
        ('trial.people=["oracl"]', "trial.people: no evaluator is called 'oracl'. Did you mean 'oracle'?"),
        ("trial.seconds=[5]", "evaluator 'simulated' knows no time: leave trial.seconds out"),
        ("cast.protocol=unassisted", "trial.arms: 'assisted' is the same as 'unassisted' at node 'total'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    change: str, message: str, trial: Path, tmp_path: Path, rrm: Rrm
) -> None:
    said = rrm("run", trial, "--out", tmp_path / "run", "--set", change)
    assert (said.code, said.out) == (1, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    checked = rrm("check", trial, "--set", change)
    assert checked.code == 1
    assert message in checked.err


def test_too_few_cases_are_said(trial: Path, tmp_path: Path) -> None:
    text = trial.read_text().replace("slip = 0.5", "slip = 0.0")
    trial.write_text(text.replace("of = 18", "of = 18").replace('"best-of-n", n = 4', '"best-of-n", n = 1'))
    with pytest.raises(PlanError, match="two different answers to only 0 held-out items, and 18 different"):
        done(trial, tmp_path / "run")


def test_a_trial_whose_arm_is_left_out_is_not_done(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    trial.write_text(trial.read_text() + '[arm.one]\n[arm.two]\ncast = { evaluator = { use = "oracle" } }\n')
    assert Study.load(trial, sets=["trial.arm=two"], arms=["one"]).trial is None
    assert Study.load(trial, arms=["two"]).trial
    done(trial, tmp_path / "run", sets=["trial.arm=two"])
    said = rrm("run", trial, "--out", tmp_path / "run", "-q", "--set", "trial.arm=two", "--arm", "one")
    assert (said.code, said.err) == (0, "the plan's trial is not done: it is of arm 'two', which --arm leaves out\n")
    asked = recorded(Store(tmp_path / "run")).trial
    assert asked
    assert asked.arm == "two"


def test_a_trial_whose_node_is_left_out_stays_in_the_record(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    """The trial names no node: it is of the highest, `total`."""
    out = tmp_path / "run"
    record, store = done(trial, out)
    said = rrm("run", trial, "--out", out, "-q", "--node", "block")
    assert (said.code, said.err) == (
        0,
        "the plan's trial is not done: it is of node 'total', which --node leaves out\n",
    )
    found = recorded(store)
    assert found.trial
    assert prepare(found).key == record.key
    said = rrm("run", trial, "--out", out, "-q", "--node", "total", "--set", "trial.seed=1")
    assert (said.code, said.err) == (0, "")
    assert store.length(prepare(recorded(store)).key, "trial/feedback") == 72
    said = rrm("run", trial, "--out", out, "-q", "--node", "block", "--set", "node.block.effort.exam=9")
    assert said.code == 0
    assert recorded(store).trial is None, "of the `block` of now there is no `total`"


def test_the_highest_node_is_found_before_others_are_left_out(trial: Path, tmp_path: Path) -> None:
    text = trial.read_text().replace(
        "[trial]", '[node.more]\ntask = { use = "column-sum", length = 64 }\nhelped_by = { block = "total" }\n[trial]'
    )
    trial.write_text(text)
    study = Study.load(trial)
    assert study.of_nodes(["total"]).trial is None
    assert study.of_nodes(["more"]).trial


def test_the_plan_says_how_many_judgements_an_uplift_needs(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    folder = tmp_path / "run"
    found = json.loads(rrm("plan", trial, "--out", folder, "--no-measure", "--json").out)["trial"]
    assert (found["node"], found["judgements"], found["different_cases"]) == ("total", 72, 18)
    assert 0.05 < found["power"] < 0.3
    more = ["--set", f"trial.cases={found['cases_needed']}", "--set", f"trial.of={found['different_cases_needed']}"]
    enough = json.loads(rrm("plan", trial, "--out", folder, "--no-measure", "--json", *more).out)["trial"]
    assert enough["power"] >= 0.8
    said = rrm("plan", trial, "--out", folder, "--no-measure")
    assert "6 raters x 12 cases = 72 judgements. An uplift of +12 points would be seen" in " ".join(said.out.split())
    none = rrm("plan", trial, "--out", folder, "--no-measure", "--set", "trial.raters=2", "--set", "trial.cases=4")
    assert none.code == 0


def test_people_judge_a_trial_each_their_own_cases(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + '[trial]\nraters = 2\ncases = 4\npeople = ["people"]\nseconds = [30]\n')
    out = tmp_path / "run"
    said = rrm("run", study, "--out", out, "--quiet")
    assert said.code == 3
    assert (
        f"8 of 8 judgements are still to be made, by 2 raters. What was judged is kept: `rrm judge {out}`" in said.err
    )
    store = Store(out)
    (record,) = store.read(NODE, STREAM, TrialRecord).values()
    assert waiting(store) == {record.key}
    assert record.key in people_of(store, besides=waiting(store))
    desk, cases = Desk(place_of(out)), store.read(record.key, "trial/cases", Case)
    ann, bob = (r.id for r in desk.register.invite(["ann", "bob"]))
    own = {r: [cases[n].id for n, row in enumerate(record.design) if row[0] == r] for r in (0, 1)}
    for rater, name, seat in ((bob, "bob", 1), (ann, "ann", 0)):
        for case in own[seat]:
            handed = desk.next(rater)
            assert handed
            assert handed.sheet.case == case, "in the order that was drawn"
            assert handed.sheet.limit == 30
            told = Preference(case=case, evaluator=name, first_better=1.0, seconds=2.0, confidence=0.8)
            desk.say(rater, handed.id, told)
        assert desk.next(rater) is None, "the other's cases are not theirs"
        assert rrm("run", out, "--quiet").code == (3 if name == "bob" else 0)
    said_: dict[int, Feedback] = store.read(record.key, "trial/feedback", FEEDBACK)
    assert [f.evaluator for _, f in sorted(said_.items())] == ["ann"] * 4 + ["bob"] * 4
    assert waiting(store) == set()
    with pytest.raises(RrmError, match=r"this run is finished|nobody is asked"):
        people_of(store, besides=waiting(store))
    (found,) = json.loads(rrm("report", out, "--json").out)["trial"]
    assert (found["judged"], found["cells"][0]["confidence"]["mean"]) == (8, 0.8)
    desk.close()


def test_opened_is_of_those_whose_opening_is_recorded(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    """Of four raters two are simulated, who open nothing that anybody records; of two people, one opens nothing."""
    study.write_text(STUDY + '[trial]\nraters = 4\ncases = 4\npeople = ["simulated", "people"]\n')
    out = tmp_path / "run"
    assert rrm("run", study, "--out", out, "--quiet").code == 3
    desk = Desk(place_of(out))
    for rater in desk.register.invite(["ann", "bob"]):
        while handed := desk.next(rater.id):
            case = handed.sheet.case
            seen = tuple(e.exhibit for e in handed.sheet.exhibits) if rater.name == "ann" else ()
            desk.say(rater.id, handed.id, Preference(case=case, evaluator=rater.name, first_better=1.0, seen=seen))
    desk.close()
    assert rrm("run", out, "--quiet").code == 0
    (found,) = json.loads(rrm("report", out, "--json").out)["trial"]
    opened = found["cells"][1]["opened"]
    assert opened["n"] <= 4, "each of the two has two cases with help"
    assert 0 < opened["mean"] < 1


def test_who_goes_on_with_a_record_does_its_trial(trial: Path, tmp_path: Path, rrm: Rrm) -> None:
    study, store = Study.load(trial), Store(tmp_path / "run")
    build.run(study, store, workers=1)
    found = recorded(store).trial
    assert found
    assert study.trial
    assert found.body == study.trial.body
    assert rrm("run", tmp_path / "run", "--quiet").code == 0
    assert store.length(prepare(study).key, "trial/feedback") == 72
