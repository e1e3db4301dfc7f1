"""The roles that a run is cast from. Subclass one, say what it does, and a plan can name it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self, TypeAlias

from rrm.blocks import Block, Text
from rrm.errors import PlanError
from rrm.records import Case, Exhibit, Feedback, Item, Query, Record
from rrm.seed import Seed

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

Asking: TypeAlias = Generator[Query, Exhibit | None, None]
"""A decomposition as it is asked: yields a query, is sent the answer (None where nobody serves it), and may let
the next query depend on it."""

Judged: TypeAlias = tuple[Case, Feedback]
"""A case with what was said of it."""


@cache
def _dashed(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


class Turn(NamedTuple):
    """Where a level stands in its rounds, so that trainers can spend more, and cool down, in the last."""

    number: int
    """From 0."""
    of: int
    fresh: bool = True
    """Whether the level began with nothing learnt, rather than with another level's weights."""

    @property
    def last(self) -> bool:
        return self.number >= self.of - 1


class Component(ABC):
    """Anything that a plan can name: built from validated settings and nothing else."""

    class Settings(Record):
        """What a plan may set. Unknown keys are refused."""

    settings: Settings

    paths: ClassVar[tuple[str, ...]] = ()
    """Settings that are paths. A relative one is taken from the plan's folder, or, if nothing is there, from where
    `rrm` is called. What stands there is for `reads` to say; where it stands is no part of a node's key."""

    unkeyed: ClassVar[tuple[str, ...]] = ()
    """Settings on which nothing depends that is said or learnt, as how fast a server is asked: no part of a node's key,
    so that a run goes on where they are changed."""

    served: ClassVar[bool] = False
    """Whether somebody else's machine is asked, which may cost money: never just to find out what a plan will cost."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = type(self).Settings() if settings is None else settings

    def reads(self) -> Sequence[Path | bytes]:
        """Files and folders outside the plan that its behaviour depends on, or what it makes of them: their content is
        part of a node's key."""
        return ()

    @classmethod
    def name(cls) -> str:
        """Registry name: the class name with dashes, `BestOfN` -> `best-of-n`."""
        return _dashed(cls.__name__)


class Subtask(Record):
    """A part of judging that a task can hand to a helper."""

    name: str
    """The slot that a plan's `helped_by` fills."""
    task: str = ""
    """Registry name of the kind of task that serves it; empty: any."""
    question: str = ""
    """What is asked, in words that an evaluator reads beside the answer."""


