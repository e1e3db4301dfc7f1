"""A package of its own, and `rrm` itself, are built, installed, and used from where they were installed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGIN = Path(__file__).parent / "plugin"

STUDY = """\
# Four days on, judged by who can count one: with the plug-in's own cast.
seed = 1
effort = { rounds = 2, cases = 40, candidates = 7, exam = 7 }
gate = { items = 7 }

[cast]
assistant = { use = "day-counter" }
evaluator = { use = "first-pick" }
protocol  = { use = "two-questions" }
reward    = { use = "tally" }
policy    = { use = "best-of-n", n = 7 }

[node.one]
task = { use = "weekday", days = 1 }

[node.two]
task = { use = "weekday", days = 2 }
helped_by = { half = "one" }

[node.four]
task = { use = "weekday", days = 4 }
helped_by = { half = "two" }
"""

LIST = """
from rrm.registry import ASSISTANTS, EVALUATORS, PROTOCOLS, TASKS
from rrm.testing import check_assistant, check_evaluator, check_protocol, check_task
assert TASKS.names()["weekday"] == "rrm-weekdays"
task = TASKS.build("weekday", {"days": 4})
check_task(task)
check_assistant(ASSISTANTS.build("day-counter"), task)
check_evaluator(EVALUATORS.build("first-pick"), task)
check_protocol(PROTOCOLS.build("two-questions"), task)
print(type(task).__module__)
"""


def said(command: list[str | Path], cwd: Path, path: str = "") -> str:
    """What a command prints, run far from this checkout."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "HOME": str(cwd), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{command}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
    return run.stdout


def install(source: Path, target: Path, cwd: Path) -> None:
    """With what is installed here alone: nothing is fetched."""
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    said([sys.executable, "-m", "pip", "install", *alone, "--target", target, source], cwd)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `rrm`, as a wheel brings it, and the plug-in."""
    place = tmp_path_factory.mktemp("installed")
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    said([sys.executable, "-m", "pip", "wheel", *alone, "--wheel-dir", place, ROOT], place)
    (wheel,) = place.glob("recursive_reward_modeling-*.whl")
    install(wheel, place / "site", place)
    install(PLUGIN, place / "site", place)
    return place


def test_the_wheel_holds_all_that_is_needed_and_no_more(installed: Path) -> None:
    (wheel,) = installed.glob("recursive_reward_modeling-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {
        "rrm/py.typed", "rrm/report/page.html.j2", "rrm/cli/__init__.py", "rrm_tasks/glossary.py",
        "rrm_assistants/word_transformer.py", "rrm/training/reward/bradley_terry.py",
    }  # fmt: skip
    checked_in = subprocess.run(["git", "ls-files", "rrm", "tasks/rrm_tasks", "assistants/rrm_assistants"],
        cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    wanted = {p.removeprefix("tasks/").removeprefix("assistants/") for p in checked_in if (ROOT / p).is_file()}
    assert wanted <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "rrm", "rrm_tasks", "rrm_assistants",
    }  # fmt: skip
    assert not any(name.endswith((".pyc", ".sqlite", ".toml")) for name in names)


def test_the_command_works_from_the_wheel(installed: Path) -> None:
    site = installed / "site"
    assert said([sys.executable, site / "bin" / "rrm", "--version"], installed, str(site)) == "rrm 0.1.0\n"
    where = said([sys.executable, "-c", "import rrm; print(rrm.__file__)"], installed, str(site))
    assert Path(where.strip()) == site / "rrm" / "__init__.py"


def test_the_plug_in_keeps_its_contracts(installed: Path) -> None:
    printed = said([sys.executable, "-c", LIST], installed, str(installed / "site"))
    assert printed == "rrm_weekdays.weekday\n"
    command = [sys.executable, installed / "site" / "bin" / "rrm"]
    listed = json.loads(said([*command, "list", "--json"], installed, str(installed / "site")))
    assert {e["name"]: e["from"] for e in listed["protocol"]}["two-questions"] == "rrm-weekdays"
    (task,) = (e for e in listed["task"] if e["name"] == "weekday")
    assert task["does"].startswith("Which day comes")


def test_a_study_runs_with_the_plug_in(installed: Path) -> None:
    (installed / "days.toml").write_text(STUDY)
    command = [sys.executable, installed / "site" / "bin" / "rrm"]
    said(
        [*command, "run", "days.toml", "--out", "days", "--workers", "1", "--quiet"], installed, str(installed / "site")
    )
    found = json.loads(said([*command, "report", "days", "--json"], installed, str(installed / "site")))
    (arm,) = found["arms"]
    assert [arm["nodes"][n]["level"] for n in ("one", "two", "four")] == [0, 1, 2]
    assert [arm["nodes"][n]["truth"]["mean"] for n in ("one", "two", "four")] == [1.0, 1.0, 1.0]
    assert arm["nodes"]["four"]["helper_questions"] > 0
    assert (installed / "days" / "report.html").is_file()
