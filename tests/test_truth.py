"""The truth is for reports and control arms: a whole recursive run passes where asking it raises, and the oracle's arm
does not. (Of agents that act: `test_control.py`.)"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rrm import Item, RrmError, build
from rrm.job import is_published, jobs
from rrm.plan import Study
from rrm.records import FEEDBACK, Exam, Feedback, GateResult
from rrm.registry import EVALUATORS, TASKS
from rrm.report import Report
from rrm.store import Store

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"

MAY_ASK = {
    "rrm/report/reading.py": "a report",
    "rrm/report/shown.py": "a report",
    "rrm/testing.py": "the contract of tasks",
    "rrm/evaluators/oracle.py": "the evaluator `oracle`",
    "rrm/control.py": "the reward `stated`",
}
"""The only modules that ask a task for the truth, and for whom. Those for `stated` do where its `of` is "truth"."""


class Leaked(Exception):
    """Somebody asked for the truth."""


@pytest.fixture
def nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task's truth raises."""

    def truth(self: object, item: Item, text: str) -> float:
        raise Leaked(f"asked for the truth about {item.prompt!r}")

    for name in TASKS.names():
        monkeypatch.setattr(TASKS.get(name), "truth", truth)


@pytest.mark.usefixtures("nobody_knows")
@pytest.mark.parametrize("arm", ["recursive", "unassisted"])
@pytest.mark.parametrize(
    "config", ["column_sum", "glossary", "handwriting", "letter_count", "minimax", "permutation_power"]
)
def test_a_whole_run_never_asks(config: str, arm: str, tmp_path: Path) -> None:
    study = Study.load(CONFIGS / f"{config}.toml", fast=True, arms=[arm])
    store = Store(tmp_path / "run")
    build.run(study, store, workers=1)
    for job in jobs(study)[0]:
        assert is_published(store, job.key)
        assert store.read(job.key, "exam", Exam)
        assert store.read(job.key, "gate", GateResult)
        said: dict[int, Feedback] = store.read(job.key, "0/feedback", FEEDBACK)
        assert said
        assert all(feedback.kind != "abstention" for feedback in said.values())
    with pytest.raises(RrmError, match="truth"):  # the report is where it is asked
        Report.from_store(store)


@pytest.mark.usefixtures("nobody_knows")
@pytest.mark.parametrize("config", ["column_sum", "glossary"])
def test_the_oracle_asks(config: str, tmp_path: Path) -> None:
    study = Study.load(CONFIGS / f"{config}.toml", fast=True, arms=["oracle"])
    with pytest.raises(RrmError, match="Leaked"):
        build.run(study, Store(tmp_path / "run"), workers=1)


def test_nobody_else_asks() -> None:
    """By the code: who calls what a task knows of the truth, tasks themselves apart."""
    asking = set[str]()
    for path in [p for folder in ("rrm", "assistants") for p in (ROOT / folder).rglob("*.py")]:
        calls = [n.func for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        known = [f for f in calls if isinstance(f, ast.Attribute) and not isinstance(f.value, ast.Call)]
        if any(
            f.attr in ("truth", "truths", "performance", "measures")
            and not (isinstance(f.value, ast.Name) and f.value.id == "self")
            for f in known
        ):
            asking.add(str(path.relative_to(ROOT)))
    assert asking == set(MAY_ASK)
    assert {name for name in EVALUATORS.names() if EVALUATORS.get(name).asks_truth} == {"oracle"}


@pytest.mark.parametrize("page", ["README.md", "docs/terms.md", "rrm/roles.py", "rrm/report/page.html.j2"])
def test_who_may_ask_is_said_in_full(page: str) -> None:
    told = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if "stated" in line]
    assert any("truth" in line for line in told)
