"""Reads one trained node's record once, and holds what was said in it against the truth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ConfigDict

from rrm import measure
from rrm.errors import ComponentError
from rrm.measure import Figure
from rrm.records import FEEDBACK, Abstention, Exam, Feedback, GateResult, Item, Record, SpotResult
from rrm.report.familiar import Familiar
from rrm.report.gap import RewardGap, reward_gap
from rrm.roles import Task
from rrm.store import Store


class _Part(Record):
    """Of a big record, the few fields that figures need: a study holds millions, and parsing them whole is the cost."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Prompt(_Part):
    prompt: str


class _Answer(_Part):
    text: str


class _Case(_Part):
    item: _Prompt
    responses: tuple[_Answer, ...]


class _Query(_Part):
    subtask: str
    item: _Prompt


class _Exhibit(_Part):
    agent: str = ""
    title: str = ""
    query: _Query | None = None


@dataclass(frozen=True)
class Pick:
    """A judged case worth showing whole."""

    stream: str
    number: int
    agreeing: float
    asked: int
    """On how many of the pairs that the truth tells apart the user said what the truth says, out of how many."""

    @property
    def right(self) -> bool:
        """Whether the user judged all pairs right. A tie is neither right nor wrong, and is not picked."""
        return self.agreeing == self.asked


@dataclass
class Reading:
    """Every figure of one node at one seed of one arm. None: it was not, or could not be, measured."""

    finished: bool = False
    """Its agent is published. Until then there is no final agent whose truth or reward model could be told."""
    truth: Figure | None = None
    zero_shot: Figure | None = None
    tree: Figure | None = None
    majority: Figure | None = None
    judge: Figure | None = None
    reward: Figure | None = None
    coverage: Figure | None = None
    curve: list[tuple[int, Figure]] = field(default_factory=list)
    judge_curve: list[tuple[int, Figure]] = field(default_factory=list)
    judgements: int | None = None
    abstained: float | None = None
    """Share of the cases put to the user on which it said that it cannot tell."""
    helper_questions: int | None = None
    helper_distinct: int | None = None
    gate: GateResult | None = None
    gate_judgements: int | None = None
    gate_questions: int | None = None
    spots: Mapping[str, SpotResult] = field(default_factory=dict)
    """By subtask, what spot checks of the helper came to in all rounds."""
    spot_judgements: int | None = None
    spot_questions: int | None = None
    spot_work: Mapping[str, int] = field(default_factory=dict)
    """By subtask, the steps of work that the helper's user did for them, where its task counts them."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU-seconds by stage."""
    measures: Mapping[str, Figure] = field(default_factory=dict)
    """What else the task tells of its final answers, by name."""
    measure_curves: Mapping[str, Sequence[tuple[int, Figure]]] = field(default_factory=dict)
    """The same over the rounds."""
    gap: RewardGap | None = None
    """What the reward model believed over the rounds against what was true."""
    work: int | None = None
    """Steps of work that the user did, at the gate too, where the task counts them."""
    person_seconds: float | None = None
    """How long the user took in all, where it took any time; at the gate too, and the helpers' users at spot checks."""
    repeats: float | None = None
    """Share of the last exam's questions that stood in it before: they count as often, but tell nothing new."""
    familiar: float | None = None
    """Share of them that training asks too, as far as was looked (`familiar.DRAWS`)."""
    exhaustive: bool = False
    """Every held-out item is a training item too: the truth shows learning, not generalisation."""
    picks: list[Pick] = field(default_factory=list)

    @property
    def cpu(self) -> float | None:
        """CPU-seconds of all stages."""
        return sum(self.seconds.values()) if self.seconds else None


class _Truth:
    """`Task.truth` of one task, each (prompt, answer) asked once."""

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, task.name()
        self._known: dict[tuple[str, str], float | None] = {}

    @property
    def has_right_answers(self) -> bool:
        """Whether a truth of 1 is that of the right answer, rather than any worth."""
        return self._task.measure == "accuracy"

    def item(self, prompt: str) -> Item:
        return Item(task=self._name, prompt=prompt)

    def __call__(self, prompt: str, text: str) -> float | None:
        key = prompt, text
        if key not in self._known:
            try:
                self._known[key] = self._task.truth(self.item(prompt), text)
            except Exception as error:
                raise ComponentError(
                    f"{self._name!r}: truth() failed on the answer {text[:60]!r} to {prompt[:60]!r}: "
                    f"{type(error).__name__}: {error}. It should return 0 for an answer that it cannot read."
                ) from error
        return self._known[key]

    def all(self, prompts: Sequence[str], texts: Sequence[str]) -> list[float | None]:
        """Of many answers at once."""
        new = list(dict.fromkeys(pair for pair in zip(prompts, texts, strict=True) if pair not in self._known))
        try:
            found = self._task.truths([self.item(p) for p, _ in new], [t for _, t in new])
        except Exception:
            found = [self(*pair) for pair in new]  # which says what is wrong with which
        self._known.update(zip(new, found, strict=True))
        return [self._known[pair] for pair in zip(prompts, texts, strict=True)]

    def answers(self, prompts: Sequence[str]) -> Sequence[str] | None:
        """The finite answer set, which is the same for every item."""
        return self._task.answers(self.item(prompts[0])) if prompts else None


