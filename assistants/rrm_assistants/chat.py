"""A language model behind an OpenAI-compatible server: answers in words, or chooses from a finite answer set."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rrm import Assistant, Item, PlanError, Seed, Task, Unfinished
from rrm.models.served.client import Clock, Failed, Question, ask
from rrm.models.served.ledger import Reply
from rrm.models.served.prompt import broken
from rrm.models.served.reply import spoken, value_in
from rrm.models.served.settings import UNKEYED, ServedSettings, check_served

LISTED = 200
"""Answers of a finite set that are told to the model; a larger set it has to know from `instructions`."""

NOTHING = ""
"""The answer of a model that refuses, or whose answer cannot be read: it said nothing."""


class Chat(Assistant):
    """It is not trained: a helper, a beginning, and what `best-of-n` filters. At temperature 0 it counts as
    deterministic.

    A failure of the server is no answer, so it stops the run; what was said until then stands in the run's folder, and
    is not asked again.
    """

    class Settings(Assistant.Settings, ServedSettings):
        answers: Literal["auto", "text"] = "auto"
        """"auto": the answer is asked for as JSON, and chosen where the task has a finite answer set; "text": all that
        the model says is the answer."""
        proposal_temperature: float = Field(default=1.0, gt=0, le=2)
        """Of answers that are shown to be judged."""

    settings: Settings

    unkeyed = UNKEYED
    served = True

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._folder: Path | None = None
        self._known: tuple[str, ...] = ()
        self.clock = Clock()

    @property
    def deterministic(self) -> bool:
        return self.settings.temperature == 0

    def check(self, task: Task) -> None:
        check_served(self.settings)
        if task.moves(task.sample(Seed(0).rng())):
            raise PlanError("assistant 'chat' answers questions, and this task is acted in: cast 'actor'")

    def kept_in(self, folder: Path) -> Assistant:
        new = copy.copy(self)
        new._folder = folder
        return new

    def prepare(self, task: Task, *, start: Assistant | None = None, seed: Seed) -> Assistant:
        """Told the answer set. There are no weights that `start` could give it."""
        new = copy.copy(self)
        new._known = tuple(task.answers(task.sample(seed.at("answers").rng())) or ())
        return new

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        if self.deterministic:
            return [row * n for row in self._said(items, [None], 0.0, seeds)]
        return self._said(items, range(n), self.settings.temperature, seeds)

    def propose(self, items: Sequence[Item], *, n: int, seeds: Sequence[Seed]) -> list[list[str]]:
        """`n` answers; where some are the same, or none, `n` more are drawn to take the place of these."""
        warmth = self.settings.proposal_temperature
        drawn = self._said(items, range(n), warmth, seeds)
        poor = [i for i, row in enumerate(drawn) if len({text for text in row if text}) < n]
        more = self._said([items[i] for i in poor], range(n, 2 * n), warmth, [seeds[i] for i in poor])
        for i, row in zip(poor, more, strict=True):
            distinct = list(dict.fromkeys(text for text in drawn[i] + row if text))
            drawn[i] = (distinct + drawn[i])[:n]
        return drawn

    def _said(
        self, items: Sequence[Item], numbers: Sequence[int | None], temperature: float, seeds: Sequence[Seed]
    ) -> list[list[str]]:
        asked = [
            self._question(item, temperature, None if number is None else seed.at("chat", number).value % 2**31)
            for item, seed in zip(items, seeds, strict=True)
            for number in numbers
        ]
        texts = [self._answer(reply) for reply in ask(self.settings, asked, self._folder, self.clock)]
        return [texts[i : i + len(numbers)] for i in range(0, len(texts), len(numbers))]

    def _question(self, item: Item, temperature: float, draw: int | None) -> Question:
        system = [self.settings.instructions]
        if self.settings.answers == "auto":
            reason = '"reason": a few sentences, ' if self.settings.reason else ""
            one = "one of those" if self._listed else "as short as can be"
            if self._listed:
                system.append("The answer is one of: " + ", ".join(map(repr, self._known)) + ".")
            system.append(f'Reply with one JSON object and nothing else: {{{reason}"answer": the answer, {one}}}.')
        told = [("system", "\n\n".join(filter(None, system)))] if any(system) else []
        messages = (*told, ("user", broken(item.prompt, self.settings.longest)))
        return Question(messages, self._schema(), temperature, draw)

    @property
    def _listed(self) -> bool:
        return 0 < len(self._known) <= LISTED

    def _schema(self) -> dict[str, Any] | None:
        if self.settings.answers == "text":
            return None
        answer: dict[str, Any] = {"type": "string"}
        fields = {
            **({"reason": {"type": "string"}} if self.settings.reason else {}),
            "answer": {**answer, "enum": list(self._known)} if self._listed else answer,
        }
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}

    def _answer(self, said: Reply | Failed) -> str:
        """Raises Unfinished where the server gave none: that is not something which the model said."""
        if isinstance(said, Failed):
            if said.request:  # asked again, it would refuse again
                return NOTHING
            raise Unfinished(
                f"{self.settings.base_url}: the server failed at a question: {said.words}. What was said is kept: run "
                "the same command again"
            )
        if said.refusal:
            return NOTHING
        if self.settings.answers == "text":
            return spoken(said.text)
        value = value_in(said.text, "answer")
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else NOTHING
        return self._chosen(text.strip()) if self._known else text.strip()

    def _chosen(self, text: str) -> str:
        """The answer of the set that is meant; none that is merely like one."""
        if text in self._known:
            return text
        alike = [known for known in self._known if known.strip().casefold() == text.casefold()]
        return alike[0] if len(alike) == 1 else NOTHING
