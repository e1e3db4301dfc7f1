"""What is said of single steps: as choices between beginnings of answers, as a person says it, and what is learnt."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from rrm import (
    Abstention,
    ActionLabels,
    ActionValues,
    Advantages,
    Assistant,
    Case,
    Exhibit,
    Feedback,
    Item,
    PlanError,
    Preference,
    Response,
    Seed,
    StepLabels,
    Store,
    Study,
    Task,
    Turn,
    build,
)
from rrm.assemble import assemble
from rrm.control import ControlTask, StepReward, replay
from rrm.cost import costs
from rrm.evaluators.terminal import Terminal
from rrm.job import jobs
from rrm.models.steps import StepScorer
from rrm.registry import ASSISTANTS, EVALUATORS, REWARD_TRAINERS, TASKS
from rrm.report import Report
from rrm.testing import check_evaluator
from rrm.training.choice_table import ChoiceTable
from rrm.training.feedback import choices

torch.set_num_threads(1)

LIGHT = settings(max_examples=40, deadline=None)
MOVES = "xyz"


class Walk(Task):
    """Answers made of three steps, each worth what a test says."""

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task="walk", prompt=f"w{rng.randrange(3)}")

    def moves(self, item: Item) -> Sequence[str]:
        return MOVES


WALK = Walk()
TEXT = st.text(MOVES, min_size=1, max_size=4)
VALUE = st.floats(-4, 4)
WORTH = st.fixed_dictionaries(dict.fromkeys(MOVES, VALUE))


def case(item: Item, *texts: str) -> Case:
    return Case(item=item, responses=tuple(Response(item=item.id, text=t, sample=i) for i, t in enumerate(texts)))


def said(kind: type[Any], text: str, **what: Any) -> tuple[Case, Feedback]:
    one = case(Item(task="walk", prompt="w0"), text)
    return one, kind(case=one.id, evaluator="test", **what)


def loss(judged: tuple[Case, Feedback], worth: dict[str, float]) -> float:
    """The mean negative log-likelihood, where a step is worth more the later it comes."""
    table = ChoiceTable.of([judged], WALK, tie_weight=1.0)
    scores = [[sum((t + 1) * worth[move] for t, move in enumerate(text)) for text in row] for row in table.candidates]
    return float(table.loss(torch.tensor(scores, dtype=torch.float64), slice(None)))


def logistic(p: float, margin: float) -> float:
    return p * log(1 + exp(-margin)) + (1 - p) * log(1 + exp(margin))


# -- the likelihood ----------------------------------------------------------------------------------------------------


@LIGHT
@given(TEXT, st.sampled_from(MOVES), WORTH)
def test_an_action_label_chooses_among_what_could_have_followed(text: str, move: str, worth: dict[str, float]) -> None:
    """Only the step counts: what was done before it cancels."""
    t = len(text) - 1
    labels = (*[""] * t, move)
    expected = log(sum(exp((t + 1) * w) for w in worth.values())) - (t + 1) * worth[move]
    assert loss(said(ActionLabels, text, labels=labels), worth) == pytest.approx(expected, abs=1e-4)


@LIGHT
@given(TEXT, VALUE, st.floats(0.5, 4), WORTH)
def test_a_value_is_measured_from_the_answer_without_the_step(
    text: str, value: float, scale: float, worth: dict[str, float]
) -> None:
    t = len(text) - 1
    p, margin = 1 / (1 + exp(-value / scale)), (t + 1) * worth[text[t]]
    of = said(ActionValues, text, values=(*[None] * t, value), scale=scale)
    assert loss(of, worth) == pytest.approx(logistic(p, margin), abs=1e-4)
    assert loss(said(StepLabels, text, labels=(*[None] * t, p)), worth) == pytest.approx(logistic(p, margin), abs=1e-4)


@LIGHT
@given(TEXT, VALUE, st.floats(0.5, 4), WORTH)
def test_an_advantage_is_measured_from_each_alternative(
    text: str, value: float, scale: float, worth: dict[str, float]
) -> None:
    t, own = len(text) - 1, text[-1]
    p = 1 / (1 + exp(-value / scale))
    expected = np.mean([logistic(p, (t + 1) * (worth[own] - w)) for move, w in worth.items() if move != own])
    assert loss(said(Advantages, text, values=(*[None] * t, value), scale=scale), worth) == pytest.approx(
        expected, abs=1e-4
    )


@LIGHT
@given(TEXT, st.lists(st.none() | VALUE, min_size=1, max_size=4), WORTH)
def test_turning_all_signs_round_changes_no_likelihood(
    text: str, values: list[float | None], worth: dict[str, float]
) -> None:
    values[0] = values[0] or 1.0
    turned = [None if v is None else -v for v in values]
    other = {move: -w for move, w in worth.items()}
    for kind in (ActionValues, Advantages):
        one, two = (said(kind, text, values=tuple(v)) for v in (values, turned))
        assert loss(one, worth) == pytest.approx(loss(two, other), abs=1e-6)


def test_each_opinion_counts_once() -> None:
    """However many alternatives there are, and whatever else is said of the answer."""
    kinds: list[tuple[type[Any], dict[str, Any]]] = [
        (ActionLabels, {"labels": ("x", "", "z", "y")}),
        (ActionValues, {"values": (0.5, None, -1.0, 0.0)}),
        (Advantages, {"values": (0.5, None, -1.0, 0.0)}),
        (StepLabels, {"labels": (1.0, None, 0.0, 0.5)}),
    ]
    for kind, what in kinds:
        judged = said(kind, "xyzx", **what)
        assert sum(c.weight for c in choices(*judged, moves=MOVES)) == pytest.approx(3) == judged[1].comparisons
        assert float(ChoiceTable.of([judged], WALK, tie_weight=1.0).weight.sum()) == pytest.approx(3)


def test_without_steps_only_their_share_teaches() -> None:
    (whole,) = choices(*said(StepLabels, "xyz", labels=(1, None, 0)))
    assert (whole.options, whole.target) == (("xyz", None), (0.5, 0.5))
    assert choices(*said(StepLabels, "xyz", labels=(None,))) == []
    for judged in (
        said(ActionLabels, "xyz", labels=("x",)),
        said(ActionValues, "xyz", values=(1.0,)),
        said(Advantages, "xyz", values=(1.0,)),
    ):
        assert choices(*judged) == []


def test_what_is_no_step_chooses_nothing() -> None:
    """A label that is no action, and opinions of steps that the answer has not."""
    assert choices(*said(ActionLabels, "xy", labels=("q", "", "x")), moves=MOVES) == []
    assert choices(*said(ActionValues, "x", values=(None, 1.0)), moves=MOVES) == []
    assert choices(*said(Advantages, "x", values=(None, 1.0)), moves=MOVES) == []


# -- beginnings --------------------------------------------------------------------------------------------------------


def acting(world: str = "side-effects") -> ControlTask:
    task = TASKS.build("gridworld", {"world": world})
    assert isinstance(task, ControlTask)
    return task


def wandered(task: ControlTask, count: int, salt: int = 0) -> tuple[list[Item], list[str]]:
    items = [task.sample(Seed(1).at(salt, i).rng()) for i in range(count)]
    return items, task.wander(items, [Seed(2).at(salt, i) for i in range(count)])


def agent(task: Task) -> Assistant:
    return ASSISTANTS.build("actor", {"width": 32}).prepare(task, seed=Seed(0))


def test_the_beginning_of_an_answer_is_worth_its_own_steps() -> None:
    task = acting()
    items, texts = wandered(task, 30)
    whole = replay(task, items, texts, truth=True)
    begun = replay(task, items, [text[:7] for text in texts], truth=True)
    for name in ("features", "visible", "performance"):
        one, other = getattr(whole, name), getattr(begun, name)
        assert (one[:, :7] == other[:, :7]).all()
        assert not other[:, 7:].any()
    assert begun.performance is not None
    assert begun.performance.astype(float).sum(1) == pytest.approx(task.truths(items, [t[:7] for t in texts]), abs=1e-4)


def test_beginnings_that_share_steps_are_scored_as_if_each_stood_alone() -> None:
    task = acting()
    items, texts = wandered(task, 9)
    rows = [[t[:4], "", *(t[:9] + move for move in task.actions), t, t[:4]] for t in texts]
    scorer = agent(task).scorer(task, seed=Seed(3))  # type: ignore[attr-defined]
    assert isinstance(scorer, StepScorer)
    codes = scorer.encode(items, rows)
    merged = scorer(*codes)
    assert codes[0].shape[1] < len(rows[0]) * task.horizon / 4, "shared steps are kept once"
    for item, row, scores in zip(items, rows, merged, strict=True):
        features = torch.from_numpy(replay(task, [item] * len(row), row).features)
        assert scores.tolist() == pytest.approx(scorer.steps(features).sum(-1).tolist(), abs=1e-4)
    assert merged[:, 1].abs().max() == 0, "nothing is worth nothing"


# -- what a person says ------------------------------------------------------------------------------------------------


def judged(
    task: Task, cases: Sequence[Case], form: str, *, use: str = "simulated", **settings: Any
) -> list[tuple[Case, Any]]:
    person = EVALUATORS.build(use, {"feedback": form, **settings})
    return list(zip(cases, person.judge(task, cases, seed=Seed(5)), strict=True))


def some_cases(count: int = 60, world: str = "side-effects") -> tuple[ControlTask, list[Case]]:
    task = acting(world)
    return task, [case(item, text) for item, text in zip(*wandered(task, count), strict=True)]


def brought(task: Task, one: Case) -> list[dict[str, float]]:
    """What each step that could be taken after each beginning of the answer would truly bring; nothing is said of
    steps after the first unsafe one, for harm is truly done once, and a person who sees one step sees it there."""
    text, moves = one.responses[0].text, task.moves(one.item)
    texts = [text[:t] + move for t in range(len(text)) for move in ("", *moves)]
    truths = np.array(task.truths([one.item] * len(texts), texts)).reshape(len(text), -1)
    found = [dict(zip(moves, (row[1:] - row[0]).tolist(), strict=True)) for row in truths]
    unsafe = next((t for t, move in enumerate(text) if found[t][move] < -5), len(text))
    return found[: unsafe + 1]


@pytest.mark.parametrize("form", ["action-labels", "action-values", "advantages", "step-labels"])
@pytest.mark.parametrize("use", ["simulated", "oracle"])
def test_contract(use: str, form: str) -> None:
    task = acting()
    errors = {"beta": 2.0, "mistake": 0.2, "fatigue": 0.02, "skip": 0.1, "equal": 0.1, "position_bias": 0.1}
    for more in ({}, errors):
        check_evaluator(EVALUATORS.build(use, {"feedback": form, **more}), task, cases=2)


@pytest.mark.parametrize("use", ["simulated", "oracle"])
def test_who_looks_at_both_frames_of_a_step_sees_what_it_is_worth(use: str) -> None:
    task, cases = some_cases(40)
    enough = {"budget": 10, "worthless": -1.0, "perfect": 1.0} if use == "simulated" else {"worthless": -1.0}
    truth = [brought(task, one) for one in cases]
    low, labels = 0.0, 0
    for (one, said), worth in zip(judged(task, cases, "action-values", use=use, **enough), truth, strict=True):
        told = {t: v for t, v in enumerate(said.values) if v is not None}
        assert len(told) == min(4, len(task.judgeable(one)[1]))
        told = {t: v for t, v in told.items() if t < len(worth)}
        assert told == pytest.approx({t: worth[t][one.responses[0].text[t]] for t in told}, abs=1e-4)
        low = min(low, *told.values(), 0.0)
    for (one, said), worth in zip(judged(task, cases, "advantages", use=use, **enough), truth, strict=True):
        for t, value in enumerate(said.values[: len(worth)]):
            own = one.responses[0].text[t]
            others = np.mean([w for move, w in worth[t].items() if move != own])
            assert value is None or value == pytest.approx(worth[t][own] - others, abs=1e-4)
    for (_, said), worth in zip(judged(task, cases, "action-labels", use=use, **enough), truth, strict=True):
        for t, label in enumerate(said.labels[: len(worth)]):
            best, worst = max(worth[t].values()), min(worth[t].values())
            assert not label or worth[t][label] == pytest.approx(best, abs=1e-4) != pytest.approx(worst, abs=1e-4)
            labels += bool(label)
    for (one, said), worth in zip(judged(task, cases, "step-labels", use=use, **enough), truth, strict=True):
        for t, label in enumerate(said.labels[: len(worth)]):
            assert label is None or label == float(worth[t][one.responses[0].text[t]] > -1e-4)
    assert low < -5, "nobody broke a vase: these cases show nothing"
    assert labels > 20


def test_who_has_no_time_to_look_knows_what_everybody_sees() -> None:
    task, cases = some_cases()
    for one, said in judged(task, cases, "action-values", budget=1):
        lived = replay(task, [one.item], [one.responses[0].text])
        for t, value in enumerate(said.values):
            assert value is None or value == pytest.approx(float(lived.visible[0, t]), abs=1e-4)
        assert said.work == 0


def test_work_is_two_frames_for_everything_looked_at() -> None:
    task, cases = some_cases(9)
    for form, frames in (("action-values", 2), ("step-labels", 2), ("action-labels", 10), ("advantages", 10)):
        for one, said in judged(task, cases, form, budget=10, steps=3):
            assert said.work == frames * min(3, len(task.judgeable(one)[1]))
            assert said.seconds is None, "no pace is set"
        for _, said in judged(task, cases, form, budget=10, steps=3, step_seconds=0.5):
            assert said.seconds == said.work * 0.5 > 0


def test_helpers_say_which_step_to_judge() -> None:
    task, cases = some_cases(20)
    for one in cases:
        (query,) = task.queries(one)
        lived = len(task.judgeable(one)[1])
        for number in (1, lived):
            told = Exhibit(text=str(number), agent="auditor", about=one.responses[0].id, query=query)
            pointed = Case(item=one.item, responses=one.responses, exhibits=(told,))
            ((_, said),) = judged(task, [pointed], "action-values", budget=2, steps=1)
            assert [t for t, v in enumerate(said.values) if v is not None] == [number - 1]
            ((_, said),) = judged(task, [pointed], "action-values", budget=2, steps=3)
            assert said.values[number - 1] is not None
            assert said.comparisons == min(3, lived)
        for nonsense in ("nothing", "99", "0", "-1", "\x1b[2J"):
            told = Exhibit(text=nonsense, agent="auditor", about=one.responses[0].id, query=query)
            assert task.judgeable(Case(item=one.item, responses=one.responses, exhibits=(told,)))[0] == []


def test_people_err_in_steps_as_they_do_in_answers() -> None:
    task, cases = some_cases(40)
    sure = {"budget": 10, "worthless": -1.0, "perfect": 1.0}
    for form, turned in (
        ("action-values", lambda v: -v),
        ("advantages", lambda v: -v),
        ("step-labels", lambda v: 1 - v),
    ):
        right, wrong = (judged(task, cases, form, mistake=m, **sure) for m in (0.0, 1.0))
        for (_, one), (_, other) in zip(right, wrong, strict=True):
            said = (getattr(one, "values", None) or one.labels, getattr(other, "values", None) or other.labels)
            assert [None if v is None else turned(v) for v in said[0]] == list(said[1])
    half = judged(task, cases, "step-labels", mistake=0.3, **sure)
    known = [
        (one.labels[t], label)
        for (_, one), (_, other) in zip(judged(task, cases, "step-labels", **sure), half, strict=True)
        for t, label in enumerate(other.labels)
        if label is not None
    ]
    assert binomtest(sum(a != b for a, b in known), len(known), 0.3).pvalue > 1e-3
    assert all(isinstance(said, Abstention) for _, said in judged(task, cases, "advantages", skip=1.0))
    assert all(not any(said.values) for _, said in judged(task, cases, "action-values", equal=10.0, **sure))
    assert all(not any(said.labels) for _, said in judged(task, cases, "action-labels", equal=10.0, **sure))
    noisy = judged(task, cases, "action-values", beta=3.0, **sure)
    plain = judged(task, cases, "action-values", **sure)
    errors = [
        v - w
        for (_, one), (_, other) in zip(noisy, plain, strict=True)
        for v, w in zip(one.values, other.values, strict=True)
        if v is not None
    ]
    # A logistic of scale 1 / 3 has a standard deviation of pi / sqrt(3) / 3 = .60; these are 150 draws or so.
    assert np.std(errors) == pytest.approx(0.6046, abs=0.15)


def test_a_task_without_steps_is_refused_as_the_plan_is_loaded(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
[cast]
assistant = "careless-adder"
reward = "tally"
policy = "best-of-n"
evaluator = { use = "simulated", feedback = "action-labels" }
[node.a]
task = { use = "column-sum", length = 4 }
"""
    )
    (arm,) = Study.load(plan).arms
    with pytest.raises(PlanError, match=r"node\.a\.cast\.evaluator: .*'action-labels'.*'column-sum' have none"):
        assemble(arm.plan)


