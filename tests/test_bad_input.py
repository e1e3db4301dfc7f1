"""What people get wrong, and what machines do to files: one clear line, exit 1, and nothing half written."""

from __future__ import annotations

import copy
import gc
import hashlib
import json
import math
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDY, Rrm

from rrm.errors import RrmError
from rrm.job import jobs
from rrm.plan import Study
from rrm.store import Store
from rrm.worker import train

ROOT = Path(__file__).parent.parent


def one_line(err: str) -> str:
    """The message, of which there is to be exactly one, without a traceback."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("rrm: ")]
    assert len(lines) == 1, err
    assert err.strip().splitlines()[-1] == lines[0]
    return lines[0]


def changed(*changes: tuple[str, str]) -> str:
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def learning(task: str, assistant: str, setting: str = "layers = 1") -> str:
    """A plan of one node with a learner."""
    settings = "" if assistant == "deep-sets" else f", {setting}"
    return f"[cast]\nassistant = {{ use = '{assistant}'{settings} }}\n[node.one]\ntask = '{task}'\n"


ADDER, BLOCK, HELP = 'use = "careless-adder", slip = 0.5', "length = 4", 'helped_by = { block = "block" }'

WRONG_PLANS = {
    "unknown task": (
        changed(('"column-sum", length = 16', '"colum-sum"')),
        ["node.total.task", "Did you mean 'column-sum'"],
    ),
    "unknown assistant": (
        changed(("careless-adder", "carless-adder")),
        ["cast.assistant", "Did you mean 'careless-adder'"],
    ),
    "a network that cannot be built": (
        changed(
            ('"careless-adder", slip = 0.5', '"word-transformer", width = 10, heads = 4'),
            ("column-sum", "glossary"),
            (", length = 4", ""),
            (", length = 16", ", level = 1"),
            ("block = ", "left = "),
            ('"best-of-n", n = 4', '"regression"'),
        ),
        ["word-transformer", "cannot read items"],
    ),
    "unknown evaluator": (changed(('"simulated"', '"simulatd"')), ["cast.evaluator", "Did you mean 'simulated'"]),
    "unknown reward trainer": (changed(('"tally"', '"taly"')), ["cast.reward", "Did you mean 'tally'"]),
    "unknown policy trainer": (changed(('"best-of-n"', '"best-of"')), ["cast.policy", "Did you mean 'best-of-n'"]),
    "unknown protocol": (changed(("[cast]", '[cast]\nprotocol = { use = "recursiv" }')), ["Did you mean 'recursive'"]),
    "unknown selection": (changed(("[cast]", '[cast]\nselection = { use = "randm" }')), ["Did you mean 'random'"]),
    "unknown wrapper": (
        changed(("[cast]", '[cast]\nwrapped_in = [{ use = "corupted" }]')),
        ["Did you mean 'corrupted'"],
    ),
    "unknown setting": (changed(("slip = 0.5", "slipp = 0.5")), ["has no setting 'slipp'", "Did you mean 'slip'"]),
    "setting of the wrong type": (changed(("slip = 0.5", 'slip = "often"')), ["'careless-adder', slip", "'often'"]),
    "setting out of range": (
        changed(("slip = 0.5", "slip = 1.5")),
        ["'careless-adder', slip", "less than or equal to 1"],
    ),
    "settings at odds": (changed(("length = 16", "length = 17")), ["node.total.task", "does not divide"]),
    "missing setting": (changed(('"simulated", budget = 5', '"replay"')), ["'replay' needs the setting 'run'"]),
    "unknown subtask": (changed(("{ block =", "{ blok =")), ["has no subtask 'blok'", "['block']"]),
    "unknown helper": (changed(('= "block" }', '= "blok" }')), ["no node is called 'blok'", "Did you mean 'block'"]),
    "helper of another family": (
        changed((f'"column-sum", {BLOCK}', '"minimax"'), (ADDER, 'use = "answer-book"')),
        ["node.total.helped_by.block", "'minimax'"],
    ),
    "helper of the wrong level": (
        changed((BLOCK, "length = 8")),
        ["'block' does not answer such questions", "settings"],
    ),
    "helps itself": (
        changed(('= "block" }', '= "total" }')),
        ["circles: total -> total; leave out node.total.helped_by.block"],
    ),
    "a circle": (
        changed((BLOCK + " }", BLOCK + ' }\nhelped_by = { block = "total" }')),
        [
            "plan.toml: judging would go in circles: block -> total -> block; "
            "leave out node.block.helped_by.block, or node.total.helped_by.block"
        ],
    ),
    "unknown start": (changed((HELP, HELP + '\nstart = "blok"')), ["node.total.start", "Did you mean 'block'"]),
    "starts go in circles": (changed((BLOCK + " }", BLOCK + ' }\nstart = "total"')), ["wait for each other"]),
    "unknown key on top": (changed(("seed = 7", "sed = 7")), ["sed", "Did you mean 'seed'"]),
    "unknown key in a node": (changed((HELP, HELP.replace("helped_by", "helpd_by"))), ["Did you mean 'helped_by'"]),
    "unknown key in effort": (changed(("cases = 6", "casses = 6")), ["casses", "Did you mean 'cases'"]),
    "unknown key in cast": (changed(("reward    =", "rewards =")), ["rewards", "Did you mean 'reward'"]),
    "unknown key in gate": (changed(("{ items = 4 }", "{ item = 4 }")), ["gate.item", "Did you mean 'items'"]),
    "a part without use": (changed(('use = "tally"', 'name = "tally"')), ["cast.reward.use", "missing"]),
    "bad gate word": (changed(("gate = { items = 4 }", 'gate = "maybe"')), ["gate", "'warn', 'stop' or 'off'"]),
    "bad gate number": (
        changed(("gate = { items = 4 }", "gate = 3")),
        ["gate", "'warn', 'stop' or 'off', or a table (got 3)"],
    ),
    "a trial of one arm": (
        STUDY + '[trial]\narms = ["unassisted"]\n',
        ["trial.arms: this should have 2 entries or more"],
    ),
    "more cases of a trial than there are": (
        STUDY + "[trial]\nof = 3\n",
        ["trial: nobody can judge 40 of 3 cases without judging one twice: raise `of`, or lower `cases`"],
    ),
    "fewer than no cases": (changed(("cases = 6", "cases = -1")), ["effort.cases", "greater than or equal to 0"]),
    "no cases": (changed(("cases = 6", "cases = 0")), ["effort.cases: 0 asks nobody", "'tally'", "write 1 or more"]),
    "half a round": (changed(("rounds = 2", "rounds = 1.5")), ["effort.rounds", "1.5"]),
    "seed is a word": (changed(("seed = 7", 'seed = "seven"')), ["seed", "'seven'"]),
    "no nodes": (STUDY.split("[node.")[0], ["at least one [node.NAME]"]),
    "a node that is no table": (STUDY.split("[node.")[0] + '\n[node]\nblock = "column-sum"', ["node.block", "table"]),
    "a node without a task": (
        changed(('task = { use = "column-sum", length = 4 }', "")),
        ["node.block.task", "missing"],
    ),
    "unknown family": (changed((HELP, HELP + '\nfamily = "sums"')), ["family", "sums"]),
    "vary is not a list": (STUDY + "[vary]\nseed = 3\n", ["vary.seed", "[0, 1, 2]"]),
    "vary at one value twice": (STUDY + "[vary]\nseed = [0, 1, 0]\n", ["vary.seed: 0 stands there twice"]),
    "vary is empty": (STUDY + "[vary]\nseed = []\n", ["vary.seed", "[0, 1, 2]"]),
    "vary of an unknown key": (STUDY + "[vary]\neffort.case = [1, 2]\n", ["case", "Did you mean 'cases'"]),
    "arms are no tables": (STUDY + "[arm]\nplain = 3\n", ["arm: plain", "table"]),
    "unknown key in an arm": (STUDY + '[arm.plain]\ncasts = { evaluator = { use = "oracle" } }\n', ["casts", "'cast'"]),
    "a wrapper as assistant": (changed((ADDER, 'use = "corrupted"')), ["wraps another assistant", "wrapped_in"]),
    "an assistant as wrapper": (
        changed(("[cast]", '[cast]\nwrapped_in = [{ use = "careless-adder" }]')),
        ["does not wrap another assistant"],
    ),
    "a class file that is missing": (changed(('"careless-adder"', '"lost.py:Lost"')), ["there is no file 'lost.py'"]),
    "an arm of an unknown node": (
        STUDY + "[arm.plain]\nnode.totl.effort = { cases = 3 }\n",
        ["arm.plain: node.totl: no node is called 'totl'", "Did you mean 'total'"],
    ),
    "a family of no node": (STUDY + "[family.sums]\n", ["family.sums: no node is of this family"]),
    "a folder": ('folder = "x"\n' + STUDY, ["folder: there is no such key here"]),
    "nan": (
        changed(("slip = 0.5", "slip = nan")),
        ["'careless-adder', slip: this should be a finite number (got nan)"],
    ),
    "infinitely many": (
        changed(("cases = 6", "cases = inf")),
        ["effort.cases", "this should be a finite number (got inf)"],
    ),
    "a term that weighs nan": (
        changed(("[cast]", '[cast]\nterms = [{ use = "length", weight = nan }]')),
        ["cast.terms.0.weight (of the nodes block, total): this should be a finite number (got nan)"],
    ),
    "a user without any noise": (
        changed(('"simulated", budget', '"simulated", beta = inf, budget')),
        ["cast.evaluator", "beta: this should be a finite number (got inf)"],
    ),
    "more cases than there is room for": (
        changed(("cases = 6", "cases = 10_000_001")),
        ["effort.cases", "less than or equal to 10000000 (got 10000001)"],
    ),
    "more cases than a number holds": (changed(("cases = 6", "cases = 1e23")), ["effort.cases", "this is too large"]),
    "true for a number": (changed(("cases = 6", "cases = true")), ["effort.cases", "a number (got true)"]),
    "true for a setting": (changed(("slip = 0.5", "slip = true")), ["'careless-adder', slip", "a number (got true)"]),
    "a family that is no table": ("family = 3\n" + STUDY, ["family should be a table, not 3"]),
    "a family that is a list": (changed((HELP, HELP + '\nfamily = ["x"]')), ["node.total.family", "not ['x']"]),
    "nodes of an arm that are no table": (STUDY + "[arm.a]\nnode = 3\n", ["arm.a: node should be a table, not 3"]),
    "a node of an arm that is no table": (STUDY + "[arm.a.node]\ntotal = 3\n", ["arm.a: node: total", "not 3"]),
    "a cast that is a date": (
        changed(("[cast]", "[node.block.cast]\nreward = 2024-01-01\n[cast]")),
        ["cast.reward: this should be a name, or a table with use = NAME (got 2024-01-01)"],
    ),
    "effort in a word": (
        changed((HELP, HELP + '\neffort = "much"')),
        ["node.total.effort: this should be a table (got 'much')"],
    ),
    "wrappers in a word": (
        changed(("[cast]", '[cast]\nwrapped_in = "corrupted"')),
        ["wrapped_in", "this should be a list (got 'corrupted')"],
    ),
    "a name with a slash": (changed(("[node.total]", '[node."to/tal"]')), ["node.'to/tal'", "no slash"]),
    "a start from itself": (changed((HELP, HELP + '\nstart = "total"')), ["node.total.start", "start from itself"]),
    "not TOML": ("seed = = 3", ["not valid TOML", "line 1"]),
    "empty": ("", ["at least one [node.NAME]"]),
    "no text for letter counting": (
        changed(
            ('"column-sum", length = 16 }\nhelped_by = { block = "block" }', '"letter-count", text = "lost.txt" }')
        ),
        ["lost.txt"],
    ),
    "regression without finite answers": (
        changed(('"best-of-n", n = 4', '"regression"')),
        ["finite answer set", "best-of-n"],
    ),
    "gradients for an assistant without weights": (changed(('"best-of-n", n = 4', '"policy-gradient"')), ["has none"]),
    "bradley-terry with a scripted assistant": (
        changed(('"tally"', '"bradley-terry"')),
        ["'careless-adder' has none", "tally"],
    ),
    "margin without finite answers": (
        changed(("[cast]", '[cast]\nselection = { use = "margin" }')),
        ["finite answer set"],
    ),
    "a learner of letters on trees": (
        learning("minimax", "product-embedding"),
        ["node.one.cast.assistant: 'product-embedding' reads prompts of a letter and a passage", "'minimax'"],
    ),
    "a learner of images on trees": (learning("glossary", "deep-sets"), ["'deep-sets' reads prompts of numbers"]),
    "a learner whose longest passage is too short": (
        learning("letter-count", "product-embedding", "longest = 2"),
        ["passages of at most 2 characters", "set longest = 4"],
    ),
    "a learner of trees on chains": (
        learning("permutation-power", "tree-transformer"),
        ["node.one.cast.assistant", "not a full binary tree"],
    ),
    "a learner of words that are too many": (
        learning("permutation-power", "word-transformer", "longest = 2"),
        ["'word-transformer' cannot read items of the task 'permutation-power', such as '2^"],
    ),
    "a learner without finite answers": (changed((ADDER, 'use = "word-transformer"')), ["no finite answer set"]),
}


RICH = tomllib.loads(
    STUDY
    + """
