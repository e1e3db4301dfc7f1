"""Spot checks find a helper that broke after its gate, leave a good one alone, and cost what the record says."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Rrm

from rrm import Store, Study, build
from rrm.assemble import assemble
from rrm.errors import GateFailed, Unfinished
from rrm.evaluators.terminal import Terminal
from rrm.job import is_published, jobs
from rrm.level import Level
from rrm.plan import Spot
from rrm.records import FEEDBACK, Case, SpotResult
from rrm.report import Report
from rrm.spot import FEW, agreement, recall, rejudged
from rrm.worker import train

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import kill  # type: ignore[import-not-found]

ROOT = Path(__file__).parent.parent

PARTS = '''
import json, os
import numpy as np
from rrm import Assistant, Item, Query, Subtask, Task
from rrm.evaluators.simulated import Simulated
from rrm.roles import RewardModel, RewardTrainer, Scores

def faulty(number):
    return number % 10 == 0

class Lamp(Task):
    """A lamp by its number; one in ten is broken. Looking at one is a step of work."""
    work_name = "looks"
    def sample(self, rng, *, held_out=False):
        return Item(task="lamp", prompt=str(rng.randrange(100_000) + 100_000 * held_out))
    def answers(self, item):
        return ("fine", "broken")
    def estimate(self, case, *, budget):
        return [float((r.text == "broken") == faulty(int(case.item.prompt))) for r in case.responses]
    def work(self, case, *, budget):
        return 1
    def truth(self, item, text):
        return float((text == "broken") == faulty(int(item.prompt)))

class Street(Task):
    """Twelve lamps: how many are broken?"""
    work_name = "streets"
    subtasks = (Subtask(name="lamp", task="lamp", question="Is it broken?"),)
    def sample(self, rng, *, held_out=False):
        return Item(task="street", prompt=" ".join(str(rng.randrange(100_000) + 100_000 * held_out) for _ in range(12)))
    def answers(self, item):
        return ("0", "1", "2", "3", "4")
    def queries(self, case):
        for lamp in case.item.prompt.split():
            yield Query(subtask="lamp", item=Item(task="lamp", prompt=lamp))
    def estimate(self, case, *, budget):
        count = sum(e.text == "broken" for e in case.exhibits)
        return [-abs(int(r.text) - count) for r in case.responses]
    def work(self, case, *, budget):
        return 1
    def truth(self, item, text):
        return float(int(text) == sum(faulty(int(n)) for n in item.prompt.split()))

class Watchman(Assistant):
    """Right but for a share of the lamps, always the same ones; of streets it knows nothing."""
    class Settings(Assistant.Settings):
        wrong: float = 0.0
    def respond(self, items, *, n=1, seeds):
        return [[self.one(i, s.at(k).rng()) for k in range(n)] for i, s in zip(items, seeds)]
    def one(self, item, rng):
        if item.task == "street":
            return rng.choice("01234")
        slips = int(item.prompt) * 7919 % 1000 < 1000 * self.settings.wrong
        return ("fine", "broken")[faulty(int(item.prompt)) != slips]

class Judgement(RewardModel):
    def score(self, items, candidates):
        broken = [faulty(int(i.prompt.split()[0])) for i in items]
        rows = [[float((t == "broken") == b) for t in texts] for b, texts in zip(broken, candidates)]
        return Scores(np.array(rows), np.zeros((len(rows), len(rows[0]))))

class Judges(RewardTrainer):
    """Learns nothing, for it knows which lamps are broken."""
    def fit(self, judged, *, task, assistant, start, turn, seed):
        return Judgement()
    def load(self, folder, *, task, assistant):
        return Judgement()

class Impatient(Simulated):
    reproducible = False
    def judge(self, task, cases, *, seed, done=0):
        for number, feedback in enumerate(super().judge(task, cases, seed=seed, done=done)):
            if number == int(os.environ["PATIENCE"]):
                return
            yield feedback
'''

PLAN = """\
# Streets are judged by what a watchman says of their lamps.
seed = 3
effort = { rounds = 4, cases = 20, exam = 8 }
gate = "off"
spot = { items = 8 }
[cast]
assistant = "parts.py:Watchman"
evaluator = "simulated"
reward    = "parts.py:Judges"
policy    = { use = "best-of-n", n = 2 }
[node.lamp]
task = "parts.py:Lamp"
[node.street]
task = "parts.py:Street"
helped_by = { lamp = { node = "lamp" } }
"""
SILENT = 'node.street.helped_by.lamp.wrapped_in = [{ use = "constant", text = "fine" }]\n'
ARMS = f"[arm.good]\nnode.lamp.cast.assistant.wrong = 0.02\n[arm.silent]\n{SILENT}"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "parts.py").write_text(PARTS)
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def results(store: Store, key: str) -> list[SpotResult]:
    return list(store.read(key, "spot", SpotResult).values())


def keys(path: Path, *sets: str, arm: str = "") -> dict[str, str]:
    return jobs(Study.load(path, sets=sets, arms=[arm] if arm else []))[1][0].nodes


# -- what they find ---------------------------------------------------------------------------------------------------


def test_a_silent_helper_is_named_while_it_runs_and_a_good_one_is_not(plan: Path, rrm: Rrm) -> None:
    """A helper that finds 3 faults in 4 misses all of so many by a chance under 1 in 1000. The good one errs on 1 lamp
    in 50: of that comes an alarm in fewer than 1 run of 287, as of one that errs on 3 in 100 (`FEW`)."""
    plan.write_text(PLAN + ARMS)
    out = plan.with_name("out")
    said = rrm("run", plan, "--out", out, "-w", 1)
    assert said.code == 0
    alarms = [line for line in said.err.splitlines() if line.startswith("! ")]
    assert len(alarms) == 1, alarms
    pattern = (
        r"! street \(silent, seed 3\): spot checks of lamp \(lamp\): recall \.00 \[\.00, \.\d\d\] of (\d+) faults, "
    )
    found = re.match(pattern + r"\.75 needed; .*: what it says cannot be trusted$", alarms[0])
    assert found, alarms[0]
    assert int(found[1]) >= FEW
    assert re.search(
        r"street \(good, seed 3\)\n  spot checks of lamp \(lamp\): recall .* agreement .* answers\n", said.err
    )
    study = json.loads(rrm("report", out, "--json", "--trust").out)
    good, silent = (arm["nodes"]["street"]["spot"]["lamp"] for arm in study["arms"])
    assert (silent["helper"], silent["trusted"], silent["found"]) == ("lamp", False, 0)
    assert 0.25 ** silent["faults"] < 0.001
    assert silent["recall"]["high"] < 0.75
    assert (good["trusted"], good["found"] / good["faults"] > 0.75) == (True, True)
    assert good["agreement"]["n"] == good["checked"] == 16
    cautions = [v["text"] for v in study["verdicts"] if "spot checks" in v["text"]]
    assert len(cautions) == 1
    assert cautions[0].startswith("silent: what lamp said (lamp) could not be trusted at the one seed")
    page = (out / "report.html").read_text()
    assert "Spot checks of helpers" in page
    assert 'class="failed">0 of 1' in page


def test_of_helpers_that_nobody_asks_nothing_is_said(plan: Path, rrm: Rrm) -> None:
    plan.write_text(PLAN + '[arm.alone]\ncast = { protocol = "unassisted" }\n')
    said = rrm("run", plan, "--out", plan.with_name("out"), "-w", 1)
    assert said.code == 0
    assert "trained street" in said.err
    assert "spot checks" not in said.err


def test_half_is_drawn_and_half_is_chosen_by_what_the_user_would_say(plan: Path, tmp_path: Path) -> None:
    """One lamp in ten is broken: of what is chosen, all; of 16 that are drawn, 8 or more by a chance of 1 in 10000."""
    plan.write_text(PLAN + f"[arm.a]\n{SILENT}")
    store, study = Store(tmp_path / "out"), Study.load(plan)
    build.run(study, store, workers=1)
    key = jobs(study)[1][0].nodes["street"]
    seen: dict[str, list[Case]] = {
        part: [c for n in range(4) for c in store.read(key, f"spot-{n}/lamp/{part}/cases", Case).values()]
        for part in ("drawn", "chosen")
    }
    broken = {part: [int(c.item.prompt) % 10 == 0 for c in cases] for part, cases in seen.items()}
    assert (len(broken["drawn"]), sum(broken["drawn"]) < 8) == (16, True)
    assert broken["chosen"] == [True] * 16
    whole = [c for cases in seen.values() for c in cases]
    assert len({c.item.prompt for c in whole}) == 32
    assert all({r.sample: r.text for r in c.responses} == {0: "fine", 1: "broken"} for c in whole)
    helped = [c for n in range(4) for c in store.read(key, f"{n}/cases", Case).values()]
    asked = {e.query.item.prompt for c in helped for e in c.exhibits if e.query}
    assert {c.item.prompt for c in whole} <= asked
    last = results(store, key)[-1]
    assert (last.faults, last.found) == (16 + sum(broken["drawn"]), 0)
    assert last.agreed == 16 - sum(broken["drawn"])


def test_what_was_checked_is_not_checked_again(plan: Path, tmp_path: Path) -> None:
    """Forty lamps in all, and as many as 32 checks: drawn anew in each round, some would come twice."""
    (tmp_path / "parts.py").write_text(PARTS.replace("100_000", "40"))
    store, study = Store(tmp_path / "out"), Study.load(plan)
    build.run(study, store, workers=1)
    key = jobs(study)[1][0].nodes["street"]
    streams = [s for s in store.streams(key) if s.startswith("spot-") and s.endswith("/cases")]
    checked = [c.item.prompt for s in streams for c in store.read(key, s, Case).values()]
    assert len(checked) == len(set(checked)) > 16


def test_what_is_said_there_is_work_and_no_training(plan: Path, rrm: Rrm) -> None:
    """A user with spot checks learns the same, and looks at 8 lamps a round more."""
    told = {}
    for name, items in (("with", 8), ("without", 0)):
        out = plan.with_name(name)
        assert rrm("run", plan, "--out", out, "-w", 1, "-q", "--set", f"spot.items={items}").code == 0
        told[name] = json.loads(rrm("report", out, "--json", "--trust").out)["arms"][0]["nodes"]["street"]
    assert told["with"]["looks"] == 32
    assert told["with"]["spot_judgements"] == 32
    assert "looks" not in told["without"]
    assert told["without"]["spot"] is None
    for same in ("streets", "judgements", "helper_questions", "truth", "judge_accuracy", "curve"):
        assert told["with"][same] == told["without"][same]


def test_a_person_is_told_what_the_case_is_for(plan: Path, tmp_path: Path) -> None:
    plan.write_text(PLAN + '[arm.a]\nnode.lamp.cast.evaluator = "terminal"\n')
    study, store = Study.load(plan), Store(tmp_path / "out")
    lamp, street = jobs(study)[0]
    assert [u.interactive for u in assemble(street.plan)["street"].users()] == [False, True]
    assert [u.use for u in street.plan.users("street")] == ["simulated", "terminal"]
    simulated = Study.load(plan, sets=["node.lamp.cast.evaluator.use=simulated"])
    lamp = jobs(simulated)[0][0]
    train(lamp, store, lambda *event: None)
    level = Level(assemble(lamp.plan)["street"], store)
    assert level.node.level == 1
    (check,) = level._spots
    seated = Terminal().seated(check._seat, 0)
    assert seated.place == "lamp, spot check of what it tells street, level 0"


# -- stopping ---------------------------------------------------------------------------------------------------------


def test_cut_off_at_every_single_write(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exhaustively, as in `test_resume.py`; and here most writes are those of spot checks."""

    class Crash(BaseException):
        """Stands for the power being cut."""

    small = Study.load(plan, sets=["effort.cases=3", "effort.rounds=2", "effort.exam=2", "spot.items=4"])
    build.run(small, Store(tmp_path / "whole"), workers=1)
    wanted, left, real = kill.contents(tmp_path / "whole"), 0, Store.write

    def cutting(self: Store, *args: Any, **kwargs: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        real(self, *args, **kwargs)

    monkeypatch.setattr(Store, "write", cutting)
    for number in itertools.count(1):
        out, left = tmp_path / str(number), number
        try:
            build.run(small, Store(out), workers=1)
        except Crash:
            build.run(small, Store(out), workers=1)
            assert kill.differences(kill.contents(out), wanted) == [], number
        else:
            break
    assert number > 25


def test_a_user_who_stops_is_asked_nothing_twice(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.load(plan, sets=["node.lamp.cast.evaluator.use=parts.py:Impatient", "effort.cases=5"])
    monkeypatch.setenv("PATIENCE", "1000")
    build.run(study, Store(tmp_path / "whole"), workers=1)
    monkeypatch.setenv("PATIENCE", "1")
    stops: list[str] = []
    while True:
        try:
            build.run(study, Store(tmp_path / "parts"), workers=1)
            break
        except Unfinished as error:
            stops.append(str(error))
    assert len([s for s in stops if "lamp, spot checks of what it said in round 2" in s]) == 6
    assert kill.differences(kill.contents(tmp_path / "parts"), kill.contents(tmp_path / "whole")) == []


STRICT = f'[arm.strict]\n{SILENT}spot = {{ on_fail = "stop" }}\n'
LENIENT = f"[arm.lenient]\n{SILENT}"


def test_stop_ends_the_level_there_and_nothing_else(plan: Path, tmp_path: Path, rrm: Rrm) -> None:
    plan.write_text(PLAN + STRICT + '[arm.good]\nspot = { on_fail = "stop" }\n')
    said = rrm("run", plan, "--out", tmp_path / "out", "-w", 1)
    assert said.code == 1
    (line,) = [line for line in said.err.splitlines() if line.startswith("rrm: ")]
    assert re.match(
        r"rrm: street \(strict, seed 3\): spot checks of lamp \(lamp\): recall \.00 .*cannot be trusted\.", line
    )
    assert 'spot = "warn"' in line
    store = Store(tmp_path / "out")
    strict, good = (arm.nodes["street"] for arm in jobs(Study.load(plan))[1])
    assert (is_published(store, strict), is_published(store, good)) == (False, True)
    last = results(store, strict)[-1].moment.removeprefix("round-")
    assert not store.read(strict, f"{last}/feedback", FEEDBACK), "the user judged on what could not be trusted"
    before = kill.contents(tmp_path / "out")
    assert rrm("run", plan, "--out", tmp_path / "out", "-w", 1).err.splitlines()[-1] == line
    assert kill.contents(tmp_path / "out") == before
    plan.write_text(PLAN + LENIENT)
    build.run(Study.load(plan), store, workers=1)
    build.run(Study.load(plan), Store(tmp_path / "whole"), workers=1)
    key = jobs(Study.load(plan))[1][0].nodes["street"]
    assert key == strict
    assert results(store, key) == results(Store(tmp_path / "whole"), key)


@pytest.mark.parametrize("order", [STRICT + LENIENT, LENIENT + STRICT])
def test_of_arms_that_share_a_node_only_the_strict_one_stops(order: str, plan: Path, tmp_path: Path) -> None:
    plan.write_text(PLAN + order)
    store, study = Store(tmp_path / "out"), Study.load(plan)
    wanted, arms = jobs(study)
    assert arms[0].nodes == arms[1].nodes
    for _ in range(2):
        with pytest.raises(GateFailed, match=r"street \(strict, seed 3\): spot checks of lamp"):
            build.run(study, store, workers=1)
        assert all(is_published(store, job.key) for job in wanted)
    build.run(Study.load(plan, arms=["lenient"]), store, workers=1)


# -- what they cost, and what they are part of -------------------------------------------------------------------------


def test_what_is_planned_is_what_is_asked(rrm: Rrm, tmp_path: Path) -> None:
    """Each check shows all 8 answers, and asks 2 questions where the helper has helpers; 2 slots, 2 rounds, 3 checks.
    Where hardly any question is probably a fault, fewer are chosen: the plan says the most."""
    options = ("--fast", "--arm", "recursive", "--set", "spot.items=3", "--set", "effort.rounds=2")
    plan = ROOT / "configs" / "glossary.toml"
    said = json.loads(rrm("plan", plan, "--out", tmp_path, "--json", "--no-measure", *options).out)
    assert rrm("run", plan, "--out", tmp_path, "-w", 1, "-q", *options).code == 0
    (arm,) = json.loads(rrm("report", tmp_path, "--json").out)["arms"]
    planned = {n["node"]: (n["spot_judgements"], n["spot_questions"]) for n in said["nodes"]}
    assert planned == {"word-0": (0, 0), "word-1": (84, 0), **{f"word-{n}": (84, 24) for n in (2, 3, 4)}}
    assert said["total"]["spot_judgements"] == 4 * 84
    store = Store(tmp_path)
    for node in said["nodes"][1:]:
        streams = [s for s in store.streams(node["key"]) if s.startswith("spot-")]
        judged = [f for s in streams if s.endswith("/feedback") for f in store.read(node["key"], s, FEEDBACK).values()]
        answers = sum(store.length(node["key"], s) for s in streams if "/answers/" in s)
        found = arm["nodes"][node["node"]]
        assert (found["spot_judgements"], found["spot_questions"]) == (sum(f.comparisons for f in judged), answers)
        for real, most in ((7 * len(judged), 84), (answers, planned[node["node"]][1])):
            assert 0.7 * most <= real <= most


def test_a_plan_without_them_keeps_its_keys(plan: Path) -> None:
    before = keys(plan, "spot.items=0")
    assert keys(plan, "spot=off") == before
    assert keys(plan, "spot=off", "spot.items=5") == before
    after = keys(plan)
    assert {n for n in before if before[n] != after[n]} == {"street"}, "nobody checks who has no helpers"
    assert keys(plan, "spot=stop") == after
    assert keys(plan, "spot.items=9") != after
    for share in ("spot.recall=0.5", "spot.agreement=1.0"):
        assert keys(plan, share) == after, "nothing learns from them: nobody judges anew for another share"


def test_a_gate_that_is_off_has_no_part_in_a_key(plan: Path) -> None:
    before = keys(plan)
    for number in ("gate.items=7", "gate.agreement=0.5", "gate.recall=0.1", "gate.extra_rounds=3"):
        assert keys(plan, number) == before
    assert keys(plan, "gate.on_fail=warn") == keys(plan, "gate.on_fail=stop") != before
    assert keys(plan, "gate.on_fail=warn", "gate.items=7") != keys(plan, "gate.on_fail=warn")


def test_another_share_is_held_against_what_was_found_before(plan: Path, rrm: Rrm) -> None:
    """The record stays, and the report, the run and the plan say what the plan of today asks for."""
    plan.write_text(
        PLAN.replace("items = 8", "items = 8, recall = 0") + "[arm.a]\nnode.lamp.cast.assistant.wrong = 0.4\n"
    )
    out = plan.with_name("out")
    assert rrm("run", plan, "--out", out, "-w", 1, "-q").code == 0
    before = Store(out).length(keys(plan)["street"], "spot")

    def told(*sets: str) -> tuple[bool, float, int]:
        options = [option for one in sets for option in ("--set", one)]
        assert json.loads(rrm("plan", plan, "--out", out, "--json", *options).out)["total"]["nodes"] == 0
        code = rrm("run", plan, "--out", out, "-w", 1, "-q", *options).code
        (arm,) = json.loads(rrm("report", out, "--json", "--trust").out)["arms"]
        spot = arm["nodes"]["street"]["spot"]["lamp"]
        return spot["trusted"], spot["agreement_needed"], code

    assert told() == (False, 0.9, 0)
    assert told("spot.agreement=0.4") == (True, 0.4, 0)
    assert told("spot.agreement=0.9", "spot.on_fail=stop") == (False, 0.9, 1)
    assert Store(out).length(keys(plan)["street"], "spot") == before == 4


@pytest.mark.parametrize("order", [(0.9, 0.05), (0.05, 0.9)])
def test_arms_that_need_other_shares_are_one_node_and_stop_each_by_its_own(
    order: tuple[float, float], plan: Path, tmp_path: Path
) -> None:
    bad = "[arm.{0}]\nnode.lamp.cast.assistant.wrong = 0.5\n"
    stop = "spot = {{ on_fail = 'stop', agreement = {1}, recall = 0 }}\n"
    plan.write_text(PLAN + "".join((bad + stop).format(f"at-{share}".replace(".", "-"), share) for share in order))
    store, study = Store(tmp_path / "out"), Study.load(plan)
    wanted, arms = jobs(study)
    assert arms[0].nodes == arms[1].nodes
    with pytest.raises(GateFailed, match=r"street \(at-0-9, seed 3\).*\.90 needed"):
        build.run(study, store, workers=1)
    assert all(is_published(store, job.key) for job in wanted), "the other arm goes on"
    found = {run.arm.name: run.spots("street")["lamp"] for run in Report.from_store(store, trust=True).study.runs}
    assert {name: (r.trusted, r.agreement_needed) for name, r in found.items()} == {
        "at-0-9": (False, 0.9),
        "at-0-05": (True, 0.05),
    }
    assert found["at-0-9"].agreed == found["at-0-05"].agreed
    build.run(Study.load(plan, arms=["at-0-05"]), store, workers=1)


def alarms(right: float, needed: float, *, each: int = 2, rounds: int = 23) -> float:
    """How likely a helper is called bad whose answers are `right` so often, with so many verdicts more in each round:
    exactly, by the number of right ones so far in runs without an alarm."""
    quiet, gone = {0: 1.0}, 0.0
    for n in range(each, each * rounds + 1, each):
        now = dict.fromkeys(range(n + 1), 0.0)
        for before, chance in quiet.items():
            for hit in range(each + 1):
                now[before + hit] += chance * math.comb(each, hit) * right**hit * (1 - right) ** (each - hit)
        loud = {k for k in now if not counted(agreed=k, checked=n, needed=needed).trusted}
        gone, quiet = gone + sum(now[k] for k in loud), {k: p for k, p in now.items() if k not in loud}
    return gone


def counted(*, agreed: int, checked: int, needed: float) -> SpotResult:
    one = SpotResult(
        moment="round-0", subtask="s", helper="h", checked=checked, agreed=agreed, faults=0, found=0,
        agreement_needed=0, recall_needed=0, trusted=True,
    )  # fmt: skip
    return rejudged([one], Spot(agreement=needed, recall=0))[0]


def test_false_alarms_are_as_seldom_as_is_said() -> None:
    said = re.sub(
        r"\s+", " ", (ROOT / "docs" / "design" / "gate.md").read_text() + (ROOT / "rrm" / "spot.py").read_text()
    )
    for right, needed, one_in in ((0.97, 0.9, 287), (0.9, 0.75, 552), (0.95, 0.9, 59), (0.9, 0.9, 7), (0.75, 0.75, 8)):
        assert round(1 / alarms(right, needed)) == one_in
        assert re.search(rf"\b(of|or) {one_in}\b", said), one_in
    silent = alarms(0.0, 0.75, rounds=3)
    assert silent == pytest.approx(1), "one that finds nothing is called bad as soon as there are verdicts enough"


def test_figures_are_shares_with_wilsons_interval() -> None:
    one = SpotResult(
        moment="round-0", subtask="s", helper="h", checked=10, agreed=9, faults=25, found=3, agreement_needed=0.9,
        recall_needed=0.75, trusted=False,
    )  # fmt: skip
    found, agreed = recall(one), agreement(one)
    assert found
    assert agreed
    assert (found.mean, found.n, agreed.mean, agreed.n) == (0.12, 25, 0.9, 10)
    assert (found.low, found.high) == (pytest.approx(0.0417, abs=1e-4), pytest.approx(0.2996, abs=1e-4))
