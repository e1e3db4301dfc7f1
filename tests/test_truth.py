"""The truth is for reports: a whole recursive run passes where asking it raises, and the oracle's arm does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rrm import Item, RrmError, build
from rrm.job import is_published, jobs
from rrm.plan import Study
from rrm.records import FEEDBACK, Exam, Feedback, GateResult
from rrm.registry import TASKS
from rrm.report import Report
from rrm.store import Store

CONFIGS = Path(__file__).parent.parent / "configs"


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