[family.sums]
effort = { cases = 3, first_cases = 4 }
[arm.plain]
cast = { protocol = "unassisted", wrapped_in = [{ use = "corrupted", rate = 0.1 }] }
node.total.gate = { on_fail = "off", extra_rounds = 1 }
[arm.termed]
cast = { terms = [{ use = "length", weight = 0.5, shaping = true }] }
node.total.helped_by = { block = { node = "block", wrapped_in = ["majority"] } }
[vary]
seed = [0, 1]
effort.cases = [3, 4]
[fast]
effort = { rounds = 1 }
node.block.start = "total"
"""
)
RICH["node"]["total"]["family"] = "sums"


def places(table: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Wherever a value stands in a plan."""
    inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from places(value, (*at, key))


WRONG_VALUES = {
    "3": 3, "1.5": 1.5, "nan": math.nan, "true": True, "word": "word", "nothing": "", "list": [], "numbers": [3],
    "lists": [["word"]], "table": {}, "a table of lists": {"word": [1]}, "date": date(2024, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_VALUES)
@pytest.mark.parametrize("fast", [False, True], ids=["", "fast"])
def test_whatever_stands_wherever_in_a_plan_is_told_in_words(
    what: str, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, Any] = {}
    monkeypatch.setattr("rrm.plan.read_toml", lambda _: (read, "title"))
    wrong = 0
    for at in places(RICH):
        read = copy.deepcopy(RICH)
        if not fast:
            del read["fast"]
        inner: Any = read
        try:
            for step in at[:-1]:
                inner = inner[step]
        except KeyError:
            continue
        inner[at[-1]] = WRONG_VALUES[what]
        try:
            Study.load(tmp_path / "plan.toml", fast=fast)
        except RrmError as error:
            wrong += 1
            said = str(error)
            assert "\n" not in said
            assert not re.search(r"dictionary|tuple|instance of|datetime|Value error|NodePlan|True", said), said
    assert wrong > 20


@pytest.mark.parametrize("what", WRONG_PLANS)
def test_a_wrong_plan_is_told_in_one_line_and_leaves_nothing(what: str, tmp_path: Path, rrm: Rrm) -> None:
    text, words = WRONG_PLANS[what]
    path, out = tmp_path / "plan.toml", tmp_path / "out"
    path.write_text(text)
    for command in (["run", path, "--out", out], ["check", path]):
        said = rrm(*command)
        line = one_line(said.err)
        assert said.code == 1
        assert all(word in line for word in words), line
        assert said.out == ""
        assert not out.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, ["there is no plan"]),
        (lambda p: p.mkdir(), ["is a folder", ".toml"]),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), ["cannot be read", "a text file, TOML in UTF-8"]),
    ],
    ids=["missing", "a folder", "not UTF-8"],
)
def test_a_plan_that_cannot_be_read(make: Callable[[Path], object], words: list[str], tmp_path: Path, rrm: Rrm) -> None:
    make(tmp_path / "plan.toml")
    said = rrm("run", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert said.code == 1
    assert all(word in one_line(said.err) for word in words)
    assert not (tmp_path / "out").exists()


def test_a_mark_before_a_plan_is_passed_over(study: Path, rrm: Rrm) -> None:
    study.write_text(study.read_text(), encoding="utf-8-sig")
    assert rrm("check", study).code == 0
    assert Study.load(study).title == "Sums in two levels, small."


def test_a_small_size_whose_nodes_are_no_table(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + "[fast]\nnode = 3\n")
    assert "node should be a table, not 3" in one_line(rrm("check", study).err)


def test_check_takes_a_task_for_a_component_alone(study: Path, rrm: Rrm) -> None:
    for what in (study, "task:column-sum", "column-sum"):
        said = rrm("check", what, "--task", "nope")
        assert said.code == 1
        assert "--task 'nope'" in one_line(said.err)


def test_a_plan_may_have_a_colon_in_its_path(study: Path, rrm: Rrm) -> None:
    plan = study.rename(study.with_name("a:b.toml"))
    assert rrm("check", plan).code == 0
    plan = plan.rename(study.with_name("c:d"))
    assert rrm("check", plan).code == 0
    assert "there is no plan" in one_line(rrm("check", study.with_name("e:f.toml")).err)


def test_a_plan_with_a_name_nearly_right_is_suggested(study: Path, rrm: Rrm) -> None:
    assert f"Did you mean {str(study)!r}" in one_line(rrm("run", study.with_name("studdy.toml")).err)


def test_the_file_of_a_python_project_is_never_suggested(study: Path, rrm: Rrm) -> None:
    study.rename(study.with_name("pyproject.toml"))
    assert one_line(rrm("run", study.with_name("pyprojct.toml")).err).endswith("There are none.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--arm", "recursiv"], ["no arm is called 'recursiv'", "run"]),
        (["--set", "effort.cases"], ["key=value", "effort.cases=100"]),
        (["--set", "effort.casses=3"], ["casses", "Did you mean 'cases'"]),
        (["--set", "efort.cases=3"], ["efort", "Did you mean 'effort'"]),
        (["--set", "node.totl.start=block"], ["node.totl"]),
        (["--set", "effort=3"], ["effort"]),
        (["--set", "cast.evaluator=3"], ["cast.evaluator (of the nodes block, total)", "got 3"]),
        (["--set", "effort.cases=abc"], ["effort.cases", "this should be a whole number (got 'abc')"]),
        (["--set", "cast.assistant.slip=abc"], ["slip", "this should be a number (got 'abc')"]),
        (["--set", "seed=[0, 1]"], ["write --set 'vary.seed=[0, 1]'"]),
        (["--set", "arm.a.cast.protocol=unassisted"], ["write --arm a --set cast.protocol=unassisted"]),
        (["--set", "fast.effort.cases=3"], ["write --set effort.cases=3"]),
        (["--set", "family.a.effort.cases=3"], ["family.a: no node is of such a family. There are none"]),
        (["--set", "node=3"], ["--set: node should be a table, not 3"]),
        (["--set", "effort=[]"], ["effort (of the nodes block, total): this should be a table (got [])"]),
        (["--set", "seed=[]"], ["seed: this should be a whole number (got [])"]),
        (["--set", "effort.cases=nan"], ["effort.cases", "a finite number (got nan)"]),
        (["--set", "effort.rounds=true"], ["effort.rounds: this should be a number (got true)"]),
        (["--fast"], ["there is no [fast] table"]),
    ],
)
def test_options_that_do_not_fit_the_plan(options: list[str], words: list[str], study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")
    said = rrm("run", study, "--out", out, *options)
    assert said.code == 1
    assert all(word in one_line(said.err) for word in words), said.err
    assert not out.exists()


COMPONENT_FILES = {
    "does not import": ("import nowhere_to_be_found\n", "Mine", ["cannot be imported", "nowhere_to_be_found"]),
    "is not Python": ("class Mine(\n", "Mine", ["cannot be imported", "SyntaxError"]),
    "lacks the class": ("class Mien: ...\n", "Mine", ["defines no 'Mine'", "Did you mean 'Mien'"]),
    "has a class of no role": ("class Mine: ...\n", "Mine", ["is not a", "subclass of rrm."]),
    "cannot be begun": (
        "from rrm import Assistant\nclass Mine(Assistant):\n    def __init__(self, settings=None):\n        1 / 0\n"
        "    def respond(self, items, *, n=1, seeds):\n        return []\n",
        "Mine",
        ["ZeroDivisionError in mine.py:4"],
    ),
    "cannot say whether it fits": (
        "from rrm import Assistant\nclass Mine(Assistant):\n    def check(self, task):\n        1 / 0\n"
        "    def respond(self, items, *, n=1, seeds):\n        return []\n",
        "Mine",
        ["node.block", "ZeroDivisionError in mine.py:4"],
    ),
    "has a class of another role": (
        "from rrm import Selection\nclass Mine(Selection): ...\n",
        "Mine",
        ["rrm.Assistant"],
    ),
}


@pytest.mark.parametrize("what", COMPONENT_FILES)
def test_a_component_file_that(what: str, tmp_path: Path, rrm: Rrm) -> None:
    source, name, words = COMPONENT_FILES[what]
    file = tmp_path / "mine.py"
    file.write_text(source)
    plan = tmp_path / "plan.toml"
    plan.write_text(changed(('"careless-adder", slip = 0.5', f'"{file}:{name}"')))
    said = rrm("run", plan, "--out", tmp_path / "out")
    assert said.code == 1
    assert all(word in one_line(said.err) for word in words), said.err
    assert not (tmp_path / "out").exists()


# -- the run's folder -------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(study: Path, rrm: Rrm) -> Path:
    """A finished run of the small study."""
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "--workers", 1, "-q").code == 0
    return out


