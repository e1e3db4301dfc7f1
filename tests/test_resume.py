"""A run may stop anywhere, by a person's wish or by kill -9: run again, it ends with the same bytes."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from pathlib import Path

import pytest
from conftest import STUDY, Rrm

from rrm import build
from rrm.errors import Unfinished
from rrm.job import is_published, jobs
from rrm.plan import Study
from rrm.records import GateResult
from rrm.store import Store

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import kill  # type: ignore[import-not-found]

IMPATIENT = '''
from rrm import Evaluator
from rrm.evaluators.simulated import Simulated

class Impatient(Simulated):
    """Judges so many cases at a sitting; how many is told from outside, for it changes nothing that is said."""
    reproducible = False
    def judge(self, task, cases, *, seed, done=0):
        import os
        for number, feedback in enumerate(super().judge(task, cases, seed=seed, done=done)):
            if number == int(os.environ["PATIENCE"]):
                return
            yield feedback
'''


PRACTICE = '''
import json
from rrm.roles import PolicyTrainer
from rrm_assistants.careless_adder import CarelessAdder

class Practised(CarelessAdder):
    def save(self, folder):
        (folder / "slip.json").write_text(json.dumps(self.settings.slip))

class Practice(PolicyTrainer):
    """Learns nothing for three rounds; then it can add."""
    def improve(self, assistant, task, reward, *, turn, seed):
        return Practised(Practised.Settings(slip=0.9 if turn.number < 3 else 0.0))

    def load(self, folder, *, task, assistant, reward):
        return Practised(Practised.Settings(slip=json.loads((folder / "slip.json").read_text())))
'''


def _study(path: Path, *sets: str) -> Study:
    return Study.load(path, sets=sets)


@pytest.mark.parametrize("patience", [1, 4])
def test_an_evaluator_may_stop_after_any_case(
    patience: int, study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    study.write_text(
        STUDY.replace('"simulated"', f'"{tmp_path / "impatient.py"}:Impatient", mistake = 0.3, fatigue = 0.02')
    )
    monkeypatch.setenv("PATIENCE", "1000000")
    build.run(_study(study), Store(tmp_path / "whole"), workers=1)
    monkeypatch.setenv("PATIENCE", str(patience))
    stops = 0
    while True:
        try:
            build.run(_study(study), Store(tmp_path / "parts"), workers=1)
            break
        except Unfinished:
            stops += 1
    assert stops >= 30 // patience // 2
    assert kill.differences(kill.contents(tmp_path / "parts"), kill.contents(tmp_path / "whole")) == []


@pytest.mark.parametrize(("extra", "rounds", "passed"), [(1, 3, False), (5, 4, True)])
def test_rounds_are_added_until_the_gate_passes_or_their_number_ends(
    extra: int, rounds: int, passed: bool, study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two rounds are planned, and the fourth brings the skill; a run that stops within them goes on as it would."""
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    (tmp_path / "practice.py").write_text(PRACTICE)
    text = STUDY.replace('"best-of-n", n = 4', f'"{tmp_path / "practice.py"}:Practice"')
    text = text.replace('"simulated"', f'"{tmp_path / "impatient.py"}:Impatient"').replace("budget = 5", "budget = 20")
    study.write_text(text.replace("items = 4", f'items = 4, extra_rounds = {extra}, on_fail = "warn"'))
    for folder, patience in (("whole", "1000000"), ("parts", "3")):
        monkeypatch.setenv("PATIENCE", patience)
        for _ in range(100):
            try:
                build.run(_study(study), Store(tmp_path / folder), workers=1)
                break
            except Unfinished:
                assert folder == "parts"
    store = Store(tmp_path / "parts")
    for job in jobs(_study(study))[0]:
        gates = list(store.read(job.key, "gate", GateResult).values())
        assert [g.moment for g in gates] == [f"round-{n}" for n in range(1, rounds)]
        assert [g.passed for g in gates] == [False] * (rounds - 2) + [passed]
        assert is_published(store, job.key)
    assert kill.differences(kill.contents(tmp_path / "parts"), kill.contents(tmp_path / "whole")) == []


def test_the_command_says_unfinished_by_exit_3(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rrm: Rrm
) -> None:
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    study.write_text(STUDY.replace('"simulated"', f'"{tmp_path / "impatient.py"}:Impatient"'))
    monkeypatch.setenv("PATIENCE", "2")
    said = rrm("run", study, "--out", tmp_path / "out", "-w", 1)
    assert said.code == 3
    assert "4 of 6 cases still wait for a verdict" in said.err
    shown = rrm("show", tmp_path / "out")
    assert "round 0: 2 of 6 cases judged" in shown.out
    assert "begun, not finished" in rrm("plan", study, "--out", tmp_path / "out", "--no-measure").out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(workers: str, study: Path, tmp_path: Path) -> None:
    options = ["--workers", workers, "--set", "effort.cases=40", "--set", "effort.rounds=3"]
    length = kill.finish(study, tmp_path / "whole", options)
    wanted, rng = kill.contents(tmp_path / "whole"), random.Random(int(workers))
    out, kills = tmp_path / "out", 0
    for _ in range(3):
        process = kill.start(study, out, options)
        time.sleep(rng.uniform(0.3, 0.95) * length)
        kills += kill.kill(process, whole_group=rng.random() < 0.5)
    kill.finish(study, out, options)
    assert kill.differences(kill.contents(out), wanted) == []
    assert not list(out.rglob("*.part*"))