def read_node(store: Store, key: str, task: Task, known: Familiar | None = None) -> Reading:
    """All figures of the node whose records stand under `key`. Raises StoreError if one of them is damaged.

    The truth is asked here, of recorded answers, and nowhere else. `known` spares nodes of one task to look at its
    training split again.
    """
    questions = (known or Familiar()).of(task)
    reading = Reading(finished=store.has_agent(key, "published"), exhaustive=questions.exhaustive)
    truth, streams = _Truth(task), store.streams(key)
    if last := _exams(reading, list(store.read(key, "exam", Exam).values()), truth, task):
        reading.repeats, reading.familiar = questions.repeated(last.prompts), questions.familiar(last.prompts)
    _rounds(reading, store, key, streams, truth)
    _at_gate(reading, store, key, streams)
    _spot_checks(reading, store, key, streams)
    reading.seconds = store.spent(key)
    return reading


def _exams(reading: Reading, exams: Sequence[Exam], truth: _Truth, task: Task) -> Exam | None:
    """Also the exam of the last round."""
    rounds: dict[int, Exam] = {}
    before: dict[str, Exam] = {}
    for exam in exams:
        if found := re.fullmatch(r"round-(\d+)", exam.moment):
            rounds[int(found[1])] = exam
        else:
            before[exam.moment] = exam

    def score(prompts: Sequence[str], answers: Sequence[str]) -> Figure | None:
        values = truth.all(prompts, answers)
        known = [v for v in values if v is not None]
        if task.measure == "accuracy":
            return measure.wilson(sum(v == 1 for v in known), len(known))
        return measure.t_interval(known)

    reading.curve = [(n, f) for n, e in sorted(rounds.items()) if (f := score(e.prompts, e.answers))]
    last = rounds[max(rounds)] if rounds else None
    reading.truth = score(last.prompts, last.answers) if last and reading.finished else None
    reading.gap = reward_gap(rounds, {n: truth.all(e.prompts, e.answers) for n, e in rounds.items()})
    curves: dict[str, list[tuple[int, Figure]]] = defaultdict(list)
    for number, exam in sorted(rounds.items()):
        for name, told in task.measures([truth.item(p) for p in exam.prompts], exam.answers).items():
            if (figure := _figure_of([v for v in told if v is not None])) is not None:
                curves[name].append((number, figure))
    reading.measure_curves = dict(curves)
    reading.measures = {name: curve[-1][1] for name, curve in curves.items()} if reading.finished else {}
    for moment in ("zero-shot", "tree"):
        if moment in before:
            setattr(reading, moment.replace("-", "_"), score(before[moment].prompts, before[moment].answers))
    if last is None or (choices := truth.answers(last.prompts)) is None:
        return last
    if drawn := before["zero-shot"].trained_on if "zero-shot" in before else ():
        usual = measure.majority([a for a in choices if truth(p, a) == 1] for p in drawn)
        reading.majority = None if usual is None else score(last.prompts, [usual] * len(last.prompts))
    if not reading.finished:
        return last
    nearest = [
        measure.nearest_wrong([truth(p, a) for a in choices], row)
        for p, row in zip(last.prompts, last.scores, strict=False)
        if len(row) == len(choices)
    ]
    decided = [x for x in nearest if x is not None]
    reading.reward = measure.wilson(sum(decided), len(decided))
    return last


def _figure_of(values: Sequence[float]) -> Figure | None:
    """A share, where all values are 0 or 1; else a mean."""
    return (
        measure.wilson(sum(v == 1 for v in values), len(values))
        if set(values) <= {0, 1}
        else measure.t_interval(values)
    )


def _rounds(reading: Reading, store: Store, key: str, streams: Sequence[str], truth: _Truth) -> None:
    names = [s.removesuffix("/cases") for s in streams if s.endswith("/cases") and not s.startswith(("gate-", "spot-"))]
    if not names:
        return
    shown: dict[str, bool] = defaultdict(bool)
    judged: list[tuple[float, int]] = []
    comparisons, answered, silent = 0, 0, 0
    for name in sorted(names, key=_number):
        cases = store.read(key, f"{name}/cases", _Case)
        shown_answers = [(c.item.prompt, r.text) for c in cases.values() for r in c.responses]
        truth.all([p for p, _ in shown_answers], [t for _, t in shown_answers])
        truths = {i: [truth(c.item.prompt, r.text) for r in c.responses] for i, c in cases.items()}
        for i, case in cases.items():
            shown[case.item.prompt] |= 1 in truths[i]
        said: dict[int, Feedback] = store.read(key, f"{name}/feedback", FEEDBACK)
        comparisons += sum(f.comparisons for f in said.values())
        _count_work(reading, said)
        answered, silent = answered + len(said), silent + sum(isinstance(f, Abstention) for f in said.values())
        here = _agreement(reading, name, said, cases, truths)
        if found := measure.judge_accuracy(here):
            reading.judge_curve.append((_number(name), found))
        judged += here
    reading.abstained = silent / answered if answered else None
    asked, distinct = _questions(store, key, names, streams)
    reading.helper_questions, reading.helper_distinct, reading.judgements = asked, distinct, comparisons
    reading.judge = measure.judge_accuracy(judged)
    if truth.has_right_answers:
        reading.coverage = measure.coverage(shown)