def test_the_folder_is_a_file(study: Path, rrm: Rrm) -> None:
    file = study.with_name("file")
    file.write_text("mine")
    for out in (file, file / "below"):
        said = rrm("run", study, "--out", out)
        assert said.code == 1
        assert "cannot be used as a run's folder" in one_line(said.err)
    assert file.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder where nobody may write")
def test_the_folder_cannot_be_written_to(study: Path, rrm: Rrm) -> None:
    for out in ("/proc", "/proc/rrm"):
        said = rrm("run", study, "--out", out)
        assert said.code == 1
        one_line(said.err)


RECORDS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "random bytes": (lambda p: p.write_bytes(os.urandom(8192)), ["not a record of rrm", "--out"]),
    "text": (lambda p: p.write_text("dear diary\n" * 1000), ["not a record of rrm"]),
    "nothing": (lambda p: p.write_bytes(b""), ["is empty"]),
    "another program's": (lambda p: (p.unlink(), sql(p, "create table t (x)")), ["is not a record of rrm"]),
    "cut in half": (lambda p: os.truncate(p, p.stat().st_size // 2), ["damaged"]),
    "newer": (lambda p: sql(p, "update meta set value = '999'"), ["newer rrm", "Upgrade"]),
    "no version": (lambda p: sql(p, "update meta set value = 'one'"), ["is not a record of rrm"]),
    "a body altered": (
        lambda p: sql(p, "update records set body = replace(body, 'careful', 'x') || ' ' where kind = 'Arm'"),
        ["does not match its id", "Restore"],
    ),
    "a body of another kind": (
        lambda p: sql(p, "update records set kind = 'Case', id = '0' where kind = 'Arm'"),
        ["damaged"],
    ),
}


def sql(path: Path, text: str) -> None:
    db = sqlite3.connect(path)
    db.execute(text)
    db.commit()
    db.close()


@pytest.mark.parametrize("what", RECORDS)
def test_a_record_that_is(what: str, trained: Path, study: Path, rrm: Rrm) -> None:
    spoil, words = RECORDS[what]
    settled(trained)
    spoil(trained / "record.sqlite")
    weights = sorted((trained / "agents").rglob("*"))
    for command in (["report", trained], ["report", trained, "--json"], ["run", study, "--out", trained, "-w", 1]):
        said = rrm(*command)
        assert said.code == 1, said
        line = one_line(said.err)
        assert all(word in line for word in words), line
    assert sorted((trained / "agents").rglob("*")) == weights


@pytest.mark.parametrize("log", [False, True], ids=["", "with a write-ahead log"])
@pytest.mark.parametrize("table", ["t (x)", "meta (x)", "meta (key, value)"])
def test_the_file_of_another_program_is_left_as_it_is(
    table: str, log: bool, study: Path, rrm: Rrm, tmp_path: Path
) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    db = sqlite3.connect(out / "record.sqlite")
    db.execute(f"pragma journal_mode = {'wal' if log else 'delete'}")
    db.execute(f"create table {table}")
    db.commit()
    # as after a crash: a copy, so that the log is not brought into the file
    crashed = tmp_path / "crashed"
    shutil.copytree(out, crashed)
    db.close()
    for folder in (out, crashed):
        before = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith("-shm")}
        for command in (["report", folder], ["run", study, "--out", folder, "-w", 1]):
            said = rrm(*command)
            assert said.code == 1
            assert "is not a record of rrm" in one_line(said.err)
            gc.collect()
        after = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert {name: after.get(name) for name in before} == before
        assert after.keys() - before.keys() <= {"record.sqlite-shm", "run.lock"}


