"""The truth is for reports and control arms: a whole recursive run passes where asking it raises, and the oracle's arm
does not. (Of agents that act: `test_control.py`.)"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from rrm import Item, RrmError, build
from rrm.control import lived_step, replay
from rrm.job import is_published, jobs
from rrm.models.actor import live
from rrm.plan import Study
from rrm.records import FEEDBACK, Exam, Feedback, GateResult
from rrm.registry import EVALUATORS, TASKS
from rrm.report import Report
from rrm.store import Store
from rrm.training.reward.stated import StatedReward

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"

MAY_ASK = {
    "rrm/report/second.py": "a report, of `rrm rejudge`",
    "rrm/report/truth.py": "a report",
    "rrm/report/shown.py": "a report",
    "rrm/report/trial.py": "a report",
    "rrm/testing.py": "the contract of tasks",
    "rrm/evaluators/oracle.py": "the evaluator `oracle`",
    "rrm/evaluators/_gold.py": "gold questions, where a plan asks for them: what is said of these is never learnt from",
    "rrm/control.py": "the reward `stated`",
}
"""The only modules that ask a task for the truth, and for whom. Those for `stated` do where its `of` is "truth"."""

MAY_PASS = {
    "rrm/control.py": "steps are lived with it or without",
    "rrm/models/actor.py": "an agent's own episodes, lived with it or without",
    "rrm/models/environment.py": "where the reward is `stated`",
    "rrm/training/policy/ppo.py": "where the reward is `stated`",
    "rrm/training/reward/stated.py": "the reward `stated`",
}
"""The only modules in which a call has the keyword `truth`, as `replay(…, truth=True)` asks for it without its name."""


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
    asking, passing = set[str](), set[str]()
    for path in [p for folder in ("rrm", "assistants") for p in (ROOT / folder).rglob("*.py")]:
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        name = str(path.relative_to(ROOT))
        if any(map(_asks, calls)):
            asking.add(name)
        if any(keyword.arg == "truth" for call in calls for keyword in call.keywords):
            passing.add(name)
    assert asking == set(MAY_ASK)
    assert passing == set(MAY_PASS)
    assert {name for name in EVALUATORS.names() if EVALUATORS.get(name).asks_truth} == {"oracle"}


def _asks(call: ast.Call) -> bool:
    asked = call.func
    return (
        isinstance(asked, ast.Attribute)
        and asked.attr in ("truth", "truths", "performance", "measures")
        and not isinstance(asked.value, ast.Call)
        and not (isinstance(asked.value, ast.Name) and asked.value.id == "self")
    )


@pytest.mark.parametrize("taker", [lived_step, replay, live, StatedReward])
def test_whoever_asks_for_steps_with_the_truth_names_it(taker: Callable[..., object]) -> None:
    """So that `test_nobody_else_asks` sees it in the call."""
    assert inspect.signature(taker).parameters["truth"].kind is inspect.Parameter.KEYWORD_ONLY


SENTENCES = {
    "README.md": """Only reports ever ask a task for the truth, and the control arms: the evaluator `oracle`, and the
        reward `stated` with `of = "truth"`. Gold questions for raters, which a plan may ask for, do too; what is said
        of them is never learnt from.""",
    "docs/terms.md": """Reports ask for it, and the controls that are to know it: the evaluator `oracle`, and the reward
        `stated` with `of = "truth"`; gold questions do, where a plan wants them; nobody else may.""",
    "rrm/roles.py": """Asked by reports only, and by two controls: the evaluator `oracle`, and the reward `stated` of
        the truth. Gold questions are made with it, where a plan mixes them into raters' work: nothing is learnt from
        those.""",
    "rrm/report/page.html.j2": """In training only control arms ask the truth: the user of the <i>oracle</i> arm (of
        training items and at its gate), and the reward called <i>stated</i>, where the plan says that it states the
        truth; no other user, and no helper or trainer, does.""",
}


@pytest.mark.parametrize("page", SENTENCES)
def test_who_may_ask_is_said_in_full(page: str) -> None:
    said = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert " ".join(SENTENCES[page].split()) in said
