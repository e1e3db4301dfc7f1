"""The nouns that cross a boundary: frozen, JSON-round-trippable, addressed by content."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator


def address(kind: str, body: str) -> str:
    """The content address of a record: 16 hex digits of sha256 over its type's name and its JSON."""
    return hashlib.sha256(f"{kind}:{body}".encode()).hexdigest()[:16]


class Record(BaseModel):
    """Immutable data whose identity is its content."""

    # JSON has no nan and no infinity: one that was written could not be read again.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    _fields: ClassVar[set[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **given: Any) -> None:
        cls._fields = set(cls.model_fields)

    def model_post_init(self, _: Any, /) -> None:
        """Share one set of "the fields that were given", which pydantic keeps for each object: half of its memory."""
        object.__setattr__(self, "__pydantic_fields_set__", self._fields)

    def __copy__(self) -> Self:
        """A copy, which `model_copy` may change, works out its own body and id."""
        copied = super().__copy__()
        for known in ("body", "id"):
            copied.__dict__.pop(known, None)
        return copied

    @cached_property
    def body(self) -> str:
        """The record as JSON, as it is stored."""
        return self.model_dump_json()

    @cached_property
    def id(self) -> str:
        """Equal records have equal ids, on any machine, in any run."""
        return address(type(self).__name__, self.body)


class Item(Record):
    """One problem drawn from a task."""

    task: str
    """Registry name of the task."""
    prompt: str


class Response(Record):
    """What one agent answered to one item."""

    item: str
    """Id of the item."""
    text: str
    agent: str = ""
    """The node whose agent said it."""
    sample: int = 0
    """Which of its answers to this item, from 0."""


class Query(Record):
    """A question raised while a case is judged, in the form of another task's item."""

    subtask: str
    item: Item
    about: str = ""
    """Id of the response that it is about; empty: the case as a whole."""


class Exhibit(Record):
    """Something laid before the evaluator: a helper's answer, a critique, a debate turn. Its text is untrusted."""

    kind: str = "answer"
    title: str = ""
    text: str
    agent: str = ""
    about: str = ""
    """Id of the response that it is about; empty: the case as a whole."""
    confidence: float | None = None
    query: Query | None = None
    """What was asked, so that a reader can drill down into it."""


class Case(Record):
    """All that one evaluator sees at once. One response: rate it. Two: compare. More: rank."""

    item: Item
    responses: tuple[Response, ...] = Field(min_length=1)
    """In the order in which they are shown."""
    exhibits: tuple[Exhibit, ...] = ()
    place: str = ""
    """Where in a level it was asked ("3/17": round 3, number 17): the same question asked again is another case."""
    asks: str = Field(default="", exclude_if=lambda kind: not kind)
    """The kind of feedback that was chosen for it; empty, and then in no record: whatever the evaluator asks."""


class _Feedback(Record):
    case: str
    """Id of the case."""
    evaluator: str
    seconds: float | None = None
    """How long the evaluator took, where it took any time."""
    work: int | None = None
    """How many steps of work it took, where the task counts them."""
    seen: tuple[str, ...] = ()
    """Ids of the exhibits that were opened."""
    confidence: float | None = Field(default=None, ge=0, le=1)

    @property
    def comparisons(self) -> int:
        """How many judgements this counts as: a mark for the best of k answers is k - 1 comparisons."""
        return 1


class Preference(_Feedback):
    """One of two answers is better."""

    kind: Literal["preference"] = "preference"
    first_better: float = Field(ge=0, le=1)
    """Probability that the first is better: 1 or 0 when sure, 0.5 for a tie."""