def _agreement(
    reading: Reading,
    name: str,
    said: Mapping[int, Feedback],
    cases: Mapping[int, _Case],
    truths: Mapping[int, Sequence[float | None]],
) -> list[tuple[float, int]]:
    """(agreeing, asked) of one round's cases; later rounds, where answers are closer, give the cases to show."""
    found: list[tuple[float, int]] = []
    ratings: dict[str, list[tuple[float | None, float]]] = defaultdict(list)
    picks: dict[bool, Pick] = {}
    for i, feedback in said.items():
        if i not in cases:
            continue
        if rating := measure.rated(feedback):
            ratings[cases[i].item.prompt].append((truths[i][rating[0]], rating[1]))
            continue
        agreeing, asked = measure.agreement(feedback, truths[i])
        found.append((agreeing, asked))
        pick = Pick(name, i, agreeing, asked)
        if asked and (pick.right or (agreeing, asked) != (0.5, 1)):
            best = picks.setdefault(pick.right, pick)
            if agreeing * best.asked < best.agreeing * asked:
                picks[False] = pick
    reading.picks = [*picks.values(), *(p for p in reading.picks if p.right not in picks)]
    return found + [measure.rated_agreement(given) for given in ratings.values()]


def _count_work(reading: Reading, said: Mapping[int, Feedback]) -> None:
    """Add what the user did for these verdicts, and how long it took."""
    reading.work = _with_work(reading.work, said)
    _count_time(reading, said)


def _count_time(reading: Reading, said: Mapping[int, Feedback]) -> None:
    times = [f.seconds for f in said.values() if f.seconds is not None]
    if times:
        reading.person_seconds = (reading.person_seconds or 0.0) + sum(times)


def _with_work(known: int | None, said: Mapping[int, Feedback]) -> int | None:
    """What the user did before, and for these verdicts."""
    done = [f.work for f in said.values() if f.work is not None]
    return (known or 0) + sum(done) if done else known


def _at_gate(reading: Reading, store: Store, key: str, streams: Sequence[str]) -> None:
    results = list(store.read(key, "gate", GateResult).values())
    reading.gate = results[-1] if results else None
    if names := _cases_of("gate-", streams):
        told = _said(store, key, names)
        for said in told.values():
            _count_work(reading, said)
        reading.gate_judgements = _comparisons(told)
        reading.gate_questions = _answered(store, key, names, streams)


def _spot_checks(reading: Reading, store: Store, key: str, streams: Sequence[str]) -> None:
    reading.spots = {r.subtask: r for r in store.read(key, "spot", SpotResult).values()}
    if names := _cases_of("spot-", streams):
        told = _said(store, key, names)
        work: dict[str, int] = {}
        for name, said in told.items():
            _count_time(reading, said)
            subtask = name.split("/")[1]
            if (done := _with_work(work.get(subtask), said)) is not None:
                work[subtask] = done
        reading.spot_work = work
        reading.spot_judgements = _comparisons(told)
        reading.spot_questions = _answered(store, key, names, streams)


def _cases_of(kind: str, streams: Sequence[str]) -> list[str]:
    """What was judged of one kind: "gate-4", …"""
    return [s.removesuffix("/cases") for s in streams if s.endswith("/cases") and s.startswith(kind)]


def _said(store: Store, key: str, names: Sequence[str]) -> dict[str, dict[int, Feedback]]:
    return {name: store.read(key, f"{name}/feedback", FEEDBACK) for name in names}


def _comparisons(told: Mapping[str, Mapping[int, Feedback]]) -> int:
    return sum(f.comparisons for said in told.values() for f in said.values())


def _answered(store: Store, key: str, names: Sequence[str], streams: Sequence[str]) -> int:
    answers = [s for s in streams if s.partition("/answers/")[0] in names and "/answers/" in s]
    return sum(store.length(key, s) for s in answers)


def _questions(store: Store, key: str, names: Sequence[str], streams: Sequence[str]) -> tuple[int, int]:
    """How many questions the helpers were asked, and how many different ones."""
    asked, different = 0, set()
    for stream in streams:
        if "/answers/" in stream and stream.partition("/answers/")[0] in names:
            for exhibit in store.read(key, stream, _Exhibit).values():
                query = exhibit.query
                asked += 1
                different.add((query.subtask, query.item.prompt) if query else (exhibit.agent, exhibit.title))
    return asked, len(different)


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0
