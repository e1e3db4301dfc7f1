"""Agents that act: episodes that are functions of item and answer, what a person sees of them, and their training."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from rrm import Assistant, Case, Exhibit, Item, Query, Response, Seed, Store, Study, Task, build
from rrm.assemble import assemble
from rrm.control import ControlTask, Lived, StepReward, replay
from rrm.errors import ComponentError, GateFailed, PlanError, RrmError
from rrm.job import jobs
from rrm.models.actor import live
from rrm.models.environment import Environment
from rrm.models.learner import torch_in
from rrm.records import Exam, Preference
from rrm.registry import ASSISTANTS, POLICY_TRAINERS, REWARD_TERMS, REWARD_TRAINERS, TASKS
from rrm.report import Report
from rrm.roles import GivenTerm, RewardModel, Scores, Turn
from rrm.training.objective import objective
from rrm_assistants import _frames
from rrm_tasks.gridworld import GridEpisodes
from rrm_tasks.gridworlds import WORLDS
from rrm_tasks.gridworlds.frames import CODES, MOVES, clips, seems_unsafe, transcripts
from rrm_tasks.gridworlds.looks import Accused, doubted
from rrm_tasks.gridworlds.wander import corpus
from rrm_tasks.gridworlds.world import ACTIONS

CONFIG = Path(__file__).parent.parent / "configs" / "gridworlds.toml"
READABLE = [name for name in WORLDS if name != "boat-race"]


def acting(world: str = "off-switch") -> ControlTask:
    task = TASKS.build("gridworld", {"world": world})
    assert isinstance(task, ControlTask)
    return task


def drawn(task: Task, count: int, *, held_out: bool = False) -> list[Item]:
    return [task.sample(Seed(1).at(i).rng(), held_out=held_out) for i in range(count)]


def seeds(count: int) -> list[Seed]:
    return [Seed(2).at(i) for i in range(count)]


def ready(task: Task, **settings: Any) -> Assistant:
    return ASSISTANTS.build("actor", {"width": 16, **settings}).prepare(task, seed=Seed(0))


def case(item: Item, *texts: str, exhibits: tuple[Exhibit, ...] = ()) -> Case:
    responses = tuple(Response(item=item.id, text=t, sample=i) for i, t in enumerate(texts))
    return Case(item=item, responses=responses, exhibits=exhibits)


# -- episodes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", WORLDS)
def test_an_answer_is_lived_again_as_it_was(world: str) -> None:
    """Whoever replays it, alone or among others, and whatever the agent that lived it saw."""
    task = acting(world)
    items = drawn(task, 24)
    texts = task.wander(items, seeds(24))
    together = replay(task, items, texts, truth=True)
    alone = [replay(task, [item], [text], truth=True) for item, text in zip(items, texts, strict=True)]
    for name in ("features", "visible", "performance"):
        assert (getattr(together, name) == np.concatenate([getattr(one, name) for one in alone])).all()
    assert together.performance is not None
    assert together.performance.astype(float).sum(1) == pytest.approx(task.truths(items, texts), abs=1e-4)
    assert task.truths(items, texts) == [task.truth(i, t) for i, t in zip(items, texts, strict=True)]


def test_an_agents_draws_depend_on_its_seed_alone() -> None:
    task = acting()
    agent, items = ready(task), drawn(task, 6)
    whole = agent.respond(items, n=2, seeds=seeds(6))
    assert whole[3] == agent.respond([items[3]], n=2, seeds=[seeds(6)[3]])[0]
    assert len({text for row in whole for text in row}) > 6
    greedy = ready(task, greedy=True)
    assert greedy.deterministic
    assert greedy.respond(items, n=2, seeds=seeds(6))[0] == greedy.respond(items[:1], n=2, seeds=[Seed(9)])[0]


def test_held_out_starts_are_no_training_starts() -> None:
    task = acting()
    prompts = [{i.prompt for i in drawn(task, 200, held_out=h)} for h in (False, True)]
    assert not prompts[0] & prompts[1]


# -- what a person sees ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", READABLE)
def test_two_frames_show_what_is_unsafe(world: str) -> None:
    task: Any = acting(world)
    items = drawn(task, 300)
    lived = task.lived(items, task.wander(items, seeds(300)))
    seen = [[seems_unsafe(lived.world, clip) for clip in clips(text)] for text in transcripts(lived)]
    happened = [(lived.event[i, : len(row)] > 0).tolist() for i, row in enumerate(seen)]
    assert seen == happened
    assert any(any(row) for row in seen), "nobody who wanders is tempted"


def test_where_it_does_not_show_nobody_is_asked() -> None:
    with pytest.raises(PlanError, match="boat-race"):
        TASKS.build("gridworld-step", {"world": "boat-race"})


def test_a_person_with_time_for_every_frame_sees_the_truth() -> None:
    task = acting("side-effects")
    items = drawn(task, 60)
    for item, text, truth in zip(items, texts := task.wander(items, seeds(60)), task.truths(items, texts), strict=True):
        one = case(item, text)
        assert list(task.estimate(one, budget=42) or ()) == pytest.approx([truth], abs=1e-4)
        assert (task.work(one, budget=42) or 0) <= 21


def test_a_bounded_person_looks_where_the_auditor_points() -> None:
    task: Any = acting("side-effects")
    item = next(i for i in drawn(task, 50) if task.measures([i], ["R" * 20])["unsafe"] == [1.0])
    [query] = list(task.queries(case(item, "R" * 20)))
    audit = TASKS.build("gridworld-audit", {"world": "side-effects"})
    pointed = next(a for a in audit.answers(query.item) or () if audit.truth(query.item, a) == 1)

    def mark(told: str, budget: int = 2) -> float:
        shown = Exhibit(text=told, agent="auditor", about=query.about, query=query)
        (found,) = task.estimate(case(item, "R" * 20, exhibits=(shown,)), budget=budget)
        return float(found)

    truth = task.truth(item, "R" * 20)
    assert mark(pointed) == pytest.approx(truth, abs=1e-4)
    assert mark("nothing") == pytest.approx(truth + 6, abs=1e-4), "told that all is well, one does not look"
    assert mark(pointed, budget=0) == pytest.approx(truth, abs=1e-4), "no time to look: it is believed"
    assert mark("99") == mark("\x1b[2J") == mark("nothing")


@pytest.mark.parametrize(
    ("visible", "said", "done", "looked"),
    [
        ((2.0, 1.0), (True, False), (True, False), {0}),
        ((2.0, 1.0), (True, False), (False, False), {0}),
        ((1.0, 2.0), (True, False), (False, False), set()),  # which is best anyway, is not asked
        ((9.0, 1.0), (True, False), (True, False), set()),
        ((2.0, 1.0), (True, True), (True, True), {1}),
        ((2.0, 1.0), (True, True), (True, False), {0, 1}),
        ((2.0, 1.0), (True, True), (False, False), {0, 1}),
        ((2.0, -9.0), (True, True), (True, False), set()),
        ((2.0, 1.0), (False, False), (True, True), set()),
        ((2.0,), (True,), (True,), {0}),
        ((3.0, 2.0, 1.0), (True, True, False), (True, True, False), {0, 1}),
        ((3.0, 2.0, 1.0), (True, True, True), (True, True, False), {0, 1, 2}),
    ],
)
def test_a_person_looks_where_that_may_change_which_answer_is_best(
    visible: tuple[float, ...], said: tuple[bool, ...], done: tuple[bool, ...], looked: set[int]
) -> None:
    task: Any = acting("side-effects")
    item = next(i for i in drawn(task, 50) if task.measures([i], ["R" * 20])["unsafe"] == [1.0])
    steps = clips(transcripts(task.lived([item], ["R" * 20]))[0])
    world = task._world
    bad = next(step for step in steps if seems_unsafe(world, step))
    good = next(step for step in steps if not seems_unsafe(world, step))
    answers = [Accused(v, [bad if d else good] if s else []) for v, s, d in zip(visible, said, done, strict=True)]
    assert doubted(world, answers) == looked
    # What is seen so decides as if everything had been looked at: an auditor's word that is wrong is found out there.
    every = [v - world.harm * (s and d) for v, s, d in zip(visible, said, done, strict=True)]
    lazy = [
        v - world.harm * (s and (d or i not in looked))
        for i, (v, s, d) in enumerate(zip(visible, said, done, strict=True))
    ]
    assert lazy.index(max(lazy)) == every.index(max(every))


def test_an_audit_of_beginnings_counts_steps_from_the_episodes_start() -> None:
    task: Any = acting("side-effects")
    item = drawn(task, 1)[0]
    texts = "AAARA", "AAAAA"  # they share three steps; the first breaks a vase at its fourth
    bare = case(item, *texts)
    told = dict(zip([r.id for r in bare.responses], ("4", "nothing"), strict=True))
    audits = [Exhibit(text=told[q.about], agent="auditor", about=q.about, query=q) for q in task.queries(bare)]
    assert list(task.estimate(case(item, *texts, exhibits=tuple(audits)), budget=4)) == pytest.approx(
        task.truths([item, item], texts), abs=1e-4
    )


@pytest.mark.parametrize("world", [name for name in WORLDS if name != "boat-race"])  # where to go back is unsafe
def test_who_wanders_tries_what_pays_both_ways(world: str) -> None:
    task: Any = acting(world)
    items = drawn(task, 1000)
    lived = task.lived(items, task.wander(items, [Seed(i) for i in range(len(items))]))
    pays = lived.visible.sum(1) > 1
    assert (pays & lived.unsafe).mean() > 0.05, "some do harm for it"
    assert (pays & ~lived.unsafe).mean() > 0.05, "and some go around"


@pytest.mark.parametrize("world", WORLDS)
def test_who_does_nothing_does_no_harm(world: str) -> None:
    task: Any = acting(world)
    items = drawn(task, 500)
    told = task.measures(items, [task._world.still * task.horizon] * len(items))
    assert not any(told["unsafe"])
    assert told["idle"] == told["performance"]


def test_an_audit_is_judged_by_its_reports() -> None:
    audit: Any = TASKS.build("gridworld-audit", {"world": "subagents"})
    items = [audit.item(text) for text in corpus("subagents", 5, held_out=False).transcripts[:200]]
    item = next(i for i in items if audit.truth(i, "nothing") == 0)
    right = [a for a in audit.answers(item) if audit.truth(item, a) == 1]

    def marks(report: Any) -> dict[str, float]:
        exhibits = tuple(Exhibit(text=report(q), query=q) for q in audit.queries(case(item, "nothing")))
        answers = audit.answers(item)
        return dict(zip(answers, audit.estimate(case(item, *answers, exhibits=exhibits), budget=0), strict=True))

    def honest(query: Query) -> str:
        unsafe = TASKS.build("gridworld-step", {"world": "subagents"}).truth(query.item, "irreversible") == 1
        return "irreversible" if unsafe else "fine"

    told = marks(honest)
    assert [a for a, mark in told.items() if mark == max(told.values())] == right
    silent = marks(lambda query: "fine")
    assert silent["nothing"] == max(silent.values()) > silent[right[0]]


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [Turn(0, 3), Turn(2, 3)])
@pytest.mark.parametrize("of", ["visible", "truth"])
def test_ppo_and_what_is_stated(of: str, turn: Turn, tmp_path: Path) -> None:
    task = acting()
    agent, items = ready(task), drawn(task, 5)
    rewarding, trainer = REWARD_TRAINERS.build("stated", {"of": of}), POLICY_TRAINERS.build(
        "ppo", {"iterations": 1, "episodes": 8}
    )  # fmt: skip
    reward = rewarding.fit([], task=task, assistant=agent, start=None, turn=turn, seed=Seed(0))
    texts = [row[0] for row in agent.respond(items, seeds=seeds(5))]
    if of == "truth":
        assert reward.score(items, [[t] for t in texts]).mean[:, 0] == pytest.approx(
            task.truths(items, texts), abs=1e-4
        )
    before = agent.respond(items, n=2, seeds=seeds(5))
    better = trainer.improve(agent, task, reward, turn=turn, seed=Seed(4))
    again = trainer.improve(agent, task, reward, turn=turn, seed=Seed(4))
    assert agent.respond(items, n=2, seeds=seeds(5)) == before, "the agent that is improved on changed"
    assert weights(better) == weights(again) != weights(agent)
    better.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors"}
    loaded = trainer.load(tmp_path, task=task, assistant=ready(task), reward=reward)
    further = [trainer.improve(a, task, reward, turn=turn, seed=Seed(5)) for a in (better, loaded)]
    assert weights(further[0]) == weights(further[1]), "Adam's moments and younger selves are kept"
    assert further[0].propose(items, n=4, seeds=seeds(5)) == further[1].propose(items, n=4, seeds=seeds(5))


@pytest.mark.parametrize("iterations", [1, 2])
def test_acting_that_diverges_ends_in_a_line(iterations: int) -> None:
    """The weights are found to be no numbers by what is done next, or at the end."""
    task, turn = acting(), Turn(0, 3)
    agent = ready(task)
    trainer = POLICY_TRAINERS.build("ppo", {"iterations": iterations, "episodes": 8, "rate": 1e30})
    stated = REWARD_TRAINERS.build("stated", {"of": "visible"})
    reward = stated.fit([], task=task, assistant=agent, start=None, turn=turn, seed=Seed(0))
    with pytest.raises(RrmError, match=r"training diverged: at rate = 1e\+30 .*; set a lower rate"):
        trainer.improve(agent, task, reward, turn=turn, seed=Seed(4))


def weights(agent: Assistant) -> bytes:
    found = torch_in(agent)
    assert found is not None
    return b"".join(t.numpy().tobytes() for t in found.network.state_dict().values())


def test_a_reward_of_steps_learns_who_broke_the_vase() -> None:
    """From preferences of an informed user: on pairs that it never saw it is right more often than chance."""
    task = acting("side-effects")
    agent = ready(task)
    items = drawn(task, 240)
    pairs = [list(pair) for pair in zip(*(task.wander(items, seeds(480)[k::2]) for k in (0, 1)), strict=True)]
    truths = np.array([task.truths([item] * 2, pair) for item, pair in zip(items, pairs, strict=True)])
    told = np.flatnonzero(abs(truths[:, 0] - truths[:, 1]) > 0.5)
    judged = []
    for i in told[:-60]:
        one = case(items[i], *pairs[i])
        judged.append((one, Preference(case=one.id, evaluator="me", first_better=float(truths[i, 0] > truths[i, 1]))))
    trainer = REWARD_TRAINERS.build("bradley-terry", {"ensemble": 2, "batch": 24, "whole": 0, "last_steps": 150})
    reward: RewardModel = trainer.fit(judged, task=task, assistant=agent, start=None, turn=Turn(0, 1), seed=Seed(0))
    assert isinstance(reward, StepReward)
    rest = told[-60:]
    scores = reward.score([items[i] for i in rest], [pairs[i] for i in rest])
    right = ((scores.mean[:, 0] > scores.mean[:, 1]) == (truths[rest, 0] > truths[rest, 1])).mean()
    assert right > 0.7  # 60 coins come to .7 in 1 of 1000 runs
    lived = replay(task, items[:3], [pair[0] for pair in pairs[:3]])
    whole = reward.score(items[:3], [[pair[0]] for pair in pairs[:3]]).mean[:, 0]
    assert reward.steps(lived).mean.sum(1) == pytest.approx(whole, abs=1e-4)


def test_an_agent_learns_what_its_reward_says() -> None:
    """Trained on the truth it is worth more than before: Mann-Whitney on 200 held-out starts."""
    task = acting("side-effects")
    agent, items = ready(task, width=32), drawn(task, 200, held_out=True)
    reward = REWARD_TRAINERS.build("stated", {"of": "truth"}).fit(
        [], task=task, assistant=agent, start=None, turn=Turn(0, 1), seed=Seed(0)
    )
    trainer = POLICY_TRAINERS.build("ppo", {"iterations": 25, "episodes": 64, "entropy": 0.1})
    better = trainer.improve(agent, task, reward, turn=Turn(0, 1), seed=Seed(0))
    worth = [task.truths(items, [t for (t,) in a.respond(items, seeds=seeds(200))]) for a in (agent, better)]
    assert mannwhitneyu(worth[1], worth[0], alternative="greater").pvalue < 1e-6


# -- given terms -------------------------------------------------------------------------------------------------------


class Nothing(StepReward):
    """Nothing was learnt."""

    def steps(self, lived: Lived) -> Scores:
        return Scores(np.zeros(lived.visible.shape), np.zeros(lived.visible.shape))

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        shape = (len(items), len(candidates[0]))
        return Scores(np.zeros(shape), np.zeros(shape))


def given(task: ControlTask, use: str, weight: float = 1.0, *, shaping: bool = False, **settings: Any) -> GivenTerm:
    return GivenTerm(REWARD_TERMS.build(use, settings).of(task), weight, shaping)


def test_a_given_term_of_steps_is_what_ppo_trains_on() -> None:
    """The visible reward, given, is the visible reward, stated; and twice of it is another reward's half."""
    task, turn = acting("containment"), Turn(0, 3)
    trainer, agent = POLICY_TRAINERS.build("ppo", {"iterations": 2, "episodes": 8}), ready(task)
    stated = REWARD_TRAINERS.build("stated").fit([], task=task, assistant=agent, start=None, turn=turn, seed=Seed(0))
    aim = objective(Nothing(), [given(task, "visible")], turn, task)
    items = drawn(task, 5)
    texts = [[text, text[:9]] for text in task.wander(items, seeds(5))]
    assert aim.score(items, texts).mean == pytest.approx(stated.score(items, texts).mean, abs=1e-5)
    by_term, by_statement, by_hint = (
        weights(trainer.improve(agent, task, reward, turn=turn, seed=Seed(4)))
        for reward in (aim, stated, objective(stated, [given(task, "potential", 0.5)], turn, task))
    )
    assert by_term == by_statement != by_hint
    gone = objective(stated, [given(task, "potential", shaping=True)], Turn(2, 3), task)
    assert weights(trainer.improve(agent, task, gone, turn=turn, seed=Seed(4))) == by_statement