def test_a_person_at_the_terminal_speaks_of_steps() -> None:
    task, cases = some_cases(3, "off-switch")
    two = case(cases[2].item, "U" * 20, "D" * 20)
    lines = ["3+ 1-\n", "99+\n", "3+ 1u\n", "+\n", "2x\n", "3u 2A\n", "3+\n", "1\n"]
    terminal, screen = Terminal(), io.StringIO()
    terminal.console, terminal.read = Console(file=screen, width=200), lambda: lines.pop(0)
    labels, actions, better = terminal.judge(task, [*cases[:2], two], seed=Seed(0))
    assert isinstance(labels, StepLabels)
    assert labels.labels == (0, None, 1)
    assert isinstance(actions, ActionLabels)
    assert actions.labels == ("", "A", "U")
    assert isinstance(better, Preference), "of several answers it is said which is best"
    assert screen.getvalue().count("or its steps: 3+ 7- good and bad, 3U what to do (U D L R A)") == 6
    assert screen.getvalue().count("not one of the keys") == 5
    assert not lines


class Hostile(Walk):
    """Its steps are called by what would move the cursor."""

    def moves(self, item: Item) -> Sequence[str]:
        return ("\x9b", "\u202e", "\n", "x")


def test_what_steps_are_called_is_shown_inert() -> None:
    terminal, screen = Terminal(), io.StringIO()
    lines = ["?\n"]
    terminal.console, terminal.read = Console(file=screen, width=200), lambda: lines.pop(0)
    list(terminal.judge(Hostile(), [case(WALK.sample(Random(0)), "xx")], seed=Seed(0)))
    shown = screen.getvalue()
    assert "what to do (‹U+009B› ‹U+202E› space x)" in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_what_was_said_of_steps_is_said_again(tmp_path: Path) -> None:
    task, cases = some_cases(4)
    store, said = Store(tmp_path), []
    for number, form in enumerate(("action-labels", "action-values", "advantages", "step-labels")):
        ((_, one),) = judged(task, cases[number : number + 1], form, budget=10)
        said.append(one)
    store.append("a" * 16, "0/feedback", said, first=0)
    again = EVALUATORS.build("replay", {"run": str(tmp_path)})
    assert list(again.judge(task, cases, seed=Seed(0))) == said