def test_a_report_changes_no_byte_of_the_record(trained: Path, rrm: Rrm) -> None:
    settled(trained)
    before = (trained / "record.sqlite").read_bytes()
    assert rrm("report", trained, "--json").code == 0
    gc.collect()
    assert (trained / "record.sqlite").read_bytes() == before
    assert not list(trained.glob("record.sqlite-*"))


def test_what_a_file_manager_leaves_beside_weights(trained: Path, study: Path, rrm: Rrm) -> None:
    strays = [node / ".DS_Store" for node in (trained / "agents").iterdir()]
    for stray in strays:
        stray.write_text("icons")
    assert rrm("run", study, "--out", trained, "-w", 1).code == 0
    assert not any(stray.exists() for stray in strays)


def settled(run: Path) -> None:
    """Bring what stands in the write-ahead log into the file itself."""
    gc.collect()  # closes what the commands before left to the collector
    db = sqlite3.connect(run / "record.sqlite")
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    for beside in ("-wal", "-shm"):
        (run / f"record.sqlite{beside}").unlink(missing_ok=True)


@pytest.mark.parametrize("command", ["report", "show", "export"])
def test_a_folder_without_a_run(command: str, tmp_path: Path, rrm: Rrm) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        said = rrm(command, folder)
        assert said.code == 1
        assert "there is no run here" in one_line(said.err)
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_is_not_there(trained: Path, rrm: Rrm) -> None:
    for case in ("total/0/99", "totl/0/0", "0123456789abcdef", "total/x/y", "/", "///", "total/0/٣", "total/0/１"):
        said = rrm("show", trained, case)
        assert said.code == 1
        assert "block, total" in one_line(said.err)
    assert "total/0 has cases 0 to 5, and no １" in one_line(said.err)


