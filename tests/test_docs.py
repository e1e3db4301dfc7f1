"""What the documentation shows is run: its Python, its plans, its commands, its tables of keys, its links."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import typer
from conftest import NODES, Rrm

from rrm import build
from rrm.cli import app
from rrm.cli.new import new
from rrm.conduct import conduct
from rrm.job import jobs
from rrm.plan import Cast, Effort, Expected, Gate, HelpedBy, NodePlan, Spot, Study, Term, Trial, TrialArm
from rrm.records import Record
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REWARD_TERMS,
    REWARD_TRAINERS,
    SELECTIONS,
    TASKS,
    Registry,
)
from rrm.report import Report
from rrm.roles import Component
from rrm.store import Store
from rrm.testing import check_assistant, check_evaluator, check_protocol, check_task
from rrm.trial.record import ASKED, STREAM, TrialAsked, TrialRecord

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("tasks/**/*.md"), *ROOT.glob("assistants/*.md")]
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    saved_as: str
    """The file that the words before it say to save it as; empty: none."""


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: found.start()].rstrip().rsplit("\n\n", 1)[-1]
        saved = re.search(r"[Ss]ave this as `([\w.]+)`", before)
        yield Block(page, text[: found.start()].count("\n") + 1, found[1], found[2], saved[1] if saved else "")


BLOCKS = [block for page in PAGES for block in blocks(page)]


def place(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


def of(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == language], ids=place)


def test_every_block_says_what_it_is() -> None:
    assert {b.language for b in BLOCKS} <= {"python", "toml", "console", "text", "json"}
    assert {b.language for b in BLOCKS} >= {"python", "toml", "console"}


# -- python -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the documentation says to save, and a small finished run."""
    place = tmp_path_factory.mktemp("workshop")
    for block in BLOCKS:
        if block.saved_as:
            assert not (place / block.saved_as).exists(), f"{block.saved_as} is saved twice"
            (place / block.saved_as).write_text(block.text, encoding="utf-8")
    for kind in ("task", "assistant"):  # as the page on extending says
        new(kind, f"my-{kind}", place / f"my_{kind}.py")
    mine = (place / "my_assistant.py").read_text(encoding="utf-8")
    assert mine.rstrip().endswith("words[-1]")
    (place / "my_assistant.py").write_text(mine.replace("else words[-1]", "else max(words)"), encoding="utf-8")
    study = Study.load(ROOT / "configs" / "column_sum.toml", fast=True)
    build.run(study, Store(place / "runs" / "column_sum"), workers=1)
    (place / "configs").symlink_to(ROOT / "configs")
    return place