class Task(Component):
    """A family of items, and how judging answers to one breaks into smaller tasks. It knows nothing of agents."""

    subtasks: ClassVar[tuple[Subtask, ...]] = ()

    work_name: ClassVar[str] = "work"
    """What reports call a step of the user's work."""

    measure: ClassVar[Literal["accuracy", "mean"]] = "accuracy"
    """What reports make of `truth`: the share of answers whose truth is 1, or the mean."""

    shares: ClassVar[frozenset[str]] = frozenset()
    """Which of its `measures` are shares: 0 or 1 of each answer. Reports give them Wilson's interval; all others count
    as worths, whatever values they happen to have."""

    several_right: ClassVar[bool] = False
    """Whether more than one answer of the finite answer set may be right."""

    @abstractmethod
    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        """Draw one item, from the training split or from the held-out one."""

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        """Every item of a split, where they are few enough to list (a few thousand); else None."""
        return None

    def alike(self, item: Item) -> str:
        """What makes two items the same question: equal for items between which nobody who answers could tell a
        difference, though their prompts may differ. Reports say how many held-out questions training asks too."""
        return item.prompt

    def queries(self, case: Case) -> Asking:
        """The questions, each an item of a helper's task, whose answers would help to judge `case`."""
        yield from ()

    def answers(self, item: Item) -> Sequence[str] | None:
        """The finite answer set, where there is one: the same answers in the same order for every item of the task."""
        return None

    def moves(self, item: Item) -> Sequence[str]:
        """What a step of an answer may be, one character each, where the beginning of an answer is an answer too, worth
        what its own steps earn. Of all other tasks: nothing."""
        return ()

    def judgeable(self, case: Case) -> tuple[Sequence[int], Sequence[int]]:
        """Which steps of the case's first answer a person may speak of, from 0: those that the exhibits point to, and
        the rest. Of answers without steps: none."""
        return (), ()

    def vocabulary(self) -> Sequence[str] | None:
        """The words that prompts are made of (split at spaces), at every level of the family; None: any text."""
        return None

    def accepts(self, item: Item) -> bool:
        """Whether `item` is one of this task's own: lets a plan that wires the wrong helper fail at load."""
        return True

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        """What a bounded person makes of each response, in order: higher is better, equal is a tie; None: cannot tell.

        The person does at most `budget` steps of real work on the item, and may use what the exhibits say. This
        never calls `truth` and adds no noise to it.
        """
        return None

    def work(self, case: Case, *, budget: int) -> int | None:
        """How many steps of work `estimate` takes on the case; None: it does not say."""
        return None

    def foresee(self, cases: Sequence[Case]) -> None:
        """Told of all cases of a round before any is asked about: a task that reads answers more cheaply all at once
        may do so, and remember. It must answer the same where it was not told."""

    def truth(self, item: Item, text: str) -> float | None:
        """How good an answer really is: 1 exactly when it is right, less otherwise (never above 1). Of a task whose
        `measure` is "mean", any number: what the answer is worth.

        Asked by reports only, and by two controls: the evaluator `oracle`, and the reward `stated` of the truth. Gold
        questions are made with it, where a plan mixes them into raters' work: nothing is learnt from those.
        """
        return None

    def truths(self, items: Sequence[Item], texts: Sequence[str]) -> Sequence[float | None]:
        """The truth of many answers, each to its item: for tasks that find it more cheaply all at once."""
        return [self.truth(item, text) for item, text in zip(items, texts, strict=True)]

    def measures(self, items: Sequence[Item], texts: Sequence[str]) -> Mapping[str, Sequence[float | None]]:
        """More that reports tell of these answers, by name; None where a measure does not apply. Reports only."""
        return {}

    def about(self) -> Mapping[str, str]:
        """What reports say of the task beside its name, as "environment": "off-switch"."""
        return {}

    def terms(self) -> Sequence[GivenTerm]:
        """Parts of the reward that come with the task and need not be learnt; a plan may add more."""
        return ()

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        """Typed blocks that show the item, or (with `text`) an answer to it."""
        return (Text(text=item.prompt if text is None else text),)


class Assistant(Component):
    """Answers items. It knows nothing of who asks, and keeps nothing between calls."""

    @property
    def deterministic(self) -> bool:
        """Whether the same item always gets the same answer, whatever the seed: then it need be asked only once."""
        return False

    def check(self, task: Task) -> None:
        """Raise PlanError, saying what to cast instead, if it cannot answer such a task: asked as a plan is loaded."""

    def kept_in(self, folder: Path) -> Assistant:
        """This assistant, told the folder of the run in which it answers: for those who keep there what they would
        else have to ask again, never for the answer. Asked before `prepare`."""
        return self

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Assistant:
        """Make ready to be trained on `task`, with the weights of `start` where they are given."""
        return self

    @abstractmethod
    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` answers to each item, in the order of `items`. Draws for `items[i]` depend on `seeds[i]` alone."""

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` answers to be judged: like `respond`, but exploring, and without repeats where that can be had."""
        return self.respond(items, n=n, seeds=seeds)

    def save(self, folder: Path) -> None:
        """Write what was learnt into an existing folder: safetensors and JSON, never pickle."""

    def load(self, folder: Path) -> Assistant:
        """A new assistant like this prepared one, with what `save` wrote."""
        return self


class Wrapper(Assistant):
    """An assistant that stands before another: a plan names it in `wrapped_in`."""

    inner: Assistant
    task: Task

    def around(self, inner: Assistant, task: Task) -> Self:
        """This wrapper, around `inner`, which answers items of `task`."""
        new = type(self)(self.settings)
        new.inner, new.task = inner, task
        return new

    def check(self, task: Task) -> None:
        self.inner.check(task)

    def kept_in(self, folder: Path) -> Assistant:
        return self.around(self.inner.kept_in(folder), self.task)

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Assistant:
        return self.around(self.inner.prepare(task, start=start, seed=seed), task)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)

    def load(self, folder: Path) -> Assistant:
        return self.around(self.inner.load(folder), self.task)


class Known(NamedTuple):
    """A helper, as far as whoever hears it may know it."""

    name: str
    level: int
    task: Task
    checked: int = 0
    """On so many held-out items its own user judged its answers, at its gate…"""
    agreed: int = 0
    """…and on so many agreed with them, as `rrm.gate.AGREES` says."""


class Room(NamedTuple):
    """Where cases are heard: what an evaluator needs that lays them before people elsewhere."""

    folder: Path
    """The run's."""
    key: str
    """Of the node under which what is said is recorded."""
    helpers: Mapping[str, Known]
    """By subtask, who speaks in the exhibits."""
    terms: Sequence[GivenTerm] = ()
    """The known parts of the reward, as they stand now."""