POLICY_GRADIENT = """
effort = { rounds = 2, cases = 12, exam = 8 }
gate = "off"
[cast]
assistant = { use = "deep-sets" }
reward = { use = "bradley-terry", steps = 3, last_steps = 3 }
policy = { use = "policy-gradient", steps = 3, last_steps = 3, batch = 8 }
[node.sum-0]
task = { use = "handwriting", level = 0 }
"""


@pytest.mark.parametrize("saved", [0, 1])
def test_chance_within_a_network_is_the_same_after_a_stop(
    saved: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws too: whether somebody proposed answers before a round is learnt from must not matter to it."""
    plan = tmp_path / "plan.toml"
    plan.write_text(POLICY_GRADIENT)
    build.run(_study(plan), Store(tmp_path / "whole"), workers=1)
    save, left = Store.save_agent, saved

    def stops(self: Store, *given: object) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        save(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save_agent", stops)
        with pytest.raises(Crash):
            build.run(_study(plan), Store(tmp_path / "parts"), workers=1)
    build.run(_study(plan), Store(tmp_path / "parts"), workers=1)
    assert kill.differences(kill.contents(tmp_path / "parts"), kill.contents(tmp_path / "whole")) == []


class Crash(BaseException):
    """Stands for the power being cut: nothing catches it."""


def test_cut_off_at_every_single_write(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exhaustively: for every n, a run that ends just before its n-th change of the folder, and one that goes on."""
    small = ("node.total.task.length=8", "effort.cases=3", "effort.exam=2", "gate.items=2")
    build.run(_study(study, *small), Store(tmp_path / "whole"), workers=1)
    wanted, left = kill.contents(tmp_path / "whole"), 0

    def cut(name: str) -> None:
        real = getattr(Store, name)

        def cutting(self: Store, *args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Store, name, cutting)

    for name in ("write", "save_agent", "drop_agent", "promote_agent", "tidy_agents", "spend"):
        cut(name)
    for number in itertools.count(1):
        out, left = tmp_path / str(number), number
        try:
            build.run(_study(study, *small), Store(out), workers=1)
        except Crash:
            build.run(_study(study, *small), Store(out), workers=1)
            assert kill.differences(kill.contents(out), wanted) == [], number
        else:
            break
    assert number > 35


# -- what is trained again --------------------------------------------------------------------------------------------


def keys(path: Path, *sets: str) -> dict[str, str]:
    (arm,) = jobs(_study(path, *sets))[1]
    return arm.nodes


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("node.total.effort.cases=7", {"total"}),
        ("node.block.effort.cases=7", {"block", "total"}),
        ("cast.evaluator.budget=4", {"block", "total"}),
        ("seed=8", {"block", "total"}),
        ("effort.fresh=run", {"total"}),  # without helpers it changes nothing
        ("cast.protocol.use=unassisted", {"total"}),
        ("node.total.gate.on_fail=stop", set()),  # stopping or going on is not part of what is learnt
        ("node.total.gate.on_fail=off", {"total"}),
        ("node.total.gate.agreement=0.5", {"total"}),
    ],
)
def test_a_change_trains_a_node_again_and_what_it_helps(change: str, again: set[str], study: Path) -> None:
    before, after = keys(study), keys(study, change)
    assert {name for name in before if before[name] != after[name]} == again


def test_code_counts_and_comments_do_not(study: Path, tmp_path: Path) -> None:
    source = "from rrm.evaluators.simulated import Simulated\n\nclass Mine(Simulated):\n    x = 1\n"

    def key(text: str, file: str) -> str:
        (tmp_path / file).write_text(text)
        study.write_text(STUDY.replace('"simulated"', f'"{tmp_path / file}:Mine"'))
        return keys(study)["total"]

    first = key(source, "a.py")
    assert key("# a comment\n" + source.replace("x = 1", "x  =  1  # why"), "b.py") == first
    assert key(source.replace("x = 1", "x = 2"), "c.py") != first


def test_a_second_run_trains_nothing_and_changes_no_byte(study: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", []
    build.run(_study(study), Store(out), workers=1)
    before = kill.contents(out)
    build.run(_study(study), Store(out), workers=1, progress=lambda *event: told.append(event))
    assert told == []
    assert kill.contents(out) == before


def test_nodes_that_arms_share_are_trained_once(study: Path) -> None:
    study.write_text(STUDY + '[arm.a]\n[arm.b]\ncast = { protocol = { use = "unassisted" } }\n')
    wanted, arms = jobs(_study(study))
    assert [(job.name, len(job.arms)) for job in wanted] == [("block", 2), ("total", 1), ("total", 1)]
    assert arms[0].nodes["block"] == arms[1].nodes["block"]


def test_of_an_arm_with_several_plans_the_last_run_counts(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    """Run it small, then large, then small again: the report is of the small one, and resuming records nothing new."""
    out, seen = tmp_path / "out", []
    for cases in (3, 4, 3, 3):
        assert rrm("run", study, "--out", out, "-w", 1, "--set", f"effort.cases={cases}").code == 0
        seen.append(json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]["total"]["judgements"])
    assert seen == [6, 8, 6, 6]
    assert Store(out).length("study", "arms") == 3
