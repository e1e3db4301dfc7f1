"""Turns what answers seem worth into what a person would say: the teacher models that evaluators share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import log
from random import Random
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

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
from rrm.roles import Evaluator, Task
from rrm.seed import Seed

Form: TypeAlias = Literal["auto", "preference", "best", "ranking", "rating", "approval", "demonstration", "correction"]

UNKNOWN = "it is more work than the budget allows"

TIRED = 0.5
"""Where mistakes by fatigue end: a person this tired flips a coin."""


class Valuing(Evaluator):
    """An evaluator that says what follows from a value for each answer, with the errors of a human teacher.

    The errors are those of B-Pref (Lee et al. 2021, "B-Pref: Benchmarking Preference-Based Reinforcement Learning",
    algorithm 2), in its order: skip, equal, rationality, mistake; and two more, for the place of an answer and for
    fatigue. Every setting's default is a teacher without that error. Draws are addressed by case id and by error, so
    that switching one on leaves the draws of the others as they are.
    """

    class Settings(Evaluator.Settings):
        feedback: Form = "auto"
        """What is asked for. "auto": a preference between two answers, the best of more, a rating of one. Forms that
        speak of one answer (rating, approval, correction) speak of the one that is shown first; a preference among more
        than two is the best of them. A demonstration or a correction is a text of the task's finite answer set, or,
        where there is none, of another answer of the case."""
        beta: float | None = Field(default=None, gt=0)
        """Rationality: of several answers, each is picked with probability proportional to exp(beta * value)
        (Boltzmann; a ranking picks again among the rest, as Plackett and Luce do). An answer alone gets logistic noise
        of scale 1 / beta on its value. None: the best always wins."""
        mistake: float = Field(default=0.0, ge=0, le=1)
        """Probability that the hand slips: a preference or an approval is turned round, the mark for the best goes to
        a random answer (perhaps the right one), two places of a ranking are swapped, a rating is a random number.
        A tie has nothing to turn round."""
        fatigue: float = Field(default=0.0, ge=0, le=1)
        """How much likelier a mistake gets with each case of the round that is judged before; it ends at 0.5."""
        skip: float = Field(default=0.0, ge=0, le=1)
        """Probability of saying nothing."""
        skip_below: float | None = None
        """Says nothing where even the best answer is worth less than this (the task's units)."""
        equal: float = Field(default=0.0, ge=0)
        """Values no further apart than this are a tie (the task's units)."""
        position_bias: float = Field(default=0.0, ge=0, le=1)
        """Probability of picking what is shown first without weighing. So of ties, too, this share goes to it."""
        worthless: float = 0.0
        """The value that is rated 0 (the task's units)."""
        perfect: float = 1.0
        """The value that is rated 1; between them ratings are linear, outside they are cut off."""
        approve_from: float = Field(default=0.5, ge=0, le=1)
        """The rating from which an answer is approved."""

        @model_validator(mode="after")
        def _a_scale(self) -> Valuing.Settings:
            if self.worthless >= self.perfect:
                raise ValueError(f"worthless ({self.worthless}) has to be less than perfect ({self.perfect})")
            return self

    settings: Settings

    reproducible = True

    @abstractmethod
    def values(self, task: Task, case: Case, seed: Seed) -> Sequence[float] | None:
        """What each answer is worth, in order; None: cannot tell. Asked once for each case; `seed` is the case's."""

    def work(self, task: Task, case: Case) -> int | None:
        """How many steps of work that takes, where the task counts them."""
        return None

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        own_words = self.settings.feedback in ("demonstration", "correction")
        for number, case in enumerate(cases, start=done):
            at = seed.at(case.id)
            shown = self._candidates(task, case) if own_words else case
            values, work = self.values(task, shown, at), self.work(task, shown)
            silent = UNKNOWN if values is None else self._skips(values, at)
            said: Feedback
            if values is None or silent:
                said = Abstention(case=case.id, evaluator=self.name(), reason=silent)
            elif own_words:
                said = self._say_better(case, shown, values, at, slips=self._slips(number, at))
            else:
                said = self._say(case, values, at, slips=self._slips(number, at))
            yield said if work is None else said.model_copy(update={"work": work})

    def _say(self, case: Case, values: Sequence[float], at: Seed, *, slips: bool) -> Feedback:
        form, count, name = self.settings.feedback, len(values), self.name()
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
        return Rating(case=case.id, evaluator=name, score=_uniform(at.at("slip")) if slips else score)

    def _tiers(self, values: Sequence[float], at: Seed, *, places: int) -> tuple[tuple[int, ...], ...]:
        """The answers as the person would order them: `places` tiers that are picked, then the rest."""
        s, everyone = self.settings, range(len(values))
        if s.position_bias and _uniform(at.at("position")) < s.position_bias:
            return ((0,), tuple(everyone[1:]))
        if max(values) - min(values) <= s.equal:
            return (tuple(everyone),)
        felt = values if s.beta is None else _with_gumbel_noise(values, s.beta, at.at("rationality").rng())
        rest = list(everyone)
        tiers: list[tuple[int, ...]] = []
        while rest and len(tiers) < places:
            worth = values[max(rest, key=felt.__getitem__)]
            tier = tuple(i for i in rest if abs(values[i] - worth) <= s.equal)
            tiers.append(tier)
            rest = [i for i in rest if i not in tier]
        return (*tiers, tuple(rest)) if rest else tuple(tiers)

    def _score(self, value: float, at: Seed) -> float:
        s = self.settings
        if s.beta is not None:
            u = _uniform(at.at("rationality"))
            value += log(u / (1 - u)) / s.beta
        return min(max((value - s.worthless) / (s.perfect - s.worthless), 0.0), 1.0)

    def _slips(self, number: int, at: Seed) -> bool:
        s = self.settings
        rate = max(s.mistake, min(s.mistake + s.fatigue * number, TIRED))
        return rate > 0 and _uniform(at.at("mistake")) < rate

    def _skips(self, values: Sequence[float], at: Seed) -> str:
        """Why nothing is said; empty: something is."""
        s = self.settings
        if s.skip_below is not None and max(values) < s.skip_below:
            return "even the best answer is worth too little"
        return "skipped" if s.skip and _uniform(at.at("skip")) < s.skip else ""

    def _candidates(self, task: Task, case: Case) -> Case:
        """What the person would choose its own words from: the finite answer set, or else the answers that it sees."""
        known = task.answers(case.item)
        if known is None:
            return case
        answers = tuple(Response(item=case.item.id, text=text, sample=i) for i, text in enumerate(known))
        return Case(item=case.item, responses=answers, exhibits=case.exhibits)

    def _say_better(self, case: Case, shown: Case, values: Sequence[float], at: Seed, *, slips: bool) -> Feedback:
        name, tiers, rng = self.name(), self._tiers(values, at, places=1), at.at("words").rng()
        if len(tiers) == 1:
            return Abstention(case=case.id, evaluator=name, reason="no answer seems better than the others")
        best = [shown.responses[i].text for i in tiers[0]]
        text = rng.choice(shown.responses).text if slips else rng.choice(best)
        if self.settings.feedback == "demonstration":
            return Demonstration(case=case.id, evaluator=name, text=text)
        own = case.responses[0].text  # which stands as it is, if the person believes in it
        return Correction(case=case.id, evaluator=name, text=own if own in best and not slips else text)


def _slipped(
    tiers: tuple[tuple[int, ...], ...], rng: Random, count: int, *, whole: bool
) -> tuple[tuple[int, ...], ...]:
    if not whole:
        marked = rng.randrange(count)
        return ((marked,), tuple(i for i in range(count) if i != marked))
    one, other = rng.sample(range(count), 2)
    swap = {one: other, other: one}
    return tuple(tuple(swap.get(i, i) for i in tier) for tier in tiers)


def _with_gumbel_noise(values: Sequence[float], beta: float, rng: Random) -> list[float]:
    """The largest of these is answer i with probability softmax(beta * values)[i], and so on down the order."""
    return [v - log(-log(max(rng.random(), 1e-300))) / beta for v in values]


def _uniform(at: Seed) -> float:
    """The one number between 0 and 1 (neither of them) that belongs to an address: much cheaper than a generator."""
    return ((at.value >> 12) + 0.5) * 2.0**-52