# -- what is learnt ----------------------------------------------------------------------------------------------------


def fitted(judged: Sequence[tuple[Case, Feedback]], task: ControlTask) -> StepReward:
    settings = {"ensemble": 2, "batch": 24, "whole": 0, "last_steps": 200, "warm_up": 0, "rate": 2e-3}
    trainer = REWARD_TRAINERS.build("bradley-terry", settings)
    reward = trainer.fit(judged, task=task, assistant=agent(task), start=None, turn=Turn(0, 1), seed=Seed(0))
    assert isinstance(reward, StepReward)
    return reward


FORMS = ("preference", "demonstration", "action-labels", "action-values", "advantages", "step-labels")


@pytest.mark.parametrize("form", FORMS)
def test_each_kind_teaches_who_broke_the_vase(form: str) -> None:
    """From what an informed person says of episodes, on pairs that it never saw: right more often than chance."""
    task = acting()
    items, one = wandered(task, 300)
    pairs = list(zip(one, task.wander(items, [Seed(7).at(i) for i in range(300)]), strict=True))
    truths = np.array([task.truths([item] * 2, pair) for item, pair in zip(items, pairs, strict=True)])
    cases = [case(item, *pair) for item, pair in zip(items[:200], pairs, strict=False)]
    scale = {"worthless": -1.0, "perfect": 1.0}
    reward = fitted(judged(task, cases, form, budget=84, steps=6, **scale), task)
    told = [i for i in range(200, 300) if abs(truths[i, 0] - truths[i, 1]) > 0.5]
    scores = reward.score([items[i] for i in told], [pairs[i] for i in told]).mean
    right = int(((scores[:, 0] > scores[:, 1]) == (truths[told, 0] > truths[told, 1])).sum())
    if form != "advantages":  # which say nothing of how good it was to be there at all
        assert binomtest(right, len(told), 0.5, alternative="greater").pvalue < 0.001, (right, len(told))
    new = [case(item, pair[0]) for item, pair in zip(items[200:], pairs[200:], strict=True)]
    worth = [(one, t, step) for one in new for t, step in enumerate(brought(task, one)) if min(step.values()) < -5]
    shown = [[one.responses[0].text[:t] + move for move in task.actions] for one, t, _ in worth]
    scored = reward.score([one.item for one, _, _ in worth], shown).mean
    best = sum(step[task.actions[int(row.argmax())]] > -5 for row, (_, _, step) in zip(scored, worth, strict=True))
    chance = np.mean([np.mean([w > -5 for w in step.values()]) for _, _, step in worth])
    assert binomtest(best, len(worth), float(chance), alternative="greater").pvalue < 0.001, (best, len(worth))


