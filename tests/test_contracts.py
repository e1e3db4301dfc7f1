"""The contract of its role, held by every registered component, whatever kind it is of."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from served import Served, adds

from rrm import (
    Assistant,
    Case,
    Item,
    Judged,
    PolicyTrainer,
    Preference,
    Response,
    RewardModel,
    RewardTrainer,
    Scores,
    Seed,
    SoFar,
    Task,
    Turn,
    build,
)
from rrm.control import StepTerm
from rrm.evaluators.terminal import Terminal
from rrm.job import jobs
from rrm.models.learner import torch_in
from rrm.plan import Study
from rrm.records import FEEDBACK
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REGISTRIES,
    REWARD_TERMS,
    REWARD_TRAINERS,
    SELECTIONS,
    TASKS,
)
from rrm.store import Store
from rrm.testing import check_assistant, check_evaluator, check_protocol, check_task

TINY: Mapping[str, Any] = {"config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}}

ASSISTANT_ON: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "actor": ("gridworld", {"width": 8}),
    "chat": ("column-sum", {"model": "m", "temperature": 0.5}),
    "constant": ("column-sum", {"text": "7"}),
    "step-pointer": ("gridworld-audit", {"width": 8}),
    "step-reader": ("gridworld-step", {"width": 8}),
    "answer-book": ("column-sum", {"answers": {"Add up: 1": "1"}, "fallback": "7"}),
    "cached": ("column-sum", {}),
    "careless-adder": ("column-sum", {"slip": 0.5}),
    "corrupted": ("glossary", {"rate": 0.5}),
    "deep-sets": ("handwriting", {"width": 8, "hidden": 8}),
    "majority": ("column-sum", {"votes": 3}),
    "packed-transformer": ("glossary", {"width": 16, "layers": 1, "heads": 2}),
    "product-embedding": ("letter-count", {"width": 8}),
    "transformer": ("glossary", TINY),
    "tree-transformer": ("minimax", {"width": 8, "layers": 1, "heads": 2}),
    "word-transformer": ("glossary", {"width": 8, "layers": 1, "heads": 2}),
}
"""A task that each can answer, and settings that keep it small."""

STEPS = {"steps": 2, "last_steps": 2}
TRAINED: Mapping[str, Mapping[str, Any]] = {
    "best-of-n": {"n": 2},
    "expert-iteration": {**STEPS, "n": 2, "pool": 8, "batch": 4},
    "policy-gradient": {**STEPS, "batch": 4, "group": 2},
    "regression": {**STEPS, "pool": 8},
    "bradley-terry": {**STEPS, "ensemble": 2},
    "tally": {},
}
ACTING = ("ppo", "stated")
"""Trainers for tasks that are acted in: `test_control.py` holds them to the same."""


def built_in(registry: Any) -> list[str]:
    return [name for name, origin in registry.names().items() if origin == "built in"]


def test_the_tables_name_every_component() -> None:
    assert sorted(ASSISTANT_ON) == built_in(ASSISTANTS)
    assert sorted([*TRAINED, *ACTING]) == sorted([*built_in(POLICY_TRAINERS), *built_in(REWARD_TRAINERS)])


@pytest.mark.parametrize("kind", [r.kind for r in REGISTRIES])
def test_settings_are_documented_and_refuse_what_they_do_not_know(kind: str) -> None:
    registry = next(r for r in REGISTRIES if r.kind == kind)
    assert built_in(registry)
    for name in built_in(registry):
        component = registry.get(name)
        assert component.name() == name
        assert component.__doc__, f"{name} says nothing of itself"
        with pytest.raises(ValidationError, match="no_such_setting"):
            component.Settings(no_such_setting=1)
        schema = component.Settings.model_json_schema()
        assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("name", built_in(TASKS))
def test_task(name: str) -> None:
    check_task(TASKS.build(name))


@pytest.mark.parametrize("name", built_in(ASSISTANTS))
def test_assistant(name: str) -> None:
    task, settings = ASSISTANT_ON[name]
    with Served(adds) as server:
        own = {"base_url": server.url} if name == "chat" else {}
        check_assistant(ASSISTANTS.build(name, {**settings, **own}), TASKS.build(task), items=3)


def test_assistant_that_writes() -> None:
    writer = ASSISTANTS.build("transformer", {**TINY, "answers": "generate", "max_new_tokens": 3})
    check_assistant(writer, TASKS.build("column-sum", {"length": 4}), items=3)


@pytest.mark.parametrize("name", built_in(PROTOCOLS))
def test_protocol(name: str) -> None:
    check_protocol(PROTOCOLS.build(name), TASKS.build("column-sum"))


@pytest.mark.parametrize("name", built_in(EVALUATORS))
def test_evaluator(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {}
    if name == "replay":
        Store(tmp_path / "before")
        settings = {"run": str(tmp_path / "before")}
    with Served(adds) as server:
        settings = {"model": "m", "base_url": server.url} if name == "chat" else settings
        evaluator = EVALUATORS.build(name, settings)
        if isinstance(evaluator, Terminal):
            evaluator.read, evaluator.console = lambda: "1\n", Console(file=io.StringIO(), width=80)
        check_evaluator(evaluator, TASKS.build("column-sum", {"length": 8}), cases=3)


# -- roles that work inside a level -----------------------------------------------------------------------------------

TASK = TASKS.build("glossary", {"levels": 2})
LEARNER = ASSISTANTS.build("word-transformer", {"width": 8, "layers": 1, "heads": 2})


@pytest.fixture(scope="module")
def agent() -> Assistant:
    return LEARNER.prepare(TASK, seed=Seed(0))


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    found: list[Judged] = []
    for number in range(8):
        item = TASK.sample(Seed(5).at(number).rng())
        case = Case(item=item, responses=tuple(Response(item=item.id, text=text) for text in "12"))
        found.append((case, Preference(case=case.id, evaluator="me", first_better=1.0)))
    return found


def scores(reward: RewardModel) -> np.ndarray:
    items = [TASK.sample(Seed(6).at(n).rng()) for n in range(4)]
    found = reward.score(items, [["0", "1", "2"]] * 4)
    assert found.mean.shape == found.spread.shape == (4, 3)
    assert np.isfinite(found.mean).all()
    assert (found.spread >= 0).all()
    return found.mean


def state(assistant: Assistant) -> bytes:
    """All weights, as bytes: two steps may change them without changing any answer."""
    found = torch_in(assistant)
    assert found is not None
    return b"".join(tensor.numpy().tobytes() for tensor in found.network.state_dict().values())


def said(assistant: Assistant) -> list[list[str]]:
    items = [TASK.sample(Seed(6).at(n).rng()) for n in range(6)]
    return assistant.respond(items, n=2, seeds=[Seed(1).at(n) for n in range(6)])


@pytest.mark.parametrize("turn", [Turn(0, 1), Turn(0, 3), Turn(2, 3, fresh=False)])
@pytest.mark.parametrize("name", [name for name in built_in(REWARD_TRAINERS) if name not in ACTING])
def test_reward_trainer(name: str, turn: Turn, agent: Assistant, judged: list[Judged], tmp_path: Path) -> None:
    trainer: RewardTrainer = REWARD_TRAINERS.build(name, dict(TRAINED[name]))
    trainer.check(TASK, agent)

    def fit(start: RewardModel | None, said_so_far: list[Judged]) -> RewardModel:
        return trainer.fit(said_so_far, task=TASK, assistant=agent, start=start, turn=turn, seed=Seed(3))

    first = fit(None, judged)
    before = scores(first)
    assert (scores(fit(None, judged)) == before).all(), "the same seed makes another reward model"
    second = fit(first, judged * 2)
    assert (scores(first) == before).all(), "a reward model changed after it was made"
    for model in (first, second, fit(None, [])):
        folder = tmp_path / str(id(model))
        folder.mkdir()
        model.save(folder)
        assert {p.suffix for p in folder.iterdir()} <= {".safetensors", ".json"}
        assert (scores(trainer.load(folder, task=TASK, assistant=agent)) == scores(model)).all()


@pytest.mark.parametrize("turn", [Turn(0, 3), Turn(2, 3, fresh=False)])
@pytest.mark.parametrize("name", [name for name in built_in(POLICY_TRAINERS) if name not in ACTING])
def test_policy_trainer(name: str, turn: Turn, agent: Assistant, judged: list[Judged], tmp_path: Path) -> None:
    trainer: PolicyTrainer = POLICY_TRAINERS.build(name, dict(TRAINED[name]))
    trainer.check(TASK, agent)
    counting = REWARD_TRAINERS.build("tally")
    reward = counting.fit(judged, task=TASK, assistant=agent, start=None, turn=turn, seed=Seed(0))
    before, weights, worth = said(agent), state(agent), scores(reward)
    better = trainer.improve(agent, TASK, reward, turn=turn, seed=Seed(4))
    assert (said(agent), state(agent)) == (before, weights), "the agent that is improved on changed"
    assert (state(better) == weights) == (name == "best-of-n"), "it learns, or it does not train at all"
    assert (scores(reward) == worth).all()
    again = trainer.improve(agent, TASK, reward, turn=turn, seed=Seed(4))
    assert (said(better), state(better)) == (said(again), state(again))
    better.save(tmp_path)
    blank = LEARNER.prepare(TASK, seed=Seed(9))
    assert said(trainer.load(tmp_path, task=TASK, assistant=blank, reward=reward)) == said(better)
    further = trainer.improve(better, TASK, reward, turn=turn, seed=Seed(5))
    assert len(said(further)) == 6


class Wide(RewardModel):
    """Scores by the answer alone, and is never of one mind."""

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        mean = np.asarray(
            [[float(len(i.prompt) + ord(t[0])) for t in row] for i, row in zip(items, candidates, strict=True)]
        )
        return Scores(mean, mean / 10)


@pytest.mark.parametrize("task", ["glossary", "letter-count"])
@pytest.mark.parametrize("name", built_in(SELECTIONS))
def test_selection(name: str, task: str) -> None:
    on: Task = TASKS.build(task)
    kind = "word-transformer" if task == "glossary" else "product-embedding"
    assistant = ASSISTANTS.build(kind).prepare(on, seed=Seed(0))
    selection = SELECTIONS.build(name)
    selection.check(on, assistant)
    unsettled = [on.sample(Seed(8).at(n).rng()) for n in range(3)]
    for so_far in (SoFar(Turn(0, 2), assistant, None, []), SoFar(Turn(1, 2), assistant, Wide(), unsettled)):
        for count in (1, 5, 40):
            chosen = selection.choose(on, count, so_far=so_far, seed=Seed(2))
            assert len(chosen) == count
            assert all(item.task == on.name() and on.accepts(item) for item in chosen)
            assert chosen == selection.choose(on, count, so_far=so_far, seed=Seed(2))
            assert count == 1 or chosen != selection.choose(on, count, so_far=so_far, seed=Seed(3))


@pytest.mark.parametrize("name", built_in(REWARD_TERMS))
def test_reward_term(name: str) -> None:
    term = REWARD_TERMS.build(name)
    task = TASKS.build("gridworld") if isinstance(term, StepTerm) else TASK
    term, item = term.of(task), task.sample(Seed(0).rng())
    for text in ("", "1", "a longer answer", "\x00\x1b[2J", "x" * 5000):
        value = term.value(item, text)
        assert np.isfinite(value)
        assert value == term.value(item, text)


def test_replay_says_what_was_said(study: Path, tmp_path: Path) -> None:
    """The one evaluator that `check_evaluator` cannot see at work: it needs a run."""
    first = Store(tmp_path / "first")
    build.run(Study.load(study), first, workers=1)
    again = Store(tmp_path / "again")
    replayed = [f'cast.evaluator={{ use = "replay", run = "{tmp_path / "first"}" }}', 'gate="off"']
    told = Study.load(study, sets=replayed)
    build.run(told, again, workers=1)
    for name, key in {job.name: job.key for job in jobs(Study.load(study))[0]}.items():
        told_key = next(job.key for job in jobs(told)[0] if job.name == name)
        for stream in ("0/cases", "0/feedback", "1/feedback"):
            kind: Any = Case if stream == "0/cases" else FEEDBACK
            assert first.read(key, stream, kind) == again.read(told_key, stream, kind) != {}