@of("python")
def test_python_runs(block: Block, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    exec(compile(block.text, place(block), "exec"), {"__name__": "shown"})


SHOWN = [b for b in BLOCKS if b.page.name == "extending.md" and b.language == "python"]


@pytest.mark.parametrize("block", SHOWN, ids=lambda b: b.saved_as)
def test_a_component_is_short(block: Block) -> None:
    assert block.saved_as
    lines = len(block.text.splitlines())
    assert lines <= 40, f"{lines} lines"


def test_what_is_shown_keeps_its_contract(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    for words in (2, 4, 8):
        check_task(TASKS.build("longest_word.py:LongestWord", {"words": words}))
    check_task(TASKS.build("colder.py:Colder"))
    task = TASKS.build("longest_word.py:LongestWord", {"words": 4})
    for blunder in (0, 0.3):
        check_assistant(ASSISTANTS.build("word_picker.py:WordPicker", {"blunder": blunder}), task)
    check_assistant(ASSISTANTS.build("overwhelmed.py:Overwhelmed"), task)
    check_evaluator(EVALUATORS.build("two_looks.py:TwoLooks"), task)
    check_evaluator(EVALUATORS.build("two_looks.py:TwoLooks", {"budget": 3}), TASKS.build("column-sum"))
    check_protocol(PROTOCOLS.build("some_help.py:SomeHelp"), task)


def test_the_plan_of_home_made_parts_runs(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    store = Store(Path("runs/words"))
    build.run(Study.load(Path("words.toml")), store, workers=1)
    found = Report.from_store(store, trust=True).to_json()
    eight = {arm["arm"]["name"]: arm["nodes"]["eight"] for arm in found["arms"]}
    assert set(eight) == {"recursive", "some", "unassisted", "oracle"}
    right = {name: node["judge_accuracy"]["mean"] for name, node in eight.items()}
    assert right["recursive"] > right["unassisted"] + 0.1, "help makes the user right more often"
    assert right["oracle"] == 1
    asked = {name: node["helper_questions"] for name, node in eight.items()}
    assert asked["recursive"] == 240
    assert 0 < asked["some"] < 240
    assert asked["unassisted"] == 0


def test_the_plan_of_what_new_writes_runs(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    store = Store(Path("runs/my_plan"))
    build.run(Study.load(Path("my_plan.toml")), store, workers=1)
    found = Report.from_store(store, trust=True).to_json()
    arms = {arm["arm"]["name"]: arm["nodes"]["three-digits"] for arm in found["arms"]}
    assert arms["recursive"]["helper_questions"] > 0
    right = {name: arm["judge_accuracy"]["mean"] for name, arm in arms.items()}
    assert right["oracle"] == 1
    assert right["recursive"] > right["unassisted"] + 0.1, "help makes the user right more often"


def test_the_plan_that_learns_learns(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    store = Store(Path("runs/colder"))
    build.run(Study.load(Path("colder.toml")), store, workers=1)
    (arm,) = Report.from_store(store, trust=True).to_json()["arms"]
    many = arm["nodes"]["many"]
    assert many["judge_accuracy"]["mean"] == 1
    assert many["truth"]["low"] > many["majority"], "measured .90 [.74, .96] against .52"


def test_the_tutorial_ends_as_it_says(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its small size: what the help is worth to the agents, and to the people of the trial."""
    monkeypatch.chdir(workshop)
    check_task(TASKS.build("bids.py:HighestBid", {"bids": 4}))
    store, study = Store(Path("runs/bids")), Study.load(Path("bids.toml"), fast=True)
    build.run(study, store, workers=1)
    conduct(study, store)
    report = Report.from_store(store, trust=True)
    truth = {arm["arm"]["name"]: arm["nodes"]["eight"]["truth"] for arm in report.to_json()["arms"]}
    assert truth["recursive"]["low"] > truth["unassisted"]["high"], "measured .99 against .29 at full size"
    (trial,) = report.to_json()["trial"]
    cells = {cell["name"]: cell["accuracy"]["mean"] for cell in trial["cells"]}
    assert cells["assisted"] > cells["unassisted"]


# -- plans ------------------------------------------------------------------------------------------------------------


@of("toml")
def test_plans_load(block: Block, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    raw = tomllib.loads(block.text)
    if "project" in raw:
        return  # of a package, not a plan
    path = workshop / "shown.toml"
    path.write_text(block.text if "node" in raw else block.text + NODES, encoding="utf-8")
    for fast in (False, True) if "fast" in raw else (False,):
        wanted, arms = jobs(Study.load(path, fast=fast))
        assert wanted
        assert arms


KEYS = {
    "Effort": Effort, "Gate": Gate, "Spot": Spot, "Cast": Cast, "Node": NodePlan, "Help": HelpedBy, "Term": Term,
    "Trial": Trial, "TrialArm": TrialArm, "Expected": Expected,
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_every_key_of_a_plan_is_explained(name: str) -> None:
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    found = re.search(rf"^<!-- keys: {name} -->\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/plan.md has no table for {name}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()[2:]]
    fields = KEYS[name].model_fields
    assert [row[0].strip("`") for row in rows] == list(fields)
    for key, default, meaning in rows:
        field = fields[key.strip("`")]
        assert meaning
        if field.is_required():
            assert default == "–"
        elif isinstance(field.default, str | int | float | bool):
            assert tomllib.loads(f"x = {default.strip('`')}")["x"] == field.default
        elif isinstance(field.default, Component | Record) and hasattr(field.default, "use"):
            assert default.strip("`") == field.default.use


TRAINING = [(r, name) for r in (REWARD_TRAINERS, POLICY_TRAINERS, REWARD_TERMS, SELECTIONS) for name in r.names()]


@pytest.mark.parametrize(("registry", "name"), TRAINING, ids=lambda x: x if isinstance(x, str) else x.kind)
def test_every_setting_of_what_trains_is_listed(registry: Registry[Component], name: str) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    fields = registry.get(name).Settings.model_fields
    assert f"\n### {name}\n" in text, f"docs/settings.md does not name {name}"
    found = re.search(rf"^<!-- settings: {registry.kind} {name} -->\n(.*?)\n\n", text + "\n", re.DOTALL | re.MULTILINE)
    assert bool(found) == bool(fields), f"docs/settings.md has no table for {name}, or one too many"
    rows = (
        [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in found[1].splitlines()[2:]] if found else []
    )
    assert [row[0].strip("`") for row in rows] == list(fields)
    for key, default, meaning in rows:
        told = None if default == "–" else tomllib.loads(f"x = {default.strip('`')}")["x"]
        assert told == fields[key.strip("`")].default, (name, key)
        assert meaning


def test_the_settings_page_names_no_component_that_is_gone() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### (.*)$", text, re.MULTILINE)) == sorted(name for _, name in TRAINING)


# -- commands ---------------------------------------------------------------------------------------------------------


def commands(block: Block) -> Iterator[str]:
    for line in block.text.splitlines():
        if line.startswith("$ "):
            yield line[2:]


def test_the_command_line_is_shown() -> None:
    shown = {c.split()[1] for b in BLOCKS if b.language == "console" for c in commands(b) if c.startswith("rrm ")}
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    assert shown >= set(group.commands)


@of("console")
def test_commands_are_as_they_are_written(block: Block) -> None:
    lines = list(commands(block))
    assert lines, "a console block has lines that begin with `$ `"
    for line in lines:
        words = shlex.split(line.split(" | ")[0], comments=True)
        if words[0] == "make":
            rules = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{rule}:", rules, re.MULTILINE) for rule in words[1:]), line
        elif words[0] == "rrm":
            parse(words[1:])
        else:
            assert words[0] in {"git", "cd", "python", "pip", "ruff", "mypy", "pytest"}, line


PLANNED = [
    line
    for block in BLOCKS
    if block.language == "console"
    for line in commands(block)
    if re.match(r"rrm (plan|run) configs/", line) and "replay" not in line
]


@pytest.mark.parametrize("line", PLANNED)
def test_what_would_be_trained_by_a_command_can_be_planned(
    line: str, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [w for w in shlex.split(line, comments=True)[2:] if w != "--quiet"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    said = rrm("plan", *words, "--no-measure")
    assert said.code == 0, said.err
    assert " nodes to train" in said.out


def parse(words: list[str]) -> None:
    """Raises what typer raises where a command, an option or a value is not known."""
    group = typer.main.get_command(app)
    if words[0].startswith("-"):
        assert any(words[0] in p.opts for p in group.params), words
        return
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:], resilient_parsing=False)


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_streams_of_trials_are_listed() -> None:
    listed = (ROOT / "docs/records.md").read_text()
    for stream, record in ((STREAM, TrialRecord), (ASKED, TrialAsked)):
        assert re.search(rf"^\|[^|]*\| `{stream}` \| `{record.__name__}`: ", listed, re.MULTILINE), stream


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{target} is not there"
        assert there.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(there), f"{target}: there is no such heading; there are {sorted(anchors(there))}"


def test_pages_are_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "index.md":
            assert f"]({page.relative_to(ROOT / 'docs')})" in index, f"docs/index.md does not name {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_name_no_place_of_ours(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", text)
    assert not re.search(r"pypi|img\.shields|badge", text, re.IGNORECASE)


def test_the_picture_is_whole() -> None:
    picture = (ROOT / "docs" / "recursion.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg ")
    assert "<title" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "script" not in picture