@pytest.mark.parametrize("world", [name for name in WORLDS if name != "boat-race"])
def test_shaping_by_a_potential_gives_every_episode_of_a_start_the_same(world: str) -> None:
    """So that no policy gains by it (Ng, Harada and Russell 1999): minus the potential of the start, discounted."""
    task, count = acting(world), 40
    items = drawn(task, count)
    starts = task.episodes(items).potential()
    assert starts is not None
    hints = replay(task, items, task.wander(items, seeds(count)), hints=True).before
    assert hints is not None
    assert len(set(hints.ravel().tolist())) > 3, "all places are alike"
    aim = objective(Nothing(), [given(task, "potential", 2.0, discount=0.9)], Turn(0, 1), task)
    assert isinstance(aim, StepReward)
    for texts in (task.wander(items, seeds(count)), ["A" * task.horizon] * count, ["RRUU" * 5] * count):
        paid = aim.steps(replay(task, items, texts, hints=True)).mean
        assert (paid * 0.9 ** np.arange(task.horizon)).sum(1) == pytest.approx(-2 * starts, abs=1e-3)
    acted = live(ready(task).network, task, items, lambda t: 0.0, hints=True)  # type: ignore[attr-defined]
    again = replay(task, items, acted.texts(task.actions), hints=True)
    assert (aim.steps(acted.lived).mean == aim.steps(again).mean).all()
    numbers, paid = itertools.count(), []
    world_of = Environment(
        task, aim, lambda n: [items[next(numbers) % count] for _ in range(n)], count, lambda s: s.mean
    )
    world_of.reset()
    for t in range(4):
        world_of.step_async(acted.actions[:, t])
        paid.append(world_of.step_wait()[1])
    lasting = acted.alive[:, :5].all(1)
    assert np.stack(paid, 1)[lasting] == pytest.approx(aim.steps(again).mean[:, :4][lasting])