class Seat(NamedTuple):
    """One of several raters in a trial, and what falls to them."""

    rater: int
    cases: Sequence[Case]
    """In the order in which they are to be judged."""
    seconds: Sequence[float | None]
    """The budget of time for each; None: what they want."""
    done: int = 0
    """How many of the rater's cases were judged before, in an interrupted run: people tire."""
    person: int = 0
    """Which they are of those who judge elsewhere (`Evaluator.person`), from 0: simulated raters have no link."""


class Evaluator(Component):
    """The paper's user: judges cases, yielding each feedback as it arrives, for a person may stop half way."""

    reproducible: bool = False
    """Whether judging again costs nothing and says the same: then feedback is written in batches, else one by one."""

    interactive: bool = False
    """Whether it needs the terminal: then nodes are trained one after the other, in the main process."""

    person: bool = False
    """Whether a person judges elsewhere, as at a browser: nothing waits for them, but their time is what a plan
    costs, and they are told before they judge anew, as people at the terminal are."""

    takes_asked: bool = False
    """Whether it says the kind of feedback that a case asks for (`Case.asks`). What says another cannot stand behind
    `adaptive`, which would count it as what it asked for."""

    asks_truth: bool = False
    """Whether it is a control that knows the answer key (the evaluator `oracle`)."""

    @property
    def voices(self) -> int:
        """How many people judge each case: their time adds up."""
        return 1

    def check(self, task: Task) -> None:
        """Raise PlanError, saying what to cast instead, if it cannot judge such a task: asked as a plan is loaded."""

    def seated(self, node: str, level: int) -> Self:
        """This evaluator, told where in the graph it judges: for what a person is shown, never for the judgement."""
        return self

    @classmethod
    def is_person(cls) -> bool:
        """Whether a person judges, here or elsewhere."""
        return cls.interactive or cls.person

    def heard_in(self, room: Room) -> Self:
        """This evaluator, told in which run the cases are heard that it is given next, and who helped there: for those
        who lay them out elsewhere, never for the judgement."""
        return self

    def how_to_go_on(self, folder: Path) -> str:
        """What whoever runs the plan is told to do where cases of the run in that folder still wait."""
        return "run the same command again to go on."

    def within(self, seconds: float) -> Self:
        """This evaluator, with so much time for each judgement. Raises PlanError if it knows no time."""
        raise PlanError(
            f"evaluator {self.name()!r} knows no time: leave trial.seconds out, or let others judge (trial.people)"
        )

    def judge_seats(self, task: Task, seats: Sequence[Seat], *, seed: Seed) -> Iterator[Feedback]:
        """Feedback of several raters, each on their own cases alone; those who judge at the same time may do so here.
        No case is in two seats: of the same item and answers, each seat has a case of its own."""
        for seat in seats:
            done = seat.done
            for seconds, part in groupby(zip(seat.seconds, seat.cases, strict=True), key=lambda one: one[0]):
                cases = [case for _, case in part]
                user = self if seconds is None else self.within(seconds)
                yield from user.judge(task, cases, seed=seed.at("rater", seat.rater), done=done)
                done += len(cases)

    def judgements(self, shown: int) -> int:
        """How many judgements it makes of a case with so many answers, at most: for what a plan will cost."""
        return max(shown - 1, 1)

    @abstractmethod
    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        """Feedback on the cases, in any order; leaving one out is allowed. Draws are addressed by case id.

        `done` is how many cases of the same round were judged before, in an interrupted run: people tire.
        """