class Ranking(_Feedback):
    """Answers in order; ties share a tier, so that "this one is best" is a ranking with two tiers."""

    kind: Literal["ranking"] = "ranking"
    tiers: tuple[tuple[int, ...], ...] = Field(min_length=1)
    """Indices into the case's responses, best tier first."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        indices = [i for tier in self.tiers for i in tier]
        if len(set(indices)) != len(indices) or any(i < 0 for i in indices):
            raise ValueError(f"a ranking names each response at most once, got {self.tiers}")
        return self

    @property
    def comparisons(self) -> int:
        return max(sum(map(len, self.tiers)) - 1, 0)


class Rating(_Feedback):
    """One answer on a scale."""

    kind: Literal["rating"] = "rating"
    response: int = Field(default=0, ge=0)
    score: float = Field(ge=0, le=1)
    """0: worthless; 1: as good as it could be."""


class Approval(_Feedback):
    """One answer will do, or will not."""

    kind: Literal["approval"] = "approval"
    response: int = Field(default=0, ge=0)
    approved: bool


class Demonstration(_Feedback):
    """The answer that the evaluator would have given."""

    kind: Literal["demonstration"] = "demonstration"
    text: str


class Correction(_Feedback):
    """An answer, mended."""

    kind: Literal["correction"] = "correction"
    response: int = Field(default=0, ge=0)
    text: str


class _OfSteps(_Feedback):
    """Something said of each step of one answer, from its first; what is left out at the end is no opinion."""

    response: int = Field(default=0, ge=0)

    @property
    @abstractmethod
    def opinions(self) -> Sequence[object]:
        """What is said, a step each, as it stands in the record."""

    @property
    def comparisons(self) -> int:
        """A judgement for every step that there is an opinion on."""
        return sum(said not in (None, "") for said in self.opinions)


class StepLabels(_OfSteps):
    """Each step of one answer, good (1) or bad (0); None: no opinion."""

    kind: Literal["step-labels"] = "step-labels"
    labels: tuple[Annotated[float, Field(ge=0, le=1)] | None, ...] = Field(min_length=1)

    @property
    def opinions(self) -> Sequence[object]:
        return self.labels


class ActionLabels(_OfSteps):
    """What should have been done at each step of one answer, after all that was done before it; "": no opinion."""

    kind: Literal["action-labels"] = "action-labels"
    labels: tuple[str, ...] = Field(min_length=1)

    @property
    def opinions(self) -> Sequence[object]:
        return self.labels


class ActionValues(_OfSteps):
    """What each step of one answer brought, above 0 where it did good; None: no opinion."""

    kind: Literal["action-values"] = "action-values"
    values: tuple[float | None, ...] = Field(min_length=1)
    scale: float = Field(default=1.0, gt=0)
    """How much is one unit of reward: a step of this value is chosen above nothing at odds of e to 1."""

    @property
    def opinions(self) -> Sequence[object]:
        return self.values


class Advantages(_OfSteps):
    """How much better than its alternatives each step of one answer was (below 0: worse); None: no opinion."""

    kind: Literal["advantages"] = "advantages"
    values: tuple[float | None, ...] = Field(min_length=1)
    scale: float = Field(default=1.0, gt=0)
    """How much is one unit of reward."""

    @property
    def opinions(self) -> Sequence[object]:
        return self.values


class Mask(_OfSteps):
    """Which parts of one answer mattered, words or steps, from its first; None: no opinion. And whether those that
    did spoke for it."""

    kind: Literal["mask"] = "mask"
    of: Literal["words", "steps"] = "words"
    """Words are what stands between blanks."""
    marks: tuple[bool | None, ...] = Field(min_length=1)
    good: float | None = Field(default=None, ge=0, le=1)
    """Whether the parts that mattered made the answer better (1) or worse (0); None: not said."""

    @property
    def opinions(self) -> Sequence[object]:
        return self.marks


class TermEdit(_Feedback):
    """A known part of the reward, edited: what it counts for, or what it says. From the next time on that the agent is
    trained, it is as it says here; of several edits of one term, the last counts."""

    kind: Literal["term"] = "term"
    term: int = Field(ge=0)
    """Which of the node's given terms, from 0: those of the task come first."""
    use: str
    """What it is called."""
    weight: float
    settings: dict[str, str | bool | int | float] = {}
    """Those of its settings that are other than before."""

    @property
    def comparisons(self) -> int:
        return 0


class Advice(_Feedback):
    """Words to whoever trains the agent. Kept for readers; no reward model learns from it."""

    kind: Literal["advice"] = "advice"
    text: str

    @property
    def comparisons(self) -> int:
        return 0


class Abstention(_Feedback):
    """The evaluator could not, or would not, judge. Never a score."""

    kind: Literal["abstention"] = "abstention"
    reason: str

    @property
    def comparisons(self) -> int:
        return 0


Feedback = Annotated[
    Preference
    | Ranking
    | Rating
    | Approval
    | Demonstration
    | Correction
    | StepLabels
    | ActionLabels
    | ActionValues
    | Advantages
    | Mask
    | TermEdit
    | Advice
    | Abstention,
    Field(discriminator="kind"),
]
"""What an evaluator said of a case."""


