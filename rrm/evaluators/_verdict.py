"""Turns what answers seem worth into what a person would say: the teacher models that evaluators share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from random import Random
from typing import Literal, TypeAlias, TypeGuard, get_args

from pydantic import Field

from rrm.errors import PlanError
from rrm.evaluators._erring import Erring, uniform
from rrm.evaluators._steps import STEP_FORMS, Look, StepForm, looks, said_of, worth
from rrm.records import (
    Abstention,
    Approval,
    Case,
    Correction,
    Demonstration,
    Feedback,
    Preference,
    Ranking,
    Rating,
    Response,
)
from rrm.roles import Task
from rrm.seed import Seed

WholeForm: TypeAlias = Literal[
    "auto", "preference", "best", "ranking", "rating", "approval", "demonstration", "correction"
]
Form: TypeAlias = WholeForm | StepForm

FORMS: Mapping[str, Form] = {form: form for form in (*get_args(WholeForm), *STEP_FORMS)}

UNKNOWN = "it is more work than the budget allows"

NO_STEP = "the answer has no step to judge"

AT_ONCE = 64
"""Cases whose steps are read at once."""


class Valuing(Erring):
    """An evaluator that says what follows from a value for each answer, with the errors of a human teacher."""

    class Settings(Erring.Settings):
        feedback: Form = "auto"
        """What is asked for. "auto": a preference between two answers, the best of more, a rating of one. Forms that
        speak of one answer (rating, approval, correction) speak of the one that is shown first; a preference among more
        than two is the best of them. A demonstration or a correction is a text of the task's finite answer set, or,
        where there is none, of another answer of the case. Of answers that are made step by step, some steps of the
        one shown first may be judged: "action-labels" say what should have been done there, "action-values" what was
        brought by what was done, "advantages" how much better that was than the mean of the alternatives, and
        "step-labels" whether it was good. Each step is judged for itself, and errs for itself."""
        steps: int = Field(default=4, ge=1)
        """How many steps of an answer are judged, where steps are: first those that helpers point to, then any."""
        scale: float = Field(default=1.0, gt=0)
        """Of action values and advantages: what stands for one unit of reward (the task's units)."""

    settings: Settings

    reproducible = True
    takes_asked = True

    @abstractmethod
    def values(self, task: Task, case: Case, seed: Seed) -> Sequence[float] | None:
        """What each answer is worth, in order; None: cannot tell. Asked once for each case; `seed` is the case's."""

    def work(self, task: Task, case: Case) -> int | None:
        """How many steps of work that takes, where the task counts them."""
        return None

    def time_of(self, kind: str, case: Case, said: Feedback, work: int | None) -> float | None:
        """How many seconds it takes to come to what was said, when asked for that kind, where time is simulated."""
        return None

    def check(self, task: Task) -> None:
        self._check(self.settings.feedback, task)

    def _check(self, form: Form, task: Task) -> None:
        if form in STEP_FORMS and not task.moves(task.sample(Seed(0).rng())):
            raise PlanError(
                f"feedback = {form!r} speaks of single steps, and answers of task {task.name()!r} have none: "
                'write feedback = "auto"'
            )

    def judgements(self, shown: int) -> int:
        return self.settings.steps if self.settings.feedback in STEP_FORMS else super().judgements(shown)

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        """What a case asks for goes before what is asked for in general."""
        for form, group in groupby(cases, key=self._form):
            part = list(group)
            if _of_steps(form):
                self._check(form, task)
                for first in range(0, len(part), AT_ONCE):
                    yield from self._judge_steps(task, part[first : first + AT_ONCE], form, seed, done + first)
            else:
                yield from self._judge_whole(task, part, form, seed, done)
            done += len(part)

    def _form(self, case: Case) -> Form:
        return FORMS.get(case.asks, self.settings.feedback)

    def _judge_steps(
        self, task: Task, cases: Sequence[Case], form: StepForm, seed: Seed, done: int
    ) -> Iterator[Feedback]:
        task.foresee(cases)
        looked = [looks(task, case, form, self.settings.steps, seed.at(case.id)) for case in cases]
        task.foresee([look.case for row in looked for look in row])
        for number, (case, row) in enumerate(zip(cases, looked, strict=True), start=done):
            at = seed.at(case.id)
            found = [self.values(task, look.case, at.at("step", look.step)) for look in row]
            known = [(look, values) for look, values in zip(row, found, strict=True) if values is not None]
            work = [self.work(task, look.case) for look in row]
            silent = (
                self._skips([v for _, values in known for v in values], at) if known else UNKNOWN if row else NO_STEP
            )
            said: Feedback = Abstention(case=case.id, evaluator=self.name(), reason=silent)
            if not silent:
                said = self._say_of_steps(case, form, known, number, at)
            counted = [w for w in work if w is not None]
            yield self._timed(form, case, said, sum(counted) if counted else None)

    def _timed(self, form: Form, case: Case, said: Feedback, work: int | None) -> Feedback:
        told = {"work": work, "seconds": self.time_of(form, case, said, work)}
        return said if set(told.values()) == {None} else said.model_copy(update=told)

    def _say_of_steps(
        self, case: Case, form: StepForm, known: Sequence[tuple[Look, Sequence[float]]], number: int, at: Seed
    ) -> Feedback:
        labels: dict[int, str] = {}
        marks: dict[int, float] = {}
        for look, values in known:
            here = at.at("step", look.step)
            slips = self._slips(number, here)
            if form == "action-labels":
                tiers = self._tiers(values[1:], here, places=1)
                best = range(len(look.moves)) if slips else tiers[0]
                if len(tiers) > 1:  # else all are alike, and nothing is said
                    labels[look.step] = look.moves[here.at("words").rng().choice(best)]
            elif form == "step-labels":
                good = self._score(worth(form, look, values), here) >= self.settings.approve_from
                marks[look.step] = float(good != slips)
            else:
                felt = self._felt(worth(form, look, values), here)
                marks[look.step] = -felt if slips else felt
        return said_of(form, case, self.name(), self.settings.scale, labels, marks)

    def _judge_whole(self, task: Task, cases: Sequence[Case], form: Form, seed: Seed, done: int) -> Iterator[Feedback]:
        own_words = form in ("demonstration", "correction")
        for number, case in enumerate(cases, start=done):
            at = seed.at(case.id)
            shown = self._candidates(task, case) if own_words else case
            values, work = self.values(task, shown, at), self.work(task, shown)
            silent = UNKNOWN if values is None else self._skips(values, at)
            said: Feedback
            if values is None or silent:
                said = Abstention(case=case.id, evaluator=self.name(), reason=silent)
            elif own_words:
                said = self._say_better(case, shown, form, values, at, slips=self._slips(number, at))
            else:
                said = self._say(case, form, values, at, slips=self._slips(number, at))
            yield self._timed(form, case, said, work)

    def _say(self, case: Case, form: Form, values: Sequence[float], at: Seed, *, slips: bool) -> Feedback:
        count, name = len(values), self.name()
        if form == "auto":
            form = "preference" if count == 2 else "best" if count > 2 else "rating"
        if form == "preference" and count == 2:
            tiers = self._tiers(values, at, places=1)
            first = 0.5 if len(tiers) == 1 else float(tiers[0][0] == 0)
            return Preference(case=case.id, evaluator=name, first_better=1 - first if slips else first)
        if form in ("preference", "best", "ranking") and count > 1:
            tiers = self._tiers(values, at, places=count if form == "ranking" else 1)
            if slips and len(tiers) > 1:
                tiers = _slipped(tiers, at.at("slip").rng(), count, whole=form == "ranking")
            return Ranking(case=case.id, evaluator=name, tiers=tiers)
        score = self._score(values[0], at)
        if form == "approval":
            return Approval(case=case.id, evaluator=name, approved=(score >= self.settings.approve_from) != slips)
        return Rating(case=case.id, evaluator=name, score=uniform(at.at("slip")) if slips else score)

    def _candidates(self, task: Task, case: Case) -> Case:
        """What the person would choose its own words from: the finite answer set, or else the answers that it sees."""
        known = task.answers(case.item)
        if known is None:
            return case
        answers = tuple(Response(item=case.item.id, text=text, sample=i) for i, text in enumerate(known))
        return Case(item=case.item, responses=answers, exhibits=case.exhibits)

    def _say_better(
        self, case: Case, shown: Case, form: Form, values: Sequence[float], at: Seed, *, slips: bool
    ) -> Feedback:
        name, tiers, rng = self.name(), self._tiers(values, at, places=1), at.at("words").rng()
        if len(tiers) == 1:
            return Abstention(case=case.id, evaluator=name, reason="no answer seems better than the others")
        best = [shown.responses[i].text for i in tiers[0]]
        text = rng.choice(shown.responses).text if slips else rng.choice(best)
        if form == "demonstration":
            return Demonstration(case=case.id, evaluator=name, text=text)
        own = case.responses[0].text  # which stands as it is, if the person believes in it
        return Correction(case=case.id, evaluator=name, text=own if own in best and not slips else text)


def _of_steps(form: Form) -> TypeGuard[StepForm]:
    return form in STEP_FORMS


def _slipped(
    tiers: tuple[tuple[int, ...], ...], rng: Random, count: int, *, whole: bool
) -> tuple[tuple[int, ...], ...]:
    if not whole:
        marked = rng.randrange(count)
        return ((marked,), tuple(i for i in range(count) if i != marked))
    one, other = rng.sample(range(count), 2)
    swap = {one: other, other: one}
    return tuple(tuple(swap.get(i, i) for i in tier) for tier in tiers)