class Ask(NamedTuple):
    """What is asked of one item."""

    kind: str
    """Of feedback."""
    answers: tuple[str, ...]
    """What is laid before whoever judges."""
    seconds: float
    """How long that is expected to take."""


class Asker(Evaluator):
    """Stands before an evaluator, and chooses what it is asked: the kind of feedback, case by case."""

    inner: Evaluator
    """Who judges."""

    needs_ensemble: bool = False
    """Whether it chooses by what the members of a reward ensemble are not of one mind about."""

    @abstractmethod
    def around(self, inner: Evaluator) -> Self:
        """This asker, before `inner`."""

    @abstractmethod
    def shows(self, most: int) -> Sequence[int]:
        """How many answers its kinds of feedback show, each number once, where up to `most` may be shown."""

    @abstractmethod
    def cheapest(self, heard: Sequence[Judged]) -> float:
        """Seconds that the quickest of its kinds is expected to take, after what was heard."""

    @abstractmethod
    def usual(self, heard: Sequence[Judged]) -> float:
        """Seconds that it expects a case to take, as it chose last; before it has, as it will begin."""

    @abstractmethod
    def seconds(self, judged: Judged, heard: Sequence[Judged]) -> float:
        """How long a judgement took; where nobody measured it, how long it is expected to."""

    @abstractmethod
    def choose(
        self, task: Task, items: Sequence[Item], offered: Mapping[int, Sequence[Sequence[str]]], *, so_far: SoFar,
        heard: Sequence[Judged], planned: Sequence[Ask], seed: Seed,
    ) -> list[Ask | None]:  # fmt: skip
        """What is asked of each item. `offered` are answers to each, by how many are shown; `heard` is all that was
        said at its asking before this round, and `planned` what will be asked in it already. None: nothing can be."""


class OversightProtocol(Component):
    """How help is gathered before an evaluator sees a case."""

    @abstractmethod
    def assist(self, task: Task, case: Case) -> Asking:
        """The questions to put to the helpers; their answers are laid before the evaluator."""


class SoFar(NamedTuple):
    """What a level knows when a round begins."""

    turn: Turn
    assistant: Assistant
    reward: RewardModel | None
    """None in the first round."""
    unsettled: Sequence[Item]
    """Items already shown, none of whose answers the evaluator has ever put above the others."""


class Selection(Component):
    """Which items are put before the evaluator (active learning)."""

    def check(self, task: Task, assistant: Assistant) -> None:
        """Raise PlanError, saying what to cast instead, if it cannot work with these: asked as a plan is loaded."""

    @abstractmethod
    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        """`count` items of the training split."""

    def proposals(self, wanted: int) -> int:
        """How many answers the agent is asked for, where `wanted` are to be shown."""
        return wanted

    def narrow(
        self, items: Sequence[Item], proposed: Sequence[Sequence[str]], wanted: int, *, so_far: SoFar
    ) -> list[list[str]]:
        """Which of the answers proposed to each item are shown: `wanted` of them, or as many as there are."""
        return [list(texts[:wanted]) for texts in proposed]


class Scores(NamedTuple):
    """A reward model's opinion, one row an item and one column a candidate."""

    mean: NDArray[float64]
    spread: NDArray[float64]
    """Standard deviation over the members of an ensemble; 0 for a single model."""


