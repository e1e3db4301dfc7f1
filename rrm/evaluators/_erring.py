"""A person who errs as human teachers do: in what is felt, in what is said, and in saying nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from random import Random

from pydantic import Field, model_validator

from rrm.roles import Evaluator
from rrm.seed import Seed

TIRED = 0.5
"""Where mistakes by fatigue end: a person this tired flips a coin."""


class Erring(Evaluator):
    """The errors of a human teacher, whatever is judged.

    They are those of B-Pref (Lee et al. 2021, "B-Pref: Benchmarking Preference-Based Reinforcement Learning",
    algorithm 2), in its order: skip, equal, rationality, mistake; and two more, for the place of an answer and for
    fatigue. Every setting's default is a teacher without that error. Draws are addressed by case id and by error, so
    that switching one on leaves the draws of the others as they are.
    """

    class Settings(Evaluator.Settings):
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
        def _a_scale(self) -> Erring.Settings:
            if self.worthless >= self.perfect:
                raise ValueError(f"worthless ({self.worthless}) has to be less than perfect ({self.perfect})")
            return self

    settings: Settings

    def _tiers(self, values: Sequence[float], at: Seed, *, places: int) -> tuple[tuple[int, ...], ...]:
        """The answers as the person would order them: `places` tiers that are picked, then the rest."""
        s, everyone = self.settings, range(len(values))
        if s.position_bias and uniform(at.at("position")) < s.position_bias:
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

    def _felt(self, value: float, at: Seed) -> float:
        """One value, as a person feels it."""
        s = self.settings
        if abs(value) <= s.equal:
            value = 0.0
        return value if s.beta is None else value + self._noise(at)

    def _noise(self, at: Seed) -> float:
        u = uniform(at.at("rationality"))
        return log(u / (1 - u)) / (self.settings.beta or 1.0)

    def _score(self, value: float, at: Seed) -> float:
        s = self.settings
        if s.beta is not None:
            value += self._noise(at)
        return min(max((value - s.worthless) / (s.perfect - s.worthless), 0.0), 1.0)

    def _slips(self, number: int, at: Seed) -> bool:
        s = self.settings
        rate = max(s.mistake, min(s.mistake + s.fatigue * number, TIRED))
        return rate > 0 and uniform(at.at("mistake")) < rate

    def _skips(self, values: Sequence[float], at: Seed) -> str:
        """Why nothing is said; empty: something is."""
        s = self.settings
        if s.skip_below is not None and max(values) < s.skip_below:
            return "even the best answer is worth too little"
        return "skipped" if s.skip and uniform(at.at("skip")) < s.skip else ""


def _with_gumbel_noise(values: Sequence[float], beta: float, rng: Random) -> list[float]:
    """The largest of these is answer i with probability softmax(beta * values)[i], and so on down the order."""
    return [v - log(-log(max(rng.random(), 1e-300))) / beta for v in values]


def uniform(at: Seed) -> float:
    """The one number between 0 and 1 (neither of them) that belongs to an address: much cheaper than a generator."""
    return ((at.value >> 12) + 0.5) * 2.0**-52
