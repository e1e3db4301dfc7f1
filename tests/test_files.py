"""Components in files: found from the plan's folder wherever a command is given, and run only for who named them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from conftest import STUDY, Rrm

from rrm import Arm, PlanError, Store
from rrm.identity import identity
from rrm.job import jobs
from rrm.plan import Study
from rrm.registry import ASSISTANTS

ADDER = '''
from pathlib import Path
from rrm import Assistant, Wrapper
from rrm_tasks.column_sum import ColumnSum

Path(__file__).with_name("ran").touch()

class Own(ColumnSum):
    """A task of one's own."""

class Lazy(Wrapper):
    """A wrapper of one's own."""
    def respond(self, items, *, n=1, seeds):
        return self.inner.respond(items, n=n, seeds=seeds)
'''

HELPED = 'helped_by = { block = { node = "block", wrapped_in = ["mine.py:Lazy"] } }'
KEY = "0123456789abcdef"
PLAN = STUDY.replace('helped_by = { block = "block" }', HELPED)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A study's folder with a plan and the file that it names."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mine.py").write_text(ADDER)
    (folder / "plan.toml").write_text(PLAN)
    return folder


def keys(plan: Path) -> list[str]:
    return [job.key for job in jobs(Study.load(plan))[0]]


def test_a_file_is_found_beside_the_plan_from_anywhere(
    place: Path, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    said = rrm("run", "../study/plan.toml", "--out", out, "-w", 1)
    assert said.code == 0, said.err
    exported = rrm("export", out).out
    monkeypatch.chdir(place)
    assert rrm("run", "plan.toml", "--out", out).err == "2 of 2 nodes are trained already\n"
    assert rrm("export", out).out == exported, "the same plan, recorded the same from wherever it is run"
    monkeypatch.chdir("/")
    assert rrm("report", out, "--json").code == 1
    assert rrm("report", out, "--json", "--trust").code == 0
    assert rrm("plan", place / "plan.toml", "--out", out).out.count("trained") >= 2


def test_two_workers_find_the_file_too(place: Path, rrm: Rrm, tmp_path: Path) -> None:
    said = rrm("run", place / "plan.toml", "--out", tmp_path / "out", "-w", 2, "--set", "vary.seed=[0,1]")
    assert said.code == 0, said.err


def test_a_moved_study_keeps_what_it_trained(place: Path, rrm: Rrm, tmp_path: Path) -> None:
    before = keys(place / "plan.toml")
    assert rrm("run", place / "plan.toml", "--out", place / "out", "-w", 1).code == 0
    moved = place.rename(tmp_path / "moved")
    assert keys(moved / "plan.toml") == before
    said = rrm("run", moved / "plan.toml", "--out", moved / "out")
    assert (said.code, said.err) == (0, "2 of 2 nodes are trained already\n")
    assert rrm("report", moved / "out", "--trust").code == 0


def test_a_file_where_rrm_is_called_will_do_and_is_found_again(
    place: Path, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    below = place / "configs"
    below.mkdir()
    (place / "plan.toml").rename(below / "plan.toml")
    (arm,) = Study.load(Path("configs/plan.toml")).arms
    assert arm.plan.node["total"].helped_by["block"].wrapped_in[0].use == "../mine.py:Lazy"
    assert rrm("run", "configs/plan.toml", "--out", "out", "-w", 1).code == 0
    monkeypatch.chdir(tmp_path)
    assert rrm("report", "study/out", "--trust").code == 0


def test_a_file_beside_the_plan_comes_first(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert keys(place / "plan.toml")


def test_a_plan_that_names_no_file_records_no_folder(study: Path) -> None:
    assert Study.load(study).arms[0].plan.folder == ""


def test_a_name_alone_stands_for_a_component(study: Path) -> None:
    whole = Study.load(study).arms[0].plan
    study.write_text(STUDY.replace('reward    = { use = "tally" }', 'reward = "tally"\nprotocol = "recursive"'))
    assert Study.load(study).arms[0].plan == whole
    study.write_text(STUDY + '[arm.a]\nnode.total.cast = { protocol = "unassisted" }\n')
    (arm,) = Study.load(study).arms
    assert [arm.plan.node[n].cast.protocol.use for n in ("block", "total")] == ["recursive", "unassisted"]
    study.write_text(STUDY + '[arm.a]\ncast = { evaluator = "simulated" }\ngate = "stop"\n')
    (arm,) = Study.load(study).arms
    assert arm.plan.node["total"].cast.evaluator.model_extra == {"budget": 5}, "the same component: settings stay"
    assert (arm.plan.node["total"].gate.on_fail, arm.plan.node["total"].gate.items) == ("stop", 4)


FOREIGN = {
    "a task": {"task": {"use": "mine.py:Own"}},
    "a wrapper": {"task": "column-sum", "cast": {"wrapped_in": [{"use": "mine.py:Lazy"}]}},
    "an evaluator": {"task": {"use": "column-sum"}, "cast": {"evaluator": {"use": "mine.py:Own"}}},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_run_into_a_folder_of_somebody_else_runs_none_of_their_code(
    what: str, place: Path, study: Path, rrm: Rrm, tmp_path: Path
) -> None:
    """The plan is one's own; the record, with an arm that it does not have, is not."""
    out = tmp_path / "theirs"
    theirs = {"seed": 0, "folder": str(place), "node": {"block": FOREIGN[what]}}
    Store(out).append(
        "study",
        "arms",
        [Arm(name="theirs", seed=0, plan=theirs, title="Sums in two levels, small.", nodes={"block": KEY})],
    )
    Store(out).save_agent(KEY, "published", lambda folder: None)
    Store(out).spend(KEY, {"ask": 1.0})
    rrm("plan", study, "--out", out)
    said = rrm("run", study, "--out", out, "-w", 1)
    assert not (place / "ran").exists()
    if what != "an evaluator":  # which no report builds
        assert said.code == 1
        assert "names code in a file" in said.err
        assert "--trust" in said.err
    assert rrm("report", out, "--json", "--trust").code == 0
    assert (place / "ran").exists() == (what == "a task"), "trusted, it runs; and what is never built never does"


def test_what_the_plan_names_itself_is_trusted_in_its_older_arms(place: Path, rrm: Rrm, tmp_path: Path) -> None:
    """An arm that was renamed, or of a seed no longer varied, names no code that is not run anyway."""
    out = tmp_path / "out"
    for seeds in ("[0,1]", "[0]"):
        said = rrm("run", place / "plan.toml", "--out", out, "-w", 1, "--set", f"vary.seed={seeds}")
        assert said.code == 0, said.err
    assert len(json.loads(rrm("report", out, "--json", "--trust").out)["arms"]) == 2


# -- settings that are paths ------------------------------------------------------------------------------------------

BOOK = """
# A helper that has its answers from a file.
effort = { rounds = 1, cases = 3, exam = 4 }
gate = "off"
[cast]
evaluator = { use = "simulated", budget = 5 }
reward = "tally"
policy = "best-of-n"
[node.block]
task = { use = "column-sum", length = 4 }
cast = { assistant = { use = "answer-book", path = "book.json", fallback = "7" } }
[node.letters]
task = { use = "letter-count", text = "words/some.txt" }
cast = { assistant = { use = "answer-book", fallback = "1" } }
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A study's folder, with the files that its settings name."""
    folder = tmp_path / "study"
    (folder / "words").mkdir(parents=True)
    (folder / "book.json").write_text('{"a": "b"}')
    draw = Random(0)
    paragraphs = (" ".join("".join(draw.choices("aeinorst", k=5)) for _ in range(20)) for _ in range(40))
    (folder / "words" / "some.txt").write_text("\n\n".join(paragraphs))
    (folder / "plan.toml").write_text(BOOK)
    return folder


def test_a_path_in_a_setting_is_found_beside_the_plan_from_anywhere(
    library: Path, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.chdir(library)
    assert rrm("run", "plan.toml", "--out", out, "-w", 1).code == 0
    monkeypatch.chdir("/")
    said = rrm("report", out, "--json")
    assert said.code == 0, said.err
    assert rrm("run", library / "plan.toml", "--out", out).err == "2 of 2 nodes are trained already\n"
    moved = library.rename(tmp_path / "moved")
    assert rrm("run", moved / "plan.toml", "--out", out).err == "2 of 2 nodes are trained already\n"
    (moved / "book.json").write_text('{"a": "c"}')
    planned = json.loads(rrm("plan", moved / "plan.toml", "--out", out, "--no-measure", "--json").out)
    assert [node["state"] == "trained" for node in planned["nodes"]] == [False, True]


MODEL = """
gate = "off"
[node.block]
task = { use = "column-sum", length = 4 }
cast = { reward = "tally", policy = "best-of-n", assistant = { use = "transformer", model = "some/model" } }
"""


def test_a_model_is_a_folder_beside_the_plan_or_else_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built() -> str:
        (arm,) = Study.load(tmp_path / "study" / "plan.toml").arms
        assistant = arm.plan.node["block"].cast.assistant.build(ASSISTANTS, "here")
        return str(assistant.settings.model_dump()["model"])

    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.toml").write_text(MODEL)
    assert built() == "some/model"
    one, other = (ASSISTANTS.build("transformer", {"model": name}) for name in ("some/model", "another/model"))
    assert identity(one) != identity(other)
    folders = [tmp_path / place / "some" / "model" for place in ("study", "moved")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert built() == str(folders[0])
    one, other = (ASSISTANTS.build("transformer", {"model": str(folder)}) for folder in folders)
    assert identity(one) == identity(other)
    (folders[1] / "config.json").write_text('{"other": 1}')
    assert identity(one) != identity(other)


def test_a_path_where_rrm_is_called_will_do_and_is_found_again(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)
    before = keys(Path("plan.toml"))
    (library / "configs").mkdir()
    (library / "plan.toml").rename("configs/plan.toml")
    (arm,) = Study.load(Path("configs/plan.toml")).arms
    assert arm.plan.node["block"].cast.assistant.model_extra == {"path": "../book.json", "fallback": "7"}
    assert keys(Path("configs/plan.toml")) == before
    monkeypatch.chdir(tmp_path)
    assert [job.key for job in jobs(Study("recorded", [arm]))[0]] == before
    with pytest.raises(PlanError, match="cannot read"):  # neither beside the plan nor here
        keys(Path("study/configs/plan.toml"))