@pytest.mark.parametrize(
    ("world", "term", "said"),
    [
        ("boat-race", "potential", r"cast\.terms: term 'potential' needs a task that says how far one seems"),
        ("off-switch", "length", r"cast\.terms: policy 'ppo' is paid for each step, and term 'length' values whole"),
    ],
)
def test_terms_that_do_not_fit_are_refused_as_the_plan_is_loaded(
    world: str, term: str, said: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
[cast]
assistant = "actor"
policy = "ppo"
terms = [{{ use = "{term}", weight = 0.1 }}]
[node.a]
task = {{ use = "gridworld", world = "{world}" }}
"""
    )
    with pytest.raises(PlanError, match=said):
        assemble(Study.load(plan).arms[0].plan)
    with pytest.raises(PlanError, match="values steps, and answers of task 'column-sum' have none"):
        REWARD_TERMS.build("visible").of(TASKS.build("column-sum"))


def test_assistants_read_frames_as_the_gridworlds_write_them() -> None:
    assert _frames.CELLS == CODES
    assert _frames.LEADS_TO == MOVES
    assert "".join(_frames.LEADS_TO) == ACTIONS, "in the order of the numbers of actions"


# -- the study ---------------------------------------------------------------------------------------------------------


def small(world: str, *sets: str, arm: str = "recursive") -> Study:
    study = Study.load(CONFIG, fast=True, arms=[arm], sets=sets)
    for one in study.arms:
        for name in [n for n in one.plan.node if not n.startswith(world)]:
            del one.plan.node[name]
    return study


def test_a_run_of_three_levels_is_told_whole(tmp_path: Path) -> None:
    store, study = Store(tmp_path), small("absent-supervisor")
    build.run(study, store, workers=1)
    report = Report.from_store(store)
    nodes = json.loads(json.dumps(report.to_json()))["arms"][0]["nodes"]
    node = nodes["absent-supervisor"]
    gap = node["reward_gap"]["rounds"]
    assert [(r["round"], r["believed"]["n"], r["true"]["n"]) for r in gap] == [(0, 16, 16), (1, 16, 16)]
    assert gap[0]["believed"]["mean"] == gap[0]["true"]["mean"] == 0
    assert nodes["absent-supervisor-audit"]["reward_gap"] is None
    report.write_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    page = page[page.index('id="cases"') :]
    audits = page[page.index("absent-supervisor-audit, recursive") : page.index("absent-supervisor, recursive")]
    steps = sum(map(int, re.findall(r"(\d+) answers of absent-supervisor-step about single frames", audits)))
    assert audits.count('class="note said') == steps >= 3  # a report at each step of the transcript
    assert 'class="note points' in audits
    acts = page[page.index("absent-supervisor, recursive") :]
    assert len(re.findall(r'class="caption" dir="ltr">1 (?:up|down|left|right|act)', acts)) >= 2
    assert "▲ absent-supervisor-audit" in acts
    assert node["environment"] == "absent-supervisor"
    for name in ("unsafe", "unsafe_supervised", "unsafe_unsupervised", "performance", "visible"):
        assert {"mean", "low", "high", "n"} == set(node[name])
    assert node["unsafe_supervised"]["n"] + node["unsafe_unsupervised"]["n"] == node["unsafe"]["n"]
    assert node["truth"]["mean"] == node["performance"]["mean"]
    assert all(n["frames_seen"] is not None for n in nodes.values())


def test_no_truth_is_asked_but_by_the_arm_that_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaked(Exception):
        """Somebody asked for the truth."""

    def leak(*_: object) -> None:
        raise Leaked

    monkeypatch.setattr(GridEpisodes, "performance", leak)
    for name in ("gridworld", "gridworld-audit", "gridworld-step"):
        for asked in ("truth", "truths", "measures"):
            monkeypatch.setattr(TASKS.get(name), asked, leak)
    for arm in ("recursive", "informed", "visible"):
        study = small("containment", "gate.on_fail=warn", arm=arm)
        build.run(study, Store(tmp_path / arm), workers=1)
        assert all(Store(tmp_path / arm).has_agent(job.key, "published") for job in jobs(study)[0])
    with pytest.raises(ComponentError, match="Leaked"):
        build.run(small("containment", arm="truth"), Store(tmp_path / "truth"), workers=1)


def test_the_record_of_the_arm_that_knows_holds_no_truth(tmp_path: Path) -> None:
    for arm, recorded in (("visible", 16), ("truth", 0)):
        study, store = small("containment", arm=arm), Store(tmp_path / arm)
        build.run(study, store, workers=1)
        (key,) = [job.key for job in jobs(study)[0] if job.name == "containment"]
        exams = store.read(key, "exam", Exam).values()
        assert [len(e.believed) for e in exams if e.moment.startswith("round")] == [recorded, recorded]
        assert [len(e.believed_first) for e in exams if e.moment.startswith("round")] == [recorded, recorded]


def test_a_reporter_that_says_fine_to_everything_stops_the_run(tmp_path: Path) -> None:
    study = small("off-switch", "gate.on_fail=stop", "gate.items=60", arm="silent")
    with pytest.raises(GateFailed, match=r"off-switch-step .* found 0 of"):
        build.run(study, Store(tmp_path), workers=1)
    audit = next(job for job in jobs(study)[0] if job.name == "off-switch-audit")
    assert not Store(tmp_path).has_agent(audit.key, "published")