class Exam(Record):
    """What an agent answered to held-out items at one moment. It holds no truth: reports ask for that."""

    moment: str
    """"zero-shot" (the level below, untrained here), "tree" (level-0 agents combined by the user's own rule), or
    "round-0", "round-1", …; the highest round is the published agent."""
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    """One greedy answer to each prompt."""
    scores: tuple[tuple[float, ...], ...] = ()
    """For the first few prompts, the reward model's score of every answer of the task's finite answer set."""
    believed: tuple[float, ...] = ()
    """Where there is no finite answer set: for the first few prompts, the reward model's score of the answer given;
    not of a reward that knows the truth."""
    believed_first: tuple[float, ...] = ()
    """The same model's score of what the agent of round 0 answered there: a learnt reward has no zero of its own."""
    trained_on: tuple[str, ...] = ()
    """Some prompts of the training split, for the majority baseline ("zero-shot" exams only)."""


class GateResult(Record):
    """How an agent did at its gate, which asks the user and never the truth."""

    moment: str
    """The round after which it stood at the gate: "round-4"."""
    passed: bool
    checked: int
    """Held-out items on which the user, with the level's own help, judged the agent's answer beside others."""
    agreed: int
    """Items on which the user agreed with the agent's answer, as `rrm.gate.AGREES` says."""
    faults: int
    """Checked items whose best answer, to the user, is not the most common one."""
    found: int
    """Faults on which the agent gave the user's answer: an agent that says "fine" to everything finds none."""
    agreement_needed: float
    recall_needed: float
    log_loss: float | None = None
    """Calibration of the reward model on these judgements: mean -log P(what the user said)."""
    calibration_error: float | None = None
    """Expected calibration error over ten bins of predicted preference."""
    temperature: float | None = None
    """What the reward would have to be divided by to be best calibrated."""


class SpotResult(Record):
    """What spot checks of one helper came to, up to and with one round in which it helped."""

    moment: str
    """"round-4"."""
    subtask: str
    helper: str
    """The node whose agent serves the subtask: its own user is asked what its answers are worth."""
    checked: int
    """Answers, of those that were drawn from all, which the user judged beside others."""
    agreed: int
    """Those of them with which the user agreed, as `rrm.gate.AGREES` says."""
    faults: int
    """Checked answers, also chosen ones, to questions whose best answer, to the user, is not the most common one."""
    found: int
    """Faults on which the helper gave the user's answer."""
    agreement_needed: float
    recall_needed: float
    trusted: bool
    """Whether neither share was shown to be less than what is needed, in this round or before."""


class Arm(Record):
    """One arm of a study, at one setting of what varies: an entry of the stream ("study", "arms")."""

    name: str
    varied: dict[str, JsonValue] = {}
    """Dotted plan keys and their values, the seed left out."""
    seed: int
    plan: dict[str, JsonValue]
    """The arm's whole plan, as `Plan.model_validate` takes it."""
    base: dict[str, JsonValue] = {}
    """The plan that the arm changes: arms of one base differ in what the study compares, and in nothing else. Empty
    where it is not known."""
    title: str = ""
    """The plan's: its first comment line."""
    fast: bool = False
    """Run at the small size of the plan's [fast] table, at which nothing is found out."""
    nodes: dict[str, str]
    """Node name to node key: where its records stand. Arms that agree up to a node share its key."""

    @property
    def label(self) -> str:
        """For people: "recursive, seed 0, effort.cases 1000"."""
        return ", ".join([self.name, f"seed {self.seed}", *(f"{k} {v}" for k, v in self.varied.items())])

    @property
    def slot(self) -> str:
        """What it is known by: recorded arms of one slot are one arm, with an earlier plan and with later ones."""
        return json.dumps([self.name, self.seed, self.varied], sort_keys=True)


class Rejudged(Record):
    """That the cases of a node were put before another evaluator: an entry of the stream ("study", "rejudged")."""

    node: str
    """Key of the node whose cases they are."""
    evaluator: dict[str, JsonValue]
    """The other one, as a plan would name it."""
    key: str
    """Where what it said stands, in streams that are called as the node's own."""


def slots(arms: Iterable[Arm]) -> list[list[Arm]]:
    """Recorded arms by slot, each slot in the order of the record: its last one is the newest."""
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(arm.slot, []).append(arm)
    return list(found.values())


FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)