def flipped(path: Path) -> None:
    """One bit of it, so that it is as long as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_setting_of_a_trial_starts_none(study: Path, rrm: Rrm) -> None:
    said = rrm("run", study, "--out", study.with_name("out"), "--set", "trial.raters=3")
    assert one_line(said.err).startswith(f"rrm: {study}: trial: there is no [trial] in this plan to change")
    assert not study.with_name("out").exists()
    study.write_text(STUDY + "[trial]\n")
    assert rrm("check", study, "--set", "trial.raters=3").code == 0


def test_what_is_no_folder_of_a_run_is_told(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    said = one_line(rrm("run", study, "--out", study).err)
    assert said == f"rrm: {study}: cannot be used as a run's folder: it is a file. Give another --out."
    said = one_line(rrm("run", tmp_path).err)
    assert "is a folder in which nothing was run: name a .toml file in it, or the folder of a run" in said


ORACLE = '[arm.run]\n[arm.oracle]\ncast = { evaluator = { use = "oracle" } }\n'
PLACES = {
    "for all": (changed(("budget = 5", "bugdet = 5")), (), "cast.evaluator: 'simulated' has no setting 'bugdet'"),
    "for a node": (
        changed((BLOCK, f"{BLOCK}, lenght = 4")),
        (),
        "node.block.task: 'column-sum' has no setting 'lenght'. Did you mean 'length'?",
    ),
    "for a family": (
        changed((HELP, HELP + '\nfamily = "sums"')) + "[family.sums]\ncast = { policy = { m = 3 } }\n",
        (),
        "family.sums.cast.policy: 'best-of-n' has no setting 'm'",
    ),
    "in an arm": (
        STUDY + ORACLE.replace('"oracle" }', '"oracle", budget = 3 }'),
        (),
        "arm.oracle.cast.evaluator: 'oracle' has no setting 'budget'. There are: approve_from, beta",
    ),
    "a name in an arm": (
        STUDY + ORACLE.replace('{ use = "oracle" }', '"oracel"'),
        (),
        "arm.oracle.cast.evaluator: no evaluator is called 'oracel'. Did you mean 'oracle'?",
    ),
    "of no component": (
        STUDY + ORACLE + "node.total.helped_by = { blok = 'block' }\n",
        (),
        "arm.oracle: node.total.helped_by.blok: 'total' has no subtask 'blok'",
    ),
    "what varies": (
        STUDY + "[vary]\ncast.evaluator.bugdet = [1, 2]\n",
        (),
        "vary.cast.evaluator: 'simulated' has no setting 'bugdet'",
    ),
    "on the command line": (
        STUDY,
        ("--set", "cast.evaluator.bugdet=3"),
        "--set cast.evaluator: 'simulated' has no setting 'bugdet'",
    ),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_fault_is_told_with_its_file_and_as_it_is_written(case: str, tmp_path: Path, rrm: Rrm) -> None:
    text, options, words = PLACES[case]
    path = tmp_path / "study.toml"
    path.write_text(text)
    line = one_line(rrm("run", path, "--out", tmp_path / "out", *options).err)
    assert line.startswith(f"rrm: {path}: {words}"), line


def test_weights_that_are_missing_cut_or_altered(trained: Path, study: Path, rrm: Rrm) -> None:
    for spoil in (lambda p: p.unlink(), lambda p: os.truncate(p, 1), flipped):
        for wins in trained.rglob("wins.json"):
            kept = wins.read_bytes()
            spoil(wins)
            said = rrm("run", study, "--out", trained, "-w", 1)
            assert said.code == 1
            assert all(word in one_line(said.err) for word in ("Delete", str(wins)))
            wins.write_bytes(kept)
    saved = next(trained.rglob("saved.json"))
    saved.write_text("{")
    assert "damaged" in one_line(rrm("run", study, "--out", trained, "-w", 1).err)


def test_deleting_weights_as_advised_trains_them_again_from_the_record(trained: Path, study: Path, rrm: Rrm) -> None:
    before = {p.relative_to(trained): p.read_bytes() for p in trained.rglob("wins.json")}
    for node in list((trained / "agents").iterdir()):
        shutil.rmtree(node)
    shown = json.loads(rrm("plan", study, "--out", trained, "--json", "--no-measure").out)
    assert {n["state"] for n in shown["nodes"]} == {"its weights are gone"}
    assert rrm("run", study, "--out", trained, "-w", 1).code == 0
    assert {p.relative_to(trained): p.read_bytes() for p in trained.rglob("wins.json")} == before


def test_weights_of_something_else(trained: Path, study: Path, rrm: Rrm) -> None:
    """They are found out when they are needed: when what they help is trained."""
    shown = json.loads(rrm("plan", study, "--out", trained, "--json", "--no-measure").out)
    key = next(n["key"] for n in shown["nodes"] if n["node"] == "block")
    folder = trained / "agents" / key / "published"
    (folder / "reward" / "wins.json").write_text("no json")
    listed = json.loads((folder / "saved.json").read_text())
    listed["reward/wins.json"] = hashlib.sha256(b"no json").hexdigest()
    (folder / "saved.json").write_text(json.dumps(listed))
    said = rrm("run", study, "--out", trained, "-w", 1, "--set", "node.total.effort.cases=7")
    assert said.code == 1
    assert "wins.json" in one_line(said.err)


def test_network_weights_of_another_shape_are_told_apart(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from rrm.errors import MissingWeights
    from rrm.models import weights

    weights.save(tmp_path / "w", torch.nn.Linear(2, 3).state_dict())
    with pytest.raises(MissingWeights, match="another network"):
        weights.restore(torch.nn.Linear(3, 2), tmp_path / "w")
    (tmp_path / "w").write_bytes(b"\x00" * 100)
    with pytest.raises(MissingWeights):
        weights.restore(torch.nn.Linear(3, 2), tmp_path / "w")


def test_training_that_diverges_leaves_a_record_that_can_be_read(tmp_path: Path, rrm: Rrm) -> None:
    out, rates = tmp_path / "out", [f"--set=cast.{role}.rate=1e30" for role in ("reward", "policy")]
    plan = ROOT / "configs" / "glossary.toml"
    said = rrm("run", plan, "--fast", "--arm", "recursive", "--out", out, "-w", 1, "-q", *rates)
    assert said.code == 1
    line = one_line(said.err)
    assert all(w in line for w in ("word-0, round 0, cast.reward: training diverged", "rate = 1e+30", "a lower rate"))
    assert rrm("report", out).code == 0
    assert rrm("export", out).code == 0


def test_two_runs_on_one_folder(trained: Path, study: Path, rrm: Rrm) -> None:
    import fcntl

    with (trained / "run.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = rrm("run", study, "--out", trained, "-w", 1)
    assert said.code == 1
    assert "another `rrm run` is using this folder" in one_line(said.err)
    assert rrm("run", study, "--out", trained, "-w", 1).code == 0


def test_a_full_disk(study: Path, rrm: Rrm) -> None:
    """Files may not grow beyond some size: the run ends in a line, and goes on once there is room."""
    out = study.with_name("out")

    def tight(most: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    command = [sys.executable, "-c", "from rrm.cli import main; main()", "run", study, "--out", out, "-w", "1", "-q"]
    for most in (20_000, 70_000):
        said = subprocess.run(
            command, env=_environment(), preexec_fn=tight(most), capture_output=True, text=True, check=False
        )
        assert said.returncode == 1, said
        line = one_line(said.stderr)
        assert "it goes on from what was recorded" in line or "room" in line or "space" in line, line
        assert not [p for p in out.rglob("*") if ".part" in p.name]
    assert rrm("run", study, "--out", out, "-w", 1).code == 0
    whole = study.with_name("whole")
    assert rrm("run", study, "--out", whole, "-w", 1).code == 0
    assert rrm("export", out).out == rrm("export", whole).out


def _environment() -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / p) for p in ("", "tasks", "assistants"))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


# -- evaluators that say little ---------------------------------------------------------------------------------------


def test_an_evaluator_that_never_judges_ends_a_run_without_figures(study: Path, rrm: Rrm) -> None:
    """Nothing was judged, so nothing is learnt, and that is what the report says: no crash, and no figure made up."""
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "--set", "cast.evaluator.skip=1.0").code == 0
    for node in json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"].values():
        assert node["judgements"] == 0
        assert node["judge_accuracy"] is None
        assert node["gate"] == "failed"
        assert node["abstained"] == 1
    assert "run: the user abstained on every case: nothing was learnt from its judgement" in rrm("report", out).out


def test_a_failed_gate_may_stop_what_would_be_built_on_it(study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")
    said = rrm(
        "run",
        study,
        "--out",
        out,
        "-w",
        1,
        "--set",
        "gate.on_fail=stop",
        "--set",
        "gate.agreement=1.0",
        "--set",
        "cast.assistant.slip=1.0",
    )
    assert said.code == 1
    line = one_line(said.err)
    assert "did not pass its gate" in line
    assert 'gate = "warn"' in line
    assert "report:" in said.out
    nodes = json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]
    assert nodes["block"]["truth"] is not None
    assert nodes["total"]["truth"] is None


@pytest.mark.parametrize("first", ["lenient", "strict"])
def test_a_gate_stops_only_the_arm_that_says_so(first: str, study: Path, rrm: Rrm) -> None:
    """Two arms share every node; one goes on after a failed gate, and the other must not rely on what failed."""
    arms = {"lenient": 'gate = "warn"', "strict": 'gate = "stop"'}
    second = next(name for name in arms if name != first)
    more = "".join(f"\n[arm.{name}]\n{arms[name]}\n" for name in (first, second))
    text = study.read_text().replace("gate = { items = 4 }", "gate = { items = 4, agreement = 1.0 }")
    study.write_text(text.replace("slip = 0.5", "slip = 1.0") + more)
    out = study.with_name("out")
    both = rrm("run", study, "--out", out, "-w", 1)
    assert both.code == 1
    assert "block (strict, seed 7) did not pass its gate" in one_line(both.err)
    nodes = json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]
    assert nodes["total"]["truth"] is not None
    alone = rrm("run", study, "--out", study.with_name("alone"), "-w", 1, "--arm", "lenient")
    assert alone.code == 0


def test_code_that_changes_while_a_run_goes_on(study: Path, tmp_path: Path) -> None:
    source = "from rrm_assistants.careless_adder import CarelessAdder\nclass Mine(CarelessAdder):\n    version = 1\n"
    (tmp_path / "mine.py").write_text(source)
    study.write_text(study.read_text().replace('"careless-adder"', f'"{tmp_path / "mine.py"}:Mine"'))
    job, *_ = jobs(Study.load(study))[0]
    store = Store(tmp_path / "out")
    with pytest.raises(RrmError, match=r"block \(run.*was changed after the run began"):
        train(replace(job, key="0" * 16), store, lambda *_: None)
    assert store.places() == []


def test_no_exam_leaves_figures_empty(study: Path, rrm: Rrm) -> None:
    out = study.with_name("out")
    said = rrm("run", study, "--out", out, "-w", 1, "--set", "effort.exam=0", "--set", "gate=off")
    assert said.code == 0, said
    node = json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]["total"]
    assert node["truth"] is None
    assert node["gate"] is None


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu", "x.toml"],
        ["run"],
        ["run", "x.toml", "--speed", "3"],
        ["run", "x.toml", "--workers", "many"],
        ["run", "x.toml", "--workers", "0"],
        ["new", "planet", "x"],
        ["new", "task", "No Name"],
        ["new", "task", "../x"],
        ["export", "x", "--format", "xml"],
        ["graph", "x.toml", "--out", "x.gif"],
        ["report"],
        ["report", "a", "b", "--html", "x.html"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = rrm(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "Error" in said.err
    assert list(tmp_path.iterdir()) == []