def test_the_study_of_the_documents_runs_in_small(tmp_path: Path) -> None:
    """To its end, and is reported; and so do the kinds that it leaves out."""
    text = (Path(__file__).parent.parent / "docs" / "studies.md").read_text(encoding="utf-8")
    (plan,) = [p for p in text.split("```toml\n") if "action-labels" in p.split("```")[0]]
    more = '[arm.advantages]\ncast = { evaluator = { feedback = "advantages" } }\n'
    more += '[arm.demonstrations]\ncast = { evaluator = { feedback = "demonstration", budget = 42 } }\n'
    path, store = tmp_path / "plan.toml", Store(tmp_path / "run")
    path.write_text(plan.split("```")[0].replace("[vary]\nseed = [0, 1]\n", more))
    build.run(Study.load(path, fast=True), store, workers=1)
    found = {
        a["arm"]["name"]: a["nodes"]["side-effects"]
        for a in json.loads(json.dumps(Report.from_store(store).to_json()))["arms"]
    }
    assert found.keys() == {"preferences", "values", "labels", "advantages", "demonstrations"}
    assert found["values"]["judgements"] == 4 * (4 + 2)
    wanted, arms = jobs(Study.load(path, fast=True))
    told = costs(wanted, Study.load(path, fast=True), None, measure=False)
    for name, node in found.items():
        key = arms[list(found).index(name)].nodes["side-effects"]
        assert node["judgements"] <= told[key].judgements, name
        may_be_silent = name in ("labels", "demonstrations")
        assert may_be_silent or node["judgements"] == told[key].judgements, name
    assert found["values"]["frames_seen"] == 2 * 4 * (4 + 2)
    assert found["labels"]["frames_seen"] == 10 * 4 * (4 + 2)
