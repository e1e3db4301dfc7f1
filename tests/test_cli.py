"""The command line as people and scripts meet it: what goes where, how it ends, and what it teaches."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import STUDY, Rrm

from rrm import Arm, Item, Response, Store, __version__
from rrm.assemble import check_apart
from rrm.cli.templates import TEMPLATES
from rrm.job import jobs
from rrm.plan import Study
from rrm.records import Case, Preference
from rrm_tasks.column_sum import ColumnSum

ROOT = Path(__file__).parent.parent
COMMANDS = ("check", "export", "graph", "list", "new", "plan", "prune", "rejudge", "report", "run", "show", "verify")
COMMAND = [sys.executable, "-c", "from rrm.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in ("", "tasks", "assistants"))}


@pytest.fixture
def trained(study: Path, rrm: Rrm) -> Path:
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0
    return out


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_the_exit_codes(rrm: Rrm) -> None:
    said = rrm("--help")
    assert (said.code, said.err) == (0, "")
    assert all(re.search(rf"^  {name} ", said.out, re.MULTILINE) for name in COMMANDS)
    assert "130: interrupted by Ctrl-C" in re.sub(r"\s+", " ", said.out)
    assert "3: unfinished" in re.sub(r"\s+", " ", said.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_an_example(command: str, rrm: Rrm) -> None:
    said = rrm(command, "--help")
    assert said.code == 0
    assert re.search(rf"^  rrm {command}\b", said.out, re.MULTILINE)


def test_version(rrm: Rrm) -> None:
    assert rrm("--version").out == f"rrm {__version__}\n"


@pytest.mark.parametrize(
    "call", ["import rrm", "import rrm.cli", "from rrm.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_starting_up_loads_nothing_heavy(call: str) -> None:
    heavy = "('torch', 'transformers', 'networkx', 'pydantic', 'numpy', 'sqlalchemy', 'rich', 'jinja2', 'sklearn')"
    code = f"{call}\nimport sys; print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert said.stderr == "[]\n"


# -- run --------------------------------------------------------------------------------------------------------------


def test_run_prints_results_on_stdout_and_progress_on_stderr(study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")
    said = rrm("run", study, "--out", out, "-w", 1)
    assert said.code == 0
    assert "Truth on held-out items" in said.out
    assert said.out.endswith(f"report: {out / 'report.html'}\n")
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert said.err.splitlines() == ["[1/2] trained block (run, seed 7)", "[2/2] trained total (run, seed 7)"]
    again = rrm("run", study, "--out", out)
    assert again.err == "2 of 2 nodes are trained already\n"
    assert again.out == said.out


def test_quiet_is_quiet(study: Path, rrm: Rrm) -> None:
    assert rrm("run", study, "--out", study.with_name("out"), "-w", 1, "--quiet").err == ""


def test_without_out_a_run_goes_to_runs(study: Path, rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.parent)
    study.write_text(STUDY + "[fast]\neffort = { rounds = 1, cases = 2 }\n")
    assert rrm("run", study, "-w", 1, "-q", "--fast").code == 0
    assert [p.name for p in Path("runs").iterdir()] == ["study-fast"]
    assert rrm("run", "study.toml", "-w", 1, "-q").code == 0
    assert sorted(p.name for p in Path("runs").iterdir()) == ["study", "study-fast"]


def test_arms_and_changes_from_the_command_line(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + '[arm.a]\n[arm.b]\ncast = { protocol = { use = "unassisted" } }\n[vary]\nseed = [0, 1]\n')
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "-q", "--arm", "b", "--set", "effort.cases=3").code == 0
    arms = json.loads(rrm("report", out, "--json").out)["arms"]
    assert [(a["arm"]["name"], a["seed"]) for a in arms] == [("b", 0), ("b", 1)]
    assert all(node["judgements"] == 6 for a in arms for node in a["nodes"].values())


PERSON = """
from rrm.evaluators.simulated import Simulated
class Person(Simulated):
    interactive = True
