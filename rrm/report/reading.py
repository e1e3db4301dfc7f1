"""Every figure of one trained node: what its record says, held against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rrm.measure import Figure
from rrm.records import GateResult, SpotResult
from rrm.report.gap import RewardGap


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
    imported: int | None = None
    """Judgements made elsewhere: the user was not asked for them, and none of the figures is of them."""
    abstained: float | None = None
    """Share of the cases put to the user on which it said that it cannot tell."""
    helper_questions: int | None = None
    helper_distinct: int | None = None
    gate: GateResult | None = None
    gate_judgements: int | None = None
    gate_questions: int | None = None
    spots: Mapping[str, Sequence[SpotResult]] = field(default_factory=dict)
    """By subtask, what spot checks of the helper came to up to each round; whether it could be trusted is for a `Run`
    to say, by its own plan."""
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
    kinds: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """Where kinds of feedback were chosen: of each, the cases, those on which nothing was said, and their seconds."""
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
