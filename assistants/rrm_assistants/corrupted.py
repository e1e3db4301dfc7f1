"""An assistant that is wrong on a share of the questions: to study how errors below spread to the levels above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import Literal

from pydantic import Field

from rrm import Item, Seed, Wrapper

_DIGIT = re.compile(r"[0-9]")


class Corrupted(Wrapper):
    """Replaces the inner assistant's answer by a wrong one, in one of four ways that differ in what can mend them.

    "Wrong" means another than the inner assistant's own: another of the task's finite answer set, or, where there is
    none, the same text with a digit changed, or marked nonsense. On a task that lists its items, the share of each
    split that a fixed corruption hits is `rate` to the nearest item; elsewhere each question is hit with that
    probability. Which ones are hit depends on the question alone, not on the run's seed.
    """

    class Settings(Wrapper.Settings):
        rate: float = Field(default=0.1, ge=0, le=1)
        """Share of the questions that are answered wrongly."""
        kind: Literal["independent", "systematic", "adversarial", "silent"] = "independent"
        """independent: drawn afresh at each answer, so that asking often mends it. systematic: always the same
        questions, each with its own wrong answer; asking others mends it. adversarial: the same questions and the same
        wrong answer in every copy, whatever its salt, next to the right one: no vote mends it. silent: always the same
        questions, and nothing is said."""
        swap: tuple[str, str] | None = None
        """Two answers that an adversary says for each other, whatever stands next to them."""
        salt: int = 0
        """Which questions a systematic or silent corruption hits: another number is another assistant's errors."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return self.inner.deterministic and (self.settings.kind != "independent" or self.settings.rate == 0)

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return self._corrupt(items, self.inner.respond(items, n=n, seeds=seeds), seeds)

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        return self._corrupt(items, self.inner.propose(items, n=n, seeds=seeds), seeds)

    def _corrupt(self, items: Sequence[Item], answers: list[list[str]], seeds: Sequence[Seed]) -> list[list[str]]:
        change = self._drawn if self.settings.kind == "independent" else self._fixed
        return [change(item, texts, seed) for item, texts, seed in zip(items, answers, seeds, strict=True)]

    def _drawn(self, item: Item, texts: list[str], seed: Seed) -> list[str]:
        rng, rate = seed.at("corrupted").rng(), self.settings.rate
        return [self._wrong(item, text, rng) if rng.random() < rate else text for text in texts]

    def _fixed(self, item: Item, texts: list[str], seed: Seed) -> list[str]:
        if not self._is_hit(item):
            return texts
        if self.settings.kind == "silent":
            return ["" for _ in texts]
        if self.settings.kind == "adversarial":
            return [self._nearest(item, text) for text in texts]
        return [self._wrong(item, text, self._place(item).at("answer").rng()) for text in texts]

    # -- which questions ----------------------------------------------------------------------------------------

    def _is_hit(self, item: Item) -> bool:
        known = self._hit.get(item.prompt)
        return self._place(item).value < self.settings.rate * 2**64 if known is None else known

    @cached_property
    def _hit(self) -> dict[str, bool]:
        """Of the items that the task lists: whether a fixed corruption hits them, by prompt."""
        hit: dict[str, bool] = {}
        for held_out in (True, False):
            ranked = sorted(self.task.items(held_out=held_out) or (), key=lambda item: self._place(item).value)
            most = round(self.settings.rate * len(ranked))
            hit |= {item.prompt: place < most for place, item in enumerate(ranked)}
        return hit

    def _place(self, item: Item) -> Seed:
        """Where a question stands among all questions: a number that only the question and the salt decide."""
        salt = "collusion" if self.settings.kind == "adversarial" else self.settings.salt
        return Seed(0).at("corrupted", salt, item.prompt)

    # -- which answer -------------------------------------------------------------------------------------------

    def _wrong(self, item: Item, text: str, rng: Random) -> str:
        """Any other answer. One number is drawn whatever the text, so that the draws of later answers stay put."""
        draw = rng.random()
        answers = self.task.answers(item)
        if answers is not None:
            others = [a for a in answers if a != text]
            return others[int(draw * len(others))] if others else _nonsense(text, draw)
        digits = [m.start() for m in _DIGIT.finditer(text)]
        if not digits:
            return _nonsense(text, draw)
        place, rest = divmod(draw * len(digits), 1)
        at = digits[int(place)]
        changed = "123456789".replace(text[at], "")  # no 0: it might stand first, and that is no number
        return f"{text[:at]}{changed[int(rest * len(changed))]}{text[at + 1 :]}"

    def _nearest(self, item: Item, text: str) -> str:
        """The likeliest of the wrong answers: the one it is swapped with, its neighbour in the answer set, or the last
        digit one off."""
        if self.settings.swap and text in self.settings.swap:
            first, second = self.settings.swap
            return second if text == first else first
        answers = self.task.answers(item)
        if answers is not None and len(answers) > 1:
            return answers[(list(answers).index(text) + 1) % len(answers)] if text in answers else answers[0]
        digits = [m.start() for m in _DIGIT.finditer(text)]
        if not digits:
            return _nonsense(text, 0.0)
        digit = int(text[digits[-1]])
        return f"{text[: digits[-1]]}{digit + 1 if digit < 9 else 8}{text[digits[-1] + 1 :]}"


def _nonsense(text: str, draw: float) -> str:
    """Something that nobody takes for an answer; never `text` itself."""
    said = f"(corrupted: {int(draw * 1e6)})"
    return said if said != text else f"{said}!"
