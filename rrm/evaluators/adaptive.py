"""Asks for the kind of feedback that is expected to teach most in a second of whoever judges."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue, field_validator

from rrm.desk.sheet import Kind, possible
from rrm.errors import PlanError
from rrm.evaluators._pace import Pace
from rrm.evaluators._teaching import GRADED, finely, targets, taught, told
from rrm.evaluators.simulated import Simulated
from rrm.records import Case, Feedback, Item, Response
from rrm.roles import Ask, Asker, Evaluator, Judged, Room, Seat, SoFar, Task
from rrm.seed import Seed

UNFORESEEN = ("advice", "mask", "term")
"""Kinds that cannot be chosen: nothing is learnt from advice, an edit is learnt from by no ensemble, and what a mask
will mark is known only when it is there."""


class Adaptive(Asker):
    """Stands before another evaluator. In the first round every kind gets the same time. Then each case gets the kind
    that is expected to teach most of it, less what its seconds would bring elsewhere. What a kind teaches is worked out
    from the reward ensemble (`rrm.evaluators._teaching`); how long it takes, and how much is said when asked so, is
    taken from the record. It never asks for the truth.

    With one kind, that is asked: the arm to compare with. Gates, spot checks and trials ask as `user` does by itself.
    """

    class Settings(Asker.Settings):
        kinds: tuple[Kind, ...] = Field(
            default=("preference", "ranking", "rating", "approval", "demonstration", "correction"), min_length=1
        )
        """Kinds of feedback to choose from, where a case allows them."""
        user: str | dict[str, JsonValue] = "simulated"
        """Who judges, as a plan names an evaluator."""
        pace: Pace = Pace()
        """How long it is expected to take to say something, until it is measured; and what counts where nobody does."""
        looking: float = Field(default=5.0, ge=0)
        """The same of finding out what to say."""
        prior: float = Field(default=3.0, ge=0)
        """As how many judgements these expectations count beside those that were measured."""
        steps: int = Field(default=4, ge=1)
        """How many steps of an answer are judged where steps are, for what that is expected to teach and take."""

        @field_validator("kinds", mode="before")
        @classmethod
        def _one_will_do(cls, value: object) -> object:
            return (value,) if isinstance(value, str) else value

        @field_validator("kinds")
        @classmethod
        def _each_once_and_foreseen(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
            if len(set(kinds)) < len(kinds):
                raise ValueError(f"each kind once: {list(kinds)}")
            if unknown := [kind for kind in kinds if kind in UNFORESEEN]:
                raise ValueError(f"leave out {', '.join(unknown)}: what such feedback teaches cannot be foreseen")
            return kinds

        @field_validator("user")
        @classmethod
        def _named(cls, user: str | dict[str, JsonValue]) -> str | dict[str, JsonValue]:
            if isinstance(user, dict) and not isinstance(user.get("use"), str):
                raise ValueError('say who judges: user = { use = "simulated", … }')
            return user

    settings: Settings

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._before(Simulated())

    def _before(self, inner: Evaluator) -> None:
        self.inner = inner
        self.reproducible, self.interactive, self.person = inner.reproducible, inner.interactive, inner.person
        self.asks_truth, self.needs_ensemble = inner.asks_truth, len(self.settings.kinds) > 1

    def around(self, inner: Evaluator) -> Self:
        new = copy.copy(self)
        new._before(inner)
        return new

    # -- who judges ---------------------------------------------------------------------------------------------

    @property
    def voices(self) -> int:
        return self.inner.voices

    def check(self, task: Task) -> None:
        if not self.inner.takes_asked:
            raise PlanError(
                f"evaluator {self.inner.name()!r} says what it will, and takes no kind from others: cast user = "
                '"simulated" or "people", or cast it without \'adaptive\''
            )
        self.inner.check(task)

    def seated(self, node: str, level: int) -> Self:
        return self.around(self.inner.seated(node, level))

    def heard_in(self, room: Room) -> Self:
        return self.around(self.inner.heard_in(room))

    def how_to_go_on(self, folder: Path) -> str:
        return self.inner.how_to_go_on(folder)

    def within(self, seconds: float) -> Self:
        return self.around(self.inner.within(seconds))

    def judge_seats(self, task: Task, seats: Sequence[Seat], *, seed: Seed) -> Iterator[Feedback]:
        return self.inner.judge_seats(task, seats, seed=seed)

    def judgements(self, shown: int) -> int:
        return self.inner.judgements(shown)

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        return self.inner.judge(task, cases, seed=seed, done=done)

    # -- what is asked ------------------------------------------------------------------------------------------

    def shows(self, most: int) -> Sequence[int]:
        return sorted({_shown(kind, most) for kind in self.settings.kinds})

    def cheapest(self, heard: Sequence[Judged]) -> float:
        return min(self._times(heard).values())

    def usual(self, heard: Sequence[Judged]) -> float:
        times = self._times(heard)
        if last := _newest(heard):
            return sum(times[kind] for kind in last) / len(last)
        return len(times) / sum(1 / seconds for seconds in times.values())  # as much time for each

    def seconds(self, judged: Judged, heard: Sequence[Judged]) -> float:
        case, feedback = judged
        if feedback.seconds is not None:
            return feedback.seconds
        return self._stated(case.asks, len(case.responses))

    def choose(
        self, task: Task, items: Sequence[Item], offered: Mapping[int, Sequence[Sequence[str]]], *, so_far: SoFar,
        heard: Sequence[Judged], planned: Sequence[Ask], seed: Seed,
    ) -> list[Ask | None]:  # fmt: skip
        most, times = max(offered), self._times(heard)
        ready = {k: [_case(i, t, k) for i, t in zip(items, offered[_shown(k, most)], strict=True)] for k in times}
        task.foresee([case for cases in ready.values() for case in cases])
        fits = {k: [possible(k, task, case) for case in cases] for k, cases in ready.items()}
        chosen = (
            self._by_turns(fits, times, planned)
            if so_far.reward is None
            else self._by_worth(fits, self._worth(task, ready, so_far, heard, times))
        )
        return [
            Ask(kind, tuple(r.text for r in ready[kind][i].responses), times[kind]) if kind else None
            for i, kind in enumerate(chosen)
        ]

    def _by_turns(
        self, fits: Mapping[Kind, Sequence[bool]], times: Mapping[Kind, float], planned: Sequence[Ask]
    ) -> list[Kind | None]:
        """Every kind gets the same time."""
        spent = {kind: sum(a.seconds for a in planned if a.kind == kind) for kind in fits}
        chosen: list[Kind | None] = []
        for row in zip(*fits.values(), strict=True):
            kind = min((k for k, fit in zip(fits, row, strict=True) if fit), key=spent.__getitem__, default=None)
            if kind:
                spent[kind] += times[kind]
            chosen.append(kind)
        return chosen

    def _by_worth(
        self, fits: Mapping[Kind, Sequence[bool]], worth: Mapping[Kind, Sequence[float]]
    ) -> list[Kind | None]:
        chosen: list[Kind | None] = []
        for i, row in enumerate(zip(*fits.values(), strict=True)):
            fitting = [kind for kind, fit in zip(fits, row, strict=True) if fit]
            chosen.append(max(fitting, key=lambda kind, i=i: worth[kind][i], default=None))  # type: ignore[misc]
        return chosen

    def _worth(
        self, task: Task, ready: Mapping[Kind, Sequence[Case]], so_far: SoFar, heard: Sequence[Judged],
        times: Mapping[Kind, float],
    ) -> dict[Kind, list[float]]:  # fmt: skip
        """What each kind is expected to teach of each item, less what its seconds would bring on average by the best of
        them: so an item of which little can be learnt gets the quickest kind, and never a dear one."""
        if len(ready) == 1 or so_far.reward is None:
            return {kind: [1.0] * len(cases) for kind, cases in ready.items()}
        said, reward, steps = self._said(heard), so_far.reward, self.settings.steps
        items = [case.item for case in ready[next(iter(ready))]]
        texts = [[r.text for case in row for r in case.responses] for row in zip(*ready.values(), strict=True)]
        wanted = targets(task, items, texts, reward)
        found = {}
        for kind, cases in ready.items():
            own = [one for one in heard if one[0].asks == kind]
            finer = finely(own, task, reward) if kind in GRADED else 1.0
            gains = taught(kind, task, cases, reward, wanted, steps=steps, finer=finer)
            found[kind] = [said[kind] * gain for gain in gains]
        second = max(sum(gains) / (times[kind] * len(gains)) for kind, gains in found.items())
        return {kind: [gain - second * times[kind] for gain in gains] for kind, gains in found.items()}

    # -- what the record says of each kind ----------------------------------------------------------------------

    def _times(self, heard: Sequence[Judged]) -> dict[Kind, float]:
        """Seconds that a judgement of each kind takes: the mean of those recorded, with a little of what was stated."""
        total: dict[str, float] = defaultdict(float)
        count: Counter[str] = Counter()
        shown: dict[str, int] = {}
        for case, feedback in heard:
            shown[case.asks] = max(shown.get(case.asks, 1), len(case.responses))
            if feedback.seconds is not None:
                total[case.asks] += feedback.seconds
                count[case.asks] += 1
        prior = self.settings.prior
        found: dict[Kind, float] = {}
        for kind in self.settings.kinds:
            stated = self._stated(kind, shown.get(kind, _shown(kind, 4)))
            weight = prior + count[kind]
            found[kind] = (prior * stated + total[kind]) / weight if weight else stated
        return found

    def _said(self, heard: Sequence[Judged]) -> dict[Kind, float]:
        """How much of what was asked was said, by kind: nothing by an abstention, little by a tie, and of steps the
        share that there was an opinion on."""
        said: dict[str, float] = defaultdict(float)
        count: Counter[str] = Counter()
        for case, feedback in heard:
            said[case.asks] += told(feedback, len(case.responses), self.settings.steps)
            count[case.asks] += 1
        return {kind: (1 + said[kind]) / (1 + count[kind]) for kind in self.settings.kinds}

    def _stated(self, kind: str, shown: int) -> float:
        words = ["."] * shown  # a word for each answer, and of what is typed, one of four letters
        saying = self.settings.pace.saying(kind, words, typed="....", steps=self.settings.steps)
        return (saying + self.settings.looking) * self.voices


def _newest(heard: Sequence[Judged]) -> list[Kind]:
    """What was asked in the last round that asked anything."""
    rounds = [case.place.partition("/")[0] for case, _ in heard]
    return [case.asks for (case, _), place in zip(heard, rounds, strict=True) if place == rounds[-1]]  # type: ignore[misc]


def _shown(kind: str, most: int) -> int:
    return {"preference": 2, "ranking": max(most, 2)}.get(kind, 1)


def _case(item: Item, texts: Sequence[str], kind: str) -> Case:
    distinct = dict.fromkeys(texts)
    return Case(item=item, responses=tuple(Response(item=item.id, text=t) for t in distinct), asks=kind)
