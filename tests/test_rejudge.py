"""A second opinion on what was judged: the same cases, recorded apart, and held against the first and the truth."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from conftest import STUDY, Rrm
from desks import sheets

from rrm.cli.judge import _waiting
from rrm.desk import Desk, place_of
from rrm.figures import number
from rrm.measure import kappa
from rrm.records import (
    FEEDBACK,
    Approval,
    Case,
    Correction,
    Exhibit,
    Item,
    Preference,
    Ranking,
    Rating,
    Rejudged,
    Response,
)
from rrm.registry import TASKS
from rrm.rejudge import waiting
from rrm.report.judges import Judged, agreement
from rrm.report.second import opinions, second
from rrm.store import Store
from rrm.web.going_on import REJUDGE, GoingOn

T = TypeVar("T")

PARTS = '''
from rrm.evaluators.simulated import Simulated
from rrm.records import Preference, Rating
import os

class Contrary(Simulated):
    """Says the opposite of what it thinks."""
    def judge(self, task, cases, *, seed, done=0):
        for f in super().judge(task, cases, seed=seed, done=done):
            if f.kind == "preference":
                f = f.model_copy(update={"first_better": 1 - f.first_better, "evaluator": self.name()})
            if f.kind == "rating":
                f = f.model_copy(update={"score": 1 - f.score, "evaluator": self.name()})
            yield f

class Weary(Simulated):
    """A person who leaves after a few cases."""
    reproducible = False
    def judge(self, task, cases, *, seed, done=0):
        for number, f in enumerate(super().judge(task, cases, seed=seed, done=done)):
            if number == int(os.environ["PATIENCE"]):
                return
            with open(os.environ["SEEN"], "a") as file:
                file.write(f.case + "\\n")
            yield f
'''


@pytest.fixture
def run(tmp_path: Path, rrm: Rrm) -> Path:
    (tmp_path / "parts.py").write_text(PARTS)
    path = tmp_path / "study.toml"
    path.write_text(STUDY + "[vary]\nseed = [0, 1]\n")
    assert rrm("run", path, "--out", tmp_path / "out", "-w", 1, "-q", "--set", "effort.cases=20").code == 0
    return tmp_path / "out"


def told(rrm: Rrm, run: Path, *arguments: object) -> dict[str, Any]:
    said = rrm("rejudge", run, "--json", *arguments)
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["schema"] == 1
    return {row["node"]: row for row in found["nodes"]}


def test_whoever_judges_by_the_same_agrees_with_itself(run: Path, rrm: Rrm) -> None:
    """The simulated user of that budget draws nothing: it says again what it said, right or wrong."""
    rows = told(rrm, run, "--by", "simulated", "--set", "budget=5")
    assert list(rows) == ["block", "total"]
    for row in rows.values():
        assert (row["seeds"], row["cases"] + row["not_compared"]) == ([0, 1], 80)
        assert (row["agreement"]["mean"], row["kappa"]) == (1, 1)
        assert row["first"]["right"] == row["second"]["right"]
        assert row["agreement"]["low"] < 1, "eighty cases do not show that two agree on all"


def test_whoever_says_the_opposite_agrees_in_nothing_but_ties(run: Path, rrm: Rrm) -> None:
    rows = told(rrm, run, "--by", run.with_name("parts.py").as_posix() + ":Contrary", "--set", "budget=5")
    total = rows["total"]
    assert total["agreement"]["mean"] < 0.2
    assert total["kappa"] < -0.5
    assert total["second"]["evaluators"] == ["contrary"]
    assert total["second"]["right"]["mean"] == pytest.approx(1 - total["first"]["right"]["mean"])


def test_both_are_held_against_the_truth(run: Path, rrm: Rrm) -> None:
    """A block is four numbers, and a user who adds one guesses: the oracle, who knows, is right."""
    rows = told(rrm, run, "--by", "oracle")
    assert rows["block"]["second"]["right"]["mean"] == 1
    (key,) = {(e.evaluator["use"]) for e in Store(run).read("study", "rejudged", Rejudged).values()}
    assert key == "oracle"
    poor = told(rrm, run, "--by", "simulated", "--set", "budget=1")
    assert poor["block"]["second"]["right"]["high"] < 1
    assert poor["block"]["second"]["right"]["mean"] < poor["block"]["first"]["right"]["mean"]
    assert poor["block"]["agreement"]["mean"] < 0.95


def test_alpha_is_of_all_who_ever_judged(run: Path, rrm: Rrm) -> None:
    """Who says the same, and who says the opposite: two alike, then one against two."""
    alike = told(rrm, run, "--by", "simulated", "--set", "budget=5")["total"]
    assert (alike["judges"], alike["alpha"]["mean"]) == (2, 1)
    parts = run.with_name("parts.py").as_posix() + ":Contrary"
    three = told(rrm, run, "--by", parts, "--set", "budget=5")["total"]
    assert three["judges"] == 3
    assert three["alpha"]["low"] < three["alpha"]["mean"] < three["alpha"]["high"] < 0.2
    again = told(rrm, run, "--by", "simulated", "--set", "budget=5")["total"]
    assert again["alpha"] == three["alpha"], "whoever is asked, all are heard"
    assert again["agreement"]["mean"] == 1
    said = rrm("rejudge", run, "--by", "simulated", "--set", "budget=5").out
    assert "alpha" in said
    assert re.search(rf" 3 +{re.escape(number(three['alpha']['mean']))} \[", said)


def test_alpha_of_rankings_counts_cases_and_not_pairs() -> None:
    task, item = TASKS.build("column-sum", {"length": 4}), Item(task="column-sum", prompt="Add up: 1 2 3 4")
    cases = [
        Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in ("9", "10", "11")), place=f"0/{i}")
        for i in range(4)
    ]
    said = {
        judge: {c.id: Ranking(case=c.id, evaluator=judge, tiers=tiers) for c, tiers in zip(cases, given, strict=True)}
        for judge, given in (
            ("a", (((0,), (1,), (2,)), ((2,), (1,), (0,)), ((1,), (0,), (2,)), ((0,), (2,), (1,)))),
            ("b", (((0,), (1,), (2,)), ((2,), (1,), (0,)), ((1,), (0,), (2,)), ((1,), (2,), (0,)))),
        )
    }
    found, count = agreement([Judged(task, {c.id: c for c in cases}, said)])
    assert count == 2
    assert found
    assert found.n == 4
    # by hand: of 12 pairs 3 differ, and of 24 marks 13 say the first: o = 6, e = 2 * 13 * 11 / 23
    assert found.mean == pytest.approx(1 - 6 / (2 * 13 * 11 / 23))
    assert agreement([Judged(task, {c.id: c for c in cases}, {"a": said["a"]})]) == (None, 1)


def test_it_trains_nobody_and_reports_stay_as_they_are(run: Path, rrm: Rrm, tmp_path: Path) -> None:
    plan = run.with_name("study.toml")
    exported = {json.dumps(entry) for entry in Store(run).export()}
    report = rrm("report", run, "--json").out
    shown, table = rrm("show", run).out, rrm("export", run, "--format", "csv").out
    assert told(rrm, run, "--by", "simulated", "--set", "budget=1")
    assert rrm("report", run, "--json").out == report
    assert (rrm("show", run).out, rrm("export", run, "--format", "csv").out) == (shown, table)
    after = {json.dumps(entry) for entry in Store(run).export()}
    assert exported < after
    own = {json.loads(entry)["node"] for entry in exported}
    assert {json.loads(e)["node"] for e in after - exported if json.loads(e)["node"] != "study"}.isdisjoint(own)
    assert "Nothing to do" in rrm("plan", plan, "--out", run, "--set", "effort.cases=20").out
    # and whoever replays the run hears the first opinion, wherever the others stand in the record
    for budget in range(2, 50):
        if min(e.key for e in Store(run).read("study", "rejudged", Rejudged).values()) < min(own - {"study"}):
            break
        told(rrm, run, "--by", "simulated", "--set", f"budget={budget}")
    again = ["--out", tmp_path / "again", "-w", 1, "-q", "--set", "effort.cases=20"]
    replay = ["--set", "cast.evaluator.use=replay", "--set", f"cast.evaluator.run={run}"]
    assert rrm("run", plan, *again, *replay).code == 0
    first = {
        e["record"]["case"]: e["id"] for e in Store(run).export() if e["stream"] == "0/feedback" and e["node"] in own
    }
    heard = {e["record"]["case"]: e["id"] for e in Store(tmp_path / "again").export() if e["stream"] == "0/feedback"}
    assert heard
    assert all(first[case] == id for case, id in heard.items() if case in first)


def test_a_person_may_leave_and_is_asked_nothing_twice(
    run: Path, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = ["--by", f"{run.with_name('parts.py')}:Weary", "--set", "budget=5", "--node", "total", "--seed", "0"]
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PATIENCE", "8")
    ends = []
    while (said := rrm("rejudge", run, *by)).code != 0:
        ends.append(said.code)
        assert "still wait for a verdict" in said.err
    assert ends == [3, 3]
    seen = (tmp_path / "seen").read_text().split()
    assert len(seen) == len(set(seen)) == 40
    assert re.search(r"total +run +1 +\d+ +1\.00 \[", said.out)
    (entry,) = Store(run).read("study", "rejudged", Rejudged).values()
    assert Store(run).streams(entry.key) == ["0/feedback", "1/feedback"]
    assert len(Store(run).read(entry.key, "0/feedback", FEEDBACK)) == 20


def judged_by(desk: Desk, name: str) -> int:
    """Has a rater judge all that comes to them."""
    (rater,) = desk.register.invite([name])
    said = 0
    while handed := desk.next(rater.id):
        desk.say(rater.id, handed.id, Preference(case=handed.sheet.case, evaluator=name, first_better=1.0))
        said += 1
    return said


def test_people_judge_an_old_run_again(run: Path, rrm: Rrm) -> None:
    """Which casts no people, and is finished: `rrm judge` serves what waits, and says to run rejudge again."""
    by = ["rejudge", run, "--by", "people", "--node", "total", "--seed", "0"]
    said = rrm(*by)
    assert said.code == 3
    assert "When they are judged, the same `rrm rejudge` takes them." in said.err
    (key,) = waiting(Store(run))
    assert _waiting(Store(run), trust=False) == (({key}, {key}), False)
    with subprocess.Popen(
        [sys.executable, "-m", "rrm", "judge", str(run), "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        owner, link = (json.loads(process.stdout.readline()) for _ in range(2))
        ask = httpx.Client(base_url=link["url"].partition("#")[0], headers={"authorization": f"Bearer {link['token']}"})
        head = {"authorization": f"Bearer {owner['token']}"}
        try:
            case = until(lambda: ask.get("/api/case").json())
            assert case["sheet"]["node"] == "total"
            desk = Desk(place_of(run))
            assert judged_by(desk, "rater-1") == 40
            desk.close()
            until(lambda: ask.get("/api/progress", headers=head).json()["state"] == REJUDGE)
        finally:
            ask.close()
            process.terminate()
    assert rrm(*by).code == 0
    assert waiting(Store(run)) == set()
    assert "nobody is asked in a browser here" in rrm("judge", run).err


def until(told: Callable[[], T]) -> T:
    """What is told, once a server is there and it is something."""
    for _ in range(200):
        with contextlib.suppress(httpx.ConnectError):
            if found := told():
                return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_judge_keeps_what_is_judged_again_beside_a_trial(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    """And a run that goes on with the trial does not take it, nor is it run for it."""
    study.write_text(STUDY + '[trial]\nraters = 1\ncases = 2\npeople = ["people"]\n')
    out = tmp_path / "out"
    assert rrm("run", study, "--out", out, "--quiet").code == 3
    by = ["rejudge", out, "--by", "people", "--node", "total"]
    assert rrm(*by).code == 3
    waits, goes_on = _waiting(Store(out), trust=False)
    assert goes_on
    assert set(waits.apart) < set(waits.keys)
    desk, ran = Desk(place_of(out)), tmp_path / "ran"
    desk.tray.put("0" * 16, "0", sheets(1))
    command = [sys.executable, "-c", f"open({str(ran)!r}, 'a').write('x'); raise SystemExit(3)"]
    going = GoingOn(desk, command, waits=lambda: waits, grace=0, every=0.02)
    going.start()
    try:
        assert "0" * 16 not in desk.tray.waits(), "what is of no plan is put away"
        assert set(waits.apart) < set(desk.tray.waits())
        judged_by(desk, "ann")
        until(ran.exists)
        until(lambda: going.state == REJUDGE)
        assert rrm(*by).code == 0
        until(lambda: going.state == "waiting for verdicts")
    finally:
        going.stop()
        desk.close()


def test_what_was_said_before_is_not_asked_again(run: Path, rrm: Rrm) -> None:
    first = told(rrm, run, "--by", "simulated", "--set", "budget=2")
    before = list(Store(run).export())
    assert told(rrm, run, "--by", "simulated", "--set", "budget=2") == first
    assert list(Store(run).export()) == before
    told(rrm, run, "--by", "simulated", "--set", "budget=3")
    assert len(list(Store(run).export())) == len(before) + 160 + 4


def test_what_is_wrong_is_one_line(run: Path, rrm: Rrm, tmp_path: Path) -> None:
    for arguments, words in (
        (["--by", "simulatd"], "--by: no evaluator is called 'simulatd'. Did you mean 'simulated'?"),
        (["--by", "simulated", "--set", "budgt=3"], "--by: 'simulated' has no setting 'budgt'. Did you mean 'budget'?"),
        (["--by", "simulated", "--node", "totl"], "no node is called 'totl'. Did you mean 'total'?"),
        (["--by", "simulated", "--set", "feedback=step-labels"], "block, --by: "),
    ):
        said = rrm("rejudge", run, *arguments)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert words in said.err
    assert rrm("rejudge", tmp_path / "none", "--by", "simulated").code == 1
    assert not Store(run).read("study", "rejudged", Rejudged)


# -- numbers ----------------------------------------------------------------------------------------------------------

SUM = TASKS.build("column-sum", {"length": 4})


def case(*answers: str) -> Case:
    item = Item(task="column-sum", prompt="Add up: 1 2 3 4")
    shown = tuple(Response(item=item.id, text=t, sample=i) for i, t in enumerate(answers))
    return Case(item=item, responses=shown, exhibits=(Exhibit(text="x"),))


def test_what_each_kind_says_of_pairs() -> None:
    two, three = case("b", "a"), case("b", "a", "c")
    of = {"case": "", "evaluator": "e"}
    assert opinions(two, Preference(**of, first_better=0.9), SUM) == {("a", "b"): -1}
    assert opinions(two, Preference(**of, first_better=0.5), SUM) == {("a", "b"): 0}
    best = opinions(three, Ranking(**of, tiers=((2,), (0, 1))), SUM)
    assert best == {("b", "c"): -1, ("a", "c"): -1}, "the best of three says nothing of the other two"
    assert opinions(two, Rating(**of, score=0.2, response=1), SUM) == {("a", None): -1}
    assert opinions(two, Approval(**of, approved=True), SUM) == {("b", None): 1}
    assert opinions(two, Correction(**of, text="d"), SUM) == {("b", "d"): -1}


def test_which_answer_stands_first_is_chance_and_whether_one_will_do_is_not(tmp_path: Path) -> None:
    """Two who always prefer the same of two agree beyond chance; two who approve of everything need not."""
    store, of = Store(tmp_path), {"evaluator": "e"}
    pairs, ones = [case("a", str(n)) for n in range(9)], [case(str(n)) for n in range(9)]
    store.append("k", "0/cases", [*pairs, *ones])
    for key in ("k", "again"):
        store.append(key, "0/feedback", [Preference(case=c.id, first_better=1, **of) for c in pairs])
    found = second(store, "k", "again", ["0"], SUM)
    assert (found.cases, kappa(found.marks), found.agreement and found.agreement.mean) == (9, 1, 1)
    for key in ("k", "again"):
        store.append(key, "0/feedback", [Approval(case=c.id, approved=True, **of) for c in ones])
    assert second(store, "k", "again", ["0"], SUM).marks[18:] == [(1, 1)] * 18


def test_kappa_by_hand() -> None:
    """Ten pairs, agreement on seven; nine of the twenty marks are 1, eleven are -1: chance is .45² + .55²."""
    said = [(1, 1)] * 3 + [(-1, -1)] * 4 + [(1, -1)] * 3
    assert kappa(said) == pytest.approx((0.7 - 0.505) / (1 - 0.505))
    assert kappa([(1, 1), (-1, -1)]) == 1
    assert kappa([(1, -1), (-1, 1)]) == -1
    assert kappa([]) is None
    assert kappa([(1, 1)]) is None