class RewardModel(ABC):
    """What was learnt of an evaluator's judgements. An artefact: it never changes once it is made."""

    @abstractmethod
    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        """A row of scores for each item's candidates (as many for every item), higher is better."""

    def each(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> NDArray[float64]:
        """(members, items, candidates) the scores by each member of an ensemble; of a single model, its own."""
        return self.score(items, candidates).mean[None]

    def save(self, folder: Path) -> None:
        """Write what was learnt into an existing folder: safetensors and JSON, never pickle."""


class Trainer(Component):
    """What learns in rounds. What a plan will cost is found by training it in small, and drawing a line."""

    @classmethod
    def small(cls, scale: int) -> Mapping[str, int]:
        """The settings that say how long it learns, with little to do: `scale` times as much as at 1."""
        return {}

    def units(self, turn: Turn) -> int:
        """How much it does in a round, in units that its time grows with, as optimiser steps; 0: with the cases that
        were judged."""
        return 0


class RewardTrainer(Trainer):
    """Learns a reward model from feedback."""

    needs_judgements: ClassVar[bool] = True
    """Whether it has nothing to learn from where nobody is asked: a plan that asks nobody is refused then."""

    carries_over: ClassVar[bool] = True
    """Whether what it learns says anything of items that were not judged. Reports tell where nothing in a cast does."""

    @property
    def members(self) -> int:
        """How many models it fits, whose disagreement says what is not known yet."""
        return 1

    def check(self, task: Task, assistant: Assistant) -> None:
        """Raise PlanError, saying what to cast instead, if it cannot work with these: asked as a plan is loaded."""

    @abstractmethod
    def fit(
        self,
        judged: Sequence[Judged],
        *,
        task: Task,
        assistant: Assistant,
        start: RewardModel | None,
        turn: Turn,
        seed: Seed,
    ) -> RewardModel:
        """A new reward model, from all feedback on the node so far; `start` is the one before it."""

    @abstractmethod
    def load(self, folder: Path, *, task: Task, assistant: Assistant) -> RewardModel:
        """The reward model that `save` wrote."""


class RewardTerm(Component):
    """A part of the reward that is given, not learnt: a known objective, or a shaping potential."""

    def of(self, task: Task) -> Self:
        """This term, told whose answers it values. Raises PlanError, saying what to write, if it cannot value such."""
        return self

    @abstractmethod
    def value(self, item: Item, text: str) -> float:
        """What the answer is worth to this term alone."""


class GivenTerm(NamedTuple):
    """A given term, what it counts for, and whether it only guides."""

    term: RewardTerm
    weight: float = 1.0
    shaping: bool = False
    """A potential that fades to nothing by a level's last round."""

    def weight_at(self, turn: Turn) -> float:
        """Its weight in a round. A shaping term fades linearly and is gone in the last, so that it guides training
        without changing which answer is best in the end. (Potential-based shaping, Ng, Harada & Russell 1999,
        guarantees that in every round, for answers of many steps: the term `potential`. Others have no such
        guarantee.)"""
        if not self.shaping:
            return self.weight
        return 0.0 if turn.last else self.weight * (1 - turn.number / (turn.of - 1))


class PolicyTrainer(Trainer):
    """Turns an assistant and a reward model into a better assistant, leaving both as they were."""

    stepwise: ClassVar[bool] = False
    """Whether it trains on the reward of each step: given terms have to value steps then (`rrm.control.StepTerm`)."""

    carries_over: ClassVar[bool] = True
    """Whether the agent itself learns anything, that it may use on other items."""

    def check(self, task: Task, assistant: Assistant) -> None:
        """Raise PlanError, saying what to cast instead, if it cannot work with these: asked as a plan is loaded."""

    @abstractmethod
    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        """A new assistant for `task`. Raises PlanError if `assistant` is of a kind that it cannot train."""

    def load(self, folder: Path, *, task: Task, assistant: Assistant, reward: RewardModel) -> Assistant:
        """The assistant that `improve` returned and its `save` wrote."""
        return assistant.load(folder)