"""


def test_a_person_is_told_before_judging_anew(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    (tmp_path / "person.py").write_text(PERSON)
    study.write_text(STUDY.replace('"simulated"', '"person.py:Person"'))
    out = study.with_name("out")
    told = ("run", study, "--out", out, "--set", "gate=off")
    assert "anew" not in rrm(*told).err
    said = rrm(*told, "--set", "node.total.effort.cases=7").err.splitlines()
    assert said[0] == "total is to be judged anew (effort.cases 6 → 7); 12 earlier judgements of it stay on record"
    assert [line for line in said if "anew" in line] == said[:1]
    assert "anew" not in rrm(*told, "--set", "node.total.effort.cases=7").err, "nothing is to be judged"
    assert "anew" not in rrm(*told, "-q", "--set", "node.total.effort.cases=8").err


def test_bars_in_a_terminal(study: Path) -> None:
    """In a terminal there are bars while it trains, and a line for each node stays."""
    parent, child = pty.openpty()
    command = [*COMMAND, "run", study, "--out", study.with_name("out"), "-w", "1"]
    env = {**ENVIRONMENT, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, env=env)
    os.close(child)
    seen = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    out, _ = process.communicate()
    os.close(parent)
    assert process.returncode == 0
    assert b"\x1b[" in seen
    assert b"all nodes" in seen
    assert b"[2/2] trained total" in seen
    assert b"\x1b[" not in out


SLOW = """
from rrm.evaluators.simulated import Simulated
import time
class Slow(Simulated):
    reproducible = False
    def values(self, *a):
        time.sleep(0.2)
        return super().values(*a)
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupting_says_how_to_go_on(workers: str, study: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    study.write_text(STUDY.replace('"simulated"', f'"{tmp_path / "slow.py"}:Slow"') + "[vary]\nseed = [0, 1]\n")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "run", study, "--out", out, "-w", workers],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever runs the tests in the background ignores the signal, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "record.sqlite").is_file() or not any("feedback" in e["stream"] for e in Store(out).export()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to the whole group
    said, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("rrm: interrupted; nothing that was recorded is lost")
    assert said == ""


def test_a_closed_pipe_is_borne_quietly(trained: Path) -> None:
    for command in (["export", trained], ["list"], ["report", trained]):
        process = subprocess.Popen(
            [*COMMAND, *command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.stderr.close()
        process.wait()
        assert err == b"", command


# -- reading a run ----------------------------------------------------------------------------------------------------


def test_report_json_is_one_object_of_schema_1(trained: Path, rrm: Rrm) -> None:
    found = json.loads(rrm("report", trained, "--json").out)
    assert found["schema"] == 1
    (arm,) = found["arms"]
    assert (arm["arm"], arm["seed"]) == ({"name": "run"}, 7)
    node = arm["nodes"]["total"]
    assert {
        "level",
        "task",
        "truth",
        "zero_shot",
        "majority",
        "judge_accuracy",
        "reward_accuracy",
        "judgements",
        "helper_questions",
        "helper_distinct",
        "cpu_seconds",
        "gate",
    } <= node.keys()
    assert (node["level"], node["task"], node["judgements"], node["helper_questions"]) == (1, "column-sum", 12, 48)
    assert node["truth"].keys() == {"mean", "low", "high", "n"}
    assert found["gap_recovered"].keys() == {"block", "total"}


def test_reports_of_several_runs(trained: Path, rrm: Rrm, tmp_path: Path) -> None:
    text = rrm("report", trained, trained).out
    assert text.count(f"== {trained}") == 2
    found = json.loads(rrm("report", trained, trained, "--json").out)
    assert [r["run"] for r in found["runs"]] == [str(trained)] * 2
    assert found["schema"] == 1
    page = tmp_path / "page.html"
    assert rrm("report", trained, "--html", page).out.endswith(f"report: {page}\n")
    assert page.is_file()
    assert rrm("report", trained, "--html", tmp_path / "no" / "page.html").code == 1


def test_export_is_canonical_json_lines(trained: Path, rrm: Rrm, tmp_path: Path) -> None:
    said = rrm("export", trained, "--format", "jsonl")
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert [(e["node"], e["stream"], e["seq"]) for e in entries] == sorted(
        (e["node"], e["stream"], e["seq"]) for e in entries
    )
    assert all(e.keys() == {"node", "stream", "seq", "id", "type", "record"} for e in entries)
    file = tmp_path / "x.jsonl"
    assert rrm("export", trained, "--out", file).out == ""
    assert file.read_text() == said.out
    assert rrm("export", trained, "--out", tmp_path / "no" / "x").code == 1


def test_show_lists_nodes_and_shows_a_case_by_place_or_id(trained: Path, rrm: Rrm) -> None:
    assert re.search(r"^total +[0-9a-f]{16} +run, seed 7 +trained$", rrm("show", trained).out, re.MULTILINE)
    by_place = rrm("show", trained, "total/0/3").out
    assert "help 4, block was asked 'Add up: " in by_place
    case = next(json.loads(line) for line in rrm("export", trained).out.splitlines() if '"0/cases"' in line)
    assert case["id"] in rrm("show", trained, case["id"]).out
    gate = rrm("show", trained, "block/gate-1/0")
    assert gate.code == 0
    said = re.search("^judgement: (preference|rating): (.*)$", gate.out, re.MULTILINE)
    assert said
    assert re.search(r"(first better|score) [\d.]+", said[2])
    assert not re.search(r"[{}']", said[2]), "no terms of Python"


def test_show_lists_the_rounds_of_a_node(trained: Path, study: Path, rrm: Rrm) -> None:
    said = rrm("show", trained, "total")
    assert said.code == 0
    rows = re.findall(r"^run, seed 7 +(\S.*?) +(\d+) +(\d+) +([0-9a-f]{16}/\S+)", said.out, re.MULTILINE)
    assert [row[:3] for row in rows] == [("round 0", "6", "6"), ("round 1", "6", "6"), ("gate-1", "4", "4")]
    assert rrm("show", trained, rows[1][3]).out.startswith("total 1/0, of run, seed 7")
    assert rrm("show", trained, rows[0][3].partition("/")[0]).out == said.out, "by its key"
    assert rrm("run", study, "--out", trained, "-w", 1, "-q", "--set", "node.total.effort.cases=7").code == 0
    assert re.findall(r"round 0 +(\d+)", rrm("show", trained, "total").out) == ["7"], "what is replaced is left out"


def test_a_case_that_is_not_there_is_told_by_what_is(trained: Path, rrm: Rrm) -> None:
    for wanted, words in {
        "total/0/9999": "total/0 has cases 0 to 5, and no 9999",
        "total/7/0": "total has no 7: write one of 0, 1, gate-1",
        "totl/0/0": "no node is called 'totl'. Did you mean 'total'?",
        "xyz/0/0": "no node is called 'xyz'. There are: block, total. write",
    }.items():
        said = rrm("show", trained, wanted)
        assert said.code == 1
        assert words in said.err, said.err
        assert said.err.count("block, total") == 1, said.err


def test_show_says_which_arm_a_case_is_of(study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "-q", "--set", "vary.seed=[0,1]").code == 0
    said = rrm("show", out, "total/0/3").out.splitlines()[0]
    other = re.search(r"of run, seed 0; for run, seed 1 write ([0-9a-f]{16}/0/3)", said)
    assert other, said
    assert "run, seed 1" in rrm("show", out, other[1]).out.splitlines()[0]


def test_superseded_nodes_are_marked_and_pruned(trained: Path, study: Path, rrm: Rrm) -> None:
    again = ("run", study, "--out", trained, "-w", 1, "-q", "--set")
    assert rrm(*again, "node.total.effort.cases=7").code == 0
    states = re.findall(r"^(\w+) +([0-9a-f]{16}) .*?(trained.*?) *$", rrm("show", trained).out, re.MULTILINE)
    assert [(name, state) for name, _, state in states] == [
        ("block", "trained"), ("total", "trained, superseded"), ("total", "trained"),
    ]  # fmt: skip
    old, new = states[1][1], states[2][1]
    assert len(rrm("show", trained, "total/0/6").out.splitlines()) > 3, "of the plan that counts"
    before, report = rrm("export", trained).out, rrm("report", trained, "--json").out
    listed = rrm("prune", trained).out
    assert f"total  {old}  agent and record" in listed
    assert "nothing deleted" in listed
    assert rrm("export", trained).out == before
    assert "1 superseded, deleted." in rrm("prune", trained, "--yes").out
    after = [json.loads(line)["node"] for line in rrm("export", trained).out.splitlines()]
    assert old not in after
    assert new in after
    assert not (trained / "agents" / old).exists()
    assert rrm("report", trained, "--json").out == report
    assert rrm("prune", trained).out == "No node is superseded.\n"
    assert old not in rrm("show", trained).out
    assert rrm(*again, "node.total.effort.cases=6").code == 0, "and may be trained once more"


def test_what_was_never_begun_is_told_so(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    """As after an interruption, or while a run goes on: the arms are recorded, and one of two seeds is trained."""
    seeds = ("--set", "vary.seed=[0, 1]")
    assert rrm("run", study, "--out", tmp_path / "out", "-w", 1, "-q", "--set", "seed=0").code == 0
    Store(tmp_path / "out").append("study", "arms", jobs(Study.load(study, sets=seeds[1:]))[1])
    found = json.loads(rrm("plan", study, "--out", tmp_path / "out", "--json", "--no-measure", *seeds).out)["nodes"]
    states = [(n["node"], n["arms"], n["state"]) for n in found]
    one, other = (["run, seed 0"], ["run, seed 1"])
    assert states == [
        ("block", one, "trained"), ("total", one, "trained"),
        ("block", other, "not begun"), ("total", other, "waits for block"),
    ]  # fmt: skip


def test_what_was_not_to_be_measured_is_told_so(study: Path, rrm: Rrm) -> None:
    said = rrm("plan", study, "--out", study.with_name("out"), "--no-measure").out
    assert "How long it takes is not known: with --no-measure nothing is measured." in said


def test_python_m_rrm_is_rrm() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "rrm", "--version"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert said.stdout == f"rrm {__version__}\n"


HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold]x[/bold]\u202egnp.exe\r\n<script>\x00"


def test_whatever_an_agent_said_is_shown_as_text(tmp_path: Path, rrm: Rrm) -> None:
    item = Item(task=HOSTILE, prompt=HOSTILE)
    case = Case(item=item, responses=(Response(item=item.id, text=HOSTILE, agent=HOSTILE),) * 2, place="0/0")
    store = Store(tmp_path)
    key = "0123456789abcdef"
    store.append(key, "0/cases", [case])
    store.append(key, "0/feedback", [Preference(case=case.id, evaluator=HOSTILE, first_better=1.0)])
    store.append("study", "arms", [Arm(name=HOSTILE, seed=0, plan={}, nodes={HOSTILE: key})])
    for said in (
        rrm("show", tmp_path),
        rrm("show", tmp_path, f"{key}/0/0"),
        rrm("show", tmp_path, HOSTILE.strip("\x00")),
    ):
        text = said.out + said.err
        assert text
        assert not re.search("[\x00\x1b\x07\u202e\r]", text)


@pytest.mark.parametrize("text", [HOSTILE, "a\nb: Traceback"])
def test_a_message_is_one_inert_line(text: str, rrm: Rrm, tmp_path: Path) -> None:
    said = rrm("run", tmp_path / text.replace("\x00", "").replace("/", ""))
    assert said.code == 1
    assert len(said.err.splitlines()) == 1
    assert not re.search("[\x00\x1b\x07\u202e\r]", said.err)


# -- graph, list, check, new ------------------------------------------------------------------------------------------


def test_graph_as_text_and_as_pictures(study: Path, rrm: Rrm, tmp_path: Path) -> None:
    assert rrm("graph", study).out == 'flowchart BT\n  n0["block"]\n  n1["total"]\n  n0 -- "block" --> n1\n'
    svg = tmp_path / "graph.svg"
    assert rrm("graph", study, "--out", svg).out == f"{svg}\n"
    assert svg.read_text().startswith("<svg")
    assert rrm("graph", study, "--out", tmp_path / "no" / "graph.svg").code == 1


def test_list_names_every_component_and_what_it_does(rrm: Rrm) -> None:
    text = rrm("list").out
    for name in ("column-sum", "careless-adder", "simulated", "recursive", "best-of-n", "tally", "random"):
        assert re.search(rf"^  {name} +\S.+[.:]", text, re.MULTILINE), name
    found = json.loads(rrm("list", "--json").out)
    assert all(entry["does"] for entries in found.values() for entry in entries)
    assert {e["name"] for e in json.loads(rrm("list", "tasks", "--json").out)["task"]} >= {"column-sum", "glossary"}
    said = rrm("list", "taks")
    assert said.code == 1
    assert "Did you mean 'task'" in said.err


def test_list_imports_no_component() -> None:
    code = "import sys\nfrom rrm.cli import main\ntry: main(['list'])\nexcept SystemExit: print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert said.stdout.endswith("False\n")


def test_check_says_what_a_plan_holds(study: Path, rrm: Rrm) -> None:
    said = rrm("check", study)
    assert said.code == 0
    assert "fine. 1 arm, 2 nodes (" in said.out
    assert "block, total" in said.out
    assert "Every component of every arm can be built" in said.out
    assert [p.name for p in study.parent.iterdir()] == ["study.toml"]


def test_check_counts_arms_apart_from_their_seeds(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + "[arm.a]\n[arm.b]\neffort.exam = 4\n[vary]\nseed = [0, 1, 2]\neffort.cases = [6, 7]\n")
    assert "fine. 2 arms × 3 seeds × 2 settings, 2 nodes (" in rrm("check", study).out


def test_check_builds_the_nodes_of_every_arm(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + '[arm.a]\n[arm.b]\nnode.total.cast = { policy = "regression" }\n')
    said = rrm("check", study)
    assert said.code == 1
    assert "node.total.cast.policy" in said.err


MIXED = """
from rrm import Item, Task
class Mixed(Task):
    def sample(self, rng, *, held_out=False):
        return Item(task="mixed", prompt=rng.choice("abcd"))
    def estimate(self, case, *, budget):
        return [float(r.text == case.item.prompt) for r in case.responses]
    def truth(self, item, text):
        return float(text == item.prompt)
"""


def test_a_task_of_ones_own_whose_splits_are_not_apart_is_refused(tmp_path: Path, rrm: Rrm) -> None:
    """Else its "truth on held-out items" would be that of what it was trained on."""
    (tmp_path / "mixed.py").write_text(MIXED)
    plan = tmp_path / "mixed.toml"
    plan.write_text(STUDY.partition("[node.block]")[0] + '[node.one]\ntask = { use = "mixed.py:Mixed" }\n')
    for command in (["check", plan], ["plan", plan], ["run", plan, "--out", tmp_path / "out"]):
        said = rrm(*command)
        assert said.code == 1
        assert said.err.startswith(
            f"rrm: {plan}: node.one.task: sample draws the same items for training and held out, such as 'a', 'b', "
        )
        assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    listed = "    def items(self, *, held_out=False):\n        return [Item(task='mixed', prompt=p) for p in 'abcd']\n"
    (tmp_path / "listed.py").write_text(MIXED + listed)
    plan.write_text(plan.read_text().replace("mixed.py", "listed.py"))
    assert rrm("check", plan).code == 0, "of a task that lists its items, reports say that training asks them too"


def test_check_holds_the_splits_of_every_task_apart(study: Path, rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = ColumnSum.sample
    monkeypatch.setattr(ColumnSum, "sample", lambda self, rng, *, held_out=False: sample(self, rng))
    check_apart.cache_clear()
    said = rrm("check", study)
    check_apart.cache_clear()
    assert said.code == 1
    assert "node.block.task: sample draws the same items for training and held out" in said.err


@pytest.mark.parametrize(("name", "hint"), [("truth", None), ("trooth", " Did you mean 'trooth'?"), ("worth", "")])
def test_check_says_of_a_task_without_truth_that_reports_will_have_none(
    name: str, hint: str | None, tmp_path: Path, rrm: Rrm
) -> None:
    """It is fit to run, for nothing but reports asks the truth; but who misspelt it should hear of it."""
    listed = "    def items(self, *, held_out=False):\n        return [Item(task='mixed', prompt=p) for p in 'abcd']\n"
    (tmp_path / "mixed.py").write_text(MIXED.replace("def truth", f"def {name}") + listed)
    plan = tmp_path / "mixed.toml"
    plan.write_text(STUDY.partition("[node.block]")[0] + '[node.one]\ntask = { use = "mixed.py:Mixed" }\n')
    note = f"note: the task 'mixed' says no truth(), so that reports will have none.{hint}\n"
    for what in (plan, f"{tmp_path / 'mixed.py'}:Mixed"):
        said = rrm("check", what)
        assert said.code == 0, said.err
        assert said.err == ("" if hint is None else note)


def test_check_of_a_file_says_how_its_classes_are_named(tmp_path: Path, rrm: Rrm) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('it was run')\nclass Mine(Task): ...\nclass Other(Task): ...\n")
    said = rrm("check", file)
    assert said.code == 1
    assert (
        f"is Python, not a plan: to check a component of it, name its class: rrm check {file}:Mine or rrm" in said.err
    )


def test_check_finds_what_is_wrong_with_the_small_size_only(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + "[fast]\neffort = { casses = 3 }\n")
    said = rrm("check", study)
    assert said.code == 1
    assert "casses" in said.err


def test_check_holds_components_to_their_contract(rrm: Rrm, tmp_path: Path) -> None:
    for what in (
        "task:column-sum",
        "assistant:careless-adder",
        "evaluator:simulated",
        "protocol:recursive",
        "policy-trainer:best-of-n",
    ):
        said = rrm("check", what)
        assert said.code == 0, said
    file = tmp_path / "bad.py"
    file.write_text(
        "from rrm import Item, Task\n"
        "class Bad(Task):\n"
        "    calls = []\n"
        "    def sample(self, rng, *, held_out=False):\n"
        "        self.calls.append(1)\n"
        "        return Item(task=self.name(), prompt=str(len(self.calls)))\n"
    )
    said = rrm("check", f"{file}:Bad")
    assert said.code == 1
    assert "keeps something between calls" in said.err
    assert "Traceback" not in said.err
    assert rrm("check", "task:column-sum", "--set", "length=17").code == 1
    assert "Did you mean 'task'" in rrm("check", "tusk:column-sum").err


def test_a_record_that_a_component_may_not_make_is_told_with_its_own_line(rrm: Rrm, tmp_path: Path) -> None:
    file = tmp_path / "shy.py"
    file.write_text(
        "from rrm import Evaluator, Rating\n"
        "class Shy(Evaluator):\n"
        "    def judge(self, task, cases, *, seed, done=0):\n"
        "        for case in cases:\n"
        "            yield Rating(case=case.id, evaluator='shy', score=-12)\n"
    )
    said = rrm("check", f"{file}:Shy")
    assert said.code == 1
    assert "in shy.py:5: Rating: score: input should be greater than or equal to 0 (got -12)" in said.err
    assert "https" not in said.err
    assert said.err.count("\n") == 1


def test_check_of_a_name_alone(rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert rrm("check", "glossary").out == "task:glossary: keeps the contract of a task\n"
    said = rrm("check", "glosary")
    assert said.code == 1
    assert "no plan and no component is called 'glosary'. Did you mean 'glossary'?" in said.err


@pytest.mark.parametrize(
    "making", ["def __init__(self, inner, more):\n        pass", "more = property(lambda self: 1 / 0)"]
)
def test_check_of_a_helper_class_says_whose_it_is(making: str, rrm: Rrm, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from rrm import PolicyTrainer, Wrapper\n"
        "class Mine(PolicyTrainer):\n"
        "    def improve(self, assistant, task, reward, *, turn, seed):\n"
        "        return assistant\n"
        "class Part(Wrapper):\n"
        f"    {making}\n"
        "    def respond(self, items, *, n=1, seeds):\n"
        "        return self.more\n"
    )
    said = rrm("check", f"{file}:Part")
    assert said.code == 1
    assert len(said.err.splitlines()) == 1
    assert said.err.endswith(f"If it is only a part of another component, check that one: rrm check {file}:Mine\n")
    assert rrm("check", f"{file}:Mine").code == 0


@pytest.mark.parametrize("kind", TEMPLATES)
def test_new_writes_something_that_works_and_says_what_is_next(
    kind: str, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = rrm("new", kind, "my-own")
    assert said.code == 0
    assert said.out == "my_own.py\nnext: rrm check my_own.py:MyOwn\n"
    text = Path("my_own.py").read_text()
    assert len(text.splitlines()) <= 40
    assert rrm("check", "my_own.py:MyOwn").code == 0, rrm("check", "my_own.py:MyOwn").err
    Path("my_own.py").write_text("# mine")
    again = rrm("new", kind, "my-own")
    assert again.code == 1
    assert "is there already" in again.err
    assert Path("my_own.py").read_text() == "# mine"
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,W,I,B", "--line-length", "120", "-"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ruff.returncode == 0, ruff.stdout


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("task", "item"),
        ("task", "random"),
        ("wrapper", "frames"),
        ("evaluator", "ranking"),
        ("reward-trainer", "votes"),
        ("task", "none"),
    ],
)
def test_new_takes_no_name_that_means_something_else(
    kind: str, name: str, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = rrm("new", kind, name)
    assert said.code == 2
    assert f"would be called {name.capitalize()}" in re.sub(r"[\s│]+", " ", said.err)
    assert list(tmp_path.iterdir()) == []


OWN = """
effort = { rounds = 2, cases = 20, candidates = 3, exam = 20 }
gate = { items = 10 }
[cast]
assistant = "my_assistant.py:MyAssistant"
wrapped_in = ["my_wrapper.py:MyWrapper"]
evaluator = "my_evaluator.py:MyEvaluator"
protocol = "my_protocol.py:MyProtocol"
selection = "my_selection.py:MySelection"
reward = "my_reward_trainer.py:MyRewardTrainer"
policy = "my_policy_trainer.py:MyPolicyTrainer"
terms = ["my_reward_term.py:MyRewardTerm"]
[node.small]
task = { use = "my_task.py:MyTask", digits = 2 }
[node.big]
task = { use = "my_task.py:MyTask", digits = 3 }
helped_by = { head = "small" }
"""


def test_one_of_every_new_component_makes_a_study(rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stopped after a level, it goes on: what the templates save they load."""
    monkeypatch.chdir(tmp_path)
    for kind in TEMPLATES:
        assert rrm("new", kind, f"my-{kind}").code == 0
        name = f"my-{kind}".replace("-", "_")
        assert f"{name}.py" in OWN
    Path("plan.toml").write_text(OWN)
    assert rrm("check", "plan.toml").code == 0, rrm("check", "plan.toml").err
    assert rrm("run", "plan.toml", "--out", "out", "-w", 1).code == 0
    big = json.loads(rrm("report", "out", "--json", "--trust").out)["arms"][0]["nodes"]["big"]
    assert big["helper_questions"] > 0
    assert big["finished"]
    wrong = rrm("check", "plan.toml", "--set", "node.small.task.digits=3")
    assert "'small' does not answer such questions" in wrong.err, "the template task says what it accepts"


KNOWER = """
from rrm import Assistant

class Knower(Assistant):
    deterministic = True
    def respond(self, items, *, n=1, seeds):
        return [[max(item.prompt.split())] * n for item in items]
"""


def test_a_new_task_can_be_trained_in_levels(rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `rrm new` writes is worth starting from: with help the user judges it right, alone it does not."""
    monkeypatch.chdir(tmp_path)
    for kind, name in (("task", "larger"), ("assistant", "guesser")):
        assert rrm("new", kind, name).code == 0
    Path("knower.py").write_text(KNOWER)
    Path("plan.toml").write_text(
        STUDY.split("[node.")[0]
        .replace('"careless-adder", slip = 0.5', '"guesser.py:Guesser", guess = 1.0')
        .replace("budget = 5", "budget = 1")
        .replace("cases = 6", "cases = 60")
        + '[node.small]\ntask = { use = "larger.py:Larger", digits = 2 }\n'
        'cast = { assistant = { use = "knower.py:Knower" } }\n'
        '[node.big]\ntask = { use = "larger.py:Larger", digits = 3 }\nhelped_by = { head = "small" }\n'
        '[arm.recursive]\n[arm.unassisted]\nnode.big.cast = { protocol = { use = "unassisted" } }\n'
    )
    said = rrm("run", "plan.toml", "--out", "out", "-w", 1)
    assert said.code == 0, said.err
    arms = {
        a["arm"]["name"]: a["nodes"]["big"] for a in json.loads(rrm("report", "out", "--json", "--trust").out)["arms"]
    }
    assert arms["recursive"]["helper_questions"] > 0
    assert arms["recursive"]["judge_accuracy"]["mean"] > arms["unassisted"]["judge_accuracy"]["mean"]


def test_column_sum_runs_at_its_small_size(rrm: Rrm, tmp_path: Path) -> None:
    said = rrm("run", ROOT / "configs" / "column_sum.toml", "--fast", "--out", tmp_path / "out", "-w", 1, "-q")
    assert said.code == 0
    found = json.loads(rrm("report", tmp_path / "out", "--json").out)
    assert [a["arm"]["name"] for a in found["arms"]] == ["recursive", "unassisted", "oracle"]
    assert (found["fast"], found["verdicts"]) == (True, []), (
        "nothing is concluded from a size at which nothing is learnt"
    )
    assert "Small size (--fast): Truth on held-out items" in said.out
    assert "! This is the small size (--fast)" in said.out
    assert "•" not in said.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h1>Small size (--fast): " in page
    assert page.count("This is the small size (--fast)") == 2, "where verdicts stand, and with what is not shown"


@pytest.mark.parametrize("order", [("", "--fast"), ("--fast", "")])
def test_sizes_are_not_mixed_in_one_report(order: tuple[str, str], study: Path, rrm: Rrm) -> None:
    """One folder, two sizes: the full one alone is told, and a line says so; going on keeps each as it is."""
    fast = "[fast]\neffort = { rounds = 1, cases = 2 }\nvary = { seed = [0] }\n"
    study.write_text(STUDY + "[vary]\nseed = [0, 1]\n" + fast)
    out = study.with_name("out")
    for size in order:
        said = rrm("run", study, "--out", out, "-w", 1, "-q", *([size] if size else []))
        assert said.code == 0
    assert said.out.count("Truth on held-out items") == 1
    assert "Runs at the small size (--fast) of run stand in this folder too" in said.out
    assert not any(words in said.out for words in ("Small size", "differ in", "newer plan"))
    before = json.loads(rrm("report", out, "--json").out)
    assert [(a["seed"], a["nodes"]["total"]["judgements"]) for a in before["arms"]] == [(0, 12), (1, 12)]
    assert (before["fast"], bool(before["verdicts"])) == (False, True)
    assert rrm("run", out, "-w", 1, "-q").code == 0
    assert json.loads(rrm("report", out, "--json").out) == before
    assert rrm("prune", out).out == "No node is superseded.\n"


def test_a_run_bears_the_title_of_its_plan(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    out = tmp_path / "out"
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0
    found = json.loads(rrm("report", out, "--json").out)
    assert (found["title"], found["fast"]) == ("Sums in two levels, small.", False)
    assert found["verdicts"]
