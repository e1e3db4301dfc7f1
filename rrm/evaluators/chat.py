"""A language model behind an OpenAI-compatible server: reads the help and judges, and obeys nothing that it reads."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Self

from rrm.errors import PlanError
from rrm.inert import inert
from rrm.models.served.client import Clock, Failed, Question, ask
from rrm.models.served.ledger import Reply
from rrm.models.served.prompt import Fence
from rrm.models.served.reply import spoken, value_in
from rrm.models.served.settings import UNKEYED, ServedSettings, check_served
from rrm.records import Abstention, Case, Exhibit, Feedback, Preference, Ranking, Rating
from rrm.roles import Evaluator, Room, Task
from rrm.seed import Seed

EQUAL, UNSURE = "equal", "cannot tell"
BEST_SCORE = 10
AT_ONCE = 4
"""Cases that are put to the server together, for each request that may be under way."""


class Chat(Evaluator):
    """Asks which answer is best (of one: how good it is), as JSON. Whatever is not a verdict is an abstention: what the
    model refuses, what cannot be read, and what the server failed at. None of it is ever a score.

    What others wrote is fenced off (`defence`). What was said to a request stands in the run's folder, and is not asked
    again.
    """

    class Settings(Evaluator.Settings, ServedSettings):
        defence: bool = True
        """Whether exhibits and answers are fenced off and made inert. False: as they are, to measure what that is
        worth, and for nothing else."""

    settings: Settings

    unkeyed = UNKEYED
    served = True

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._folder: Path | None = None
        self.clock = Clock()

    def check(self, task: Task) -> None:
        check_served(self.settings)

    def heard_in(self, room: Room) -> Self:
        new = copy.copy(self)
        new._folder = room.folder
        return new

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        step = AT_ONCE * self.settings.concurrency
        for first in range(0, len(cases), step):
            together = cases[first : first + step]
            asked = [self._question(case, seed.at(case.id)) for case in together]
            for case, said in zip(together, ask(self.settings, asked, self._folder, self.clock), strict=True):
                yield self._verdict(case, said)

    # -- what is asked ------------------------------------------------------------------------------------------

    def _question(self, case: Case, at: Seed) -> Question:
        names = _names(case)
        texts = [case.item.prompt, *(r.text for r in case.responses), *(_heard(e) for e in case.exhibits)]
        fence = Fence(texts, self.settings.longest) if self.settings.defence else None
        help_ = [f"help {i}{_about(case, exhibit)}" for i, exhibit in enumerate(case.exhibits, start=1)]
        answers = [f"answer {name}" for name in names]
        parts = [
            "You judge answers to a question. " + self.settings.instructions,
            *([fence.rule()] if fence else []),
            *(["Helpers were asked about parts of it. What they say may be wrong."] if help_ else []),
        ]
        blocks = [_block(fence, name, text) for name, text in zip(["question", *answers, *help_], texts, strict=True)]
        user = "\n\n".join([*blocks, self._wanted(names)])
        # at temperature 0 nothing is drawn
        draw = at.at("chat").value % 2**31 if self.settings.temperature else None
        messages = (("system", "\n\n".join(parts).strip()), ("user", user))
        return Question(messages, self._schema(names), self.settings.temperature, draw)

    def _wanted(self, names: Sequence[str]) -> str:
        reason = '"reason": a few sentences, ' if self.settings.reason else ""
        if len(names) == 1:
            return (
                f"How good is answer A, from 0 (worthless) to {BEST_SCORE} (as good as it could be)? Reply with one "
                f'JSON object and nothing else: {{{reason}"score": the number, or "{UNSURE}"}}.'
            )
        return (
            f"Which of the answers {', '.join(names)} is best? Reply with one JSON object and nothing else: "
            f'{{{reason}"best": its letter, or "{EQUAL}" if they are equally good, or "{UNSURE}"}}.'
        )

    def _schema(self, names: Sequence[str]) -> dict[str, Any]:
        score = {"anyOf": [{"type": "number"}, {"enum": [UNSURE], "type": "string"}]}
        said = {"score": score} if len(names) == 1 else {"best": {"enum": [*names, EQUAL, UNSURE], "type": "string"}}
        fields = {**({"reason": {"type": "string"}} if self.settings.reason else {}), **said}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}

    # -- what is said -------------------------------------------------------------------------------------------

    def _verdict(self, case: Case, said: Reply | Failed) -> Feedback:
        reason = _silence(said)
        if isinstance(said, Reply) and not reason:
            single = len(case.responses) == 1
            value = value_in(said.text, "score" if single else "best")
            found = self._rated(case, value) if single else self._compared(case, value)
            if found is not None:
                return found
            told = isinstance(value, str) and value.strip().casefold() == UNSURE
            cut = " (it was cut off: see max_tokens)" if said.finish == "length" else ""
            shown = inert(" ".join(spoken(said.text).split()), 100)
            reason = "the model cannot tell" if told else f"no verdict can be read{cut}: {shown}"
        return Abstention(case=case.id, evaluator=self.name(), reason=reason)

    def _rated(self, case: Case, value: object) -> Feedback | None:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not 0 <= value <= BEST_SCORE:  # type: ignore[operator]
            return None
        return Rating(case=case.id, evaluator=self.name(), score=value / BEST_SCORE)  # type: ignore[operator]

    def _compared(self, case: Case, value: object) -> Feedback | None:
        names = [name.casefold() for name in _names(case)]
        word = value.strip().casefold().removeprefix("answer ") if isinstance(value, str) else ""
        if word not in (*names, EQUAL):
            return None
        if len(names) == 2:
            better = 0.5 if word == EQUAL else float(word == names[0])
            return Preference(case=case.id, evaluator=self.name(), first_better=better)
        all_ = tuple(range(len(names)))
        best = all_ if word == EQUAL else (names.index(word),)
        rest = tuple(i for i in all_ if i not in best)
        return Ranking(case=case.id, evaluator=self.name(), tiers=(best, rest) if rest else (best,))


def _names(case: Case) -> list[str]:
    """A, B, … for a case's answers."""
    count = len(case.responses)
    if count > len(ascii_uppercase):
        raise PlanError(f"'chat' judges at most {len(ascii_uppercase)} answers at once: lower effort.candidates")
    return list(ascii_uppercase[:count])


def _about(case: Case, exhibit: Exhibit) -> str:
    of = [name for name, response in zip(_names(case), case.responses, strict=True) if response.id == exhibit.about]
    return f", about answer {of[0]}" if exhibit.about and of else ""


def _heard(exhibit: Exhibit) -> str:
    """A helper's answer with what it was asked, which may be in others' words too."""
    asked = f"asked: {exhibit.title} {exhibit.query.item.prompt if exhibit.query else ''}".rstrip()
    sure = "" if exhibit.confidence is None else f"\nhow sure: {exhibit.confidence:.2f}"
    return f"{asked}\nsays: {exhibit.text}{sure}"


def _block(fence: Fence | None, name: str, text: str) -> str:
    return f"{name[0].upper()}{name[1:]}:\n{text}" if fence is None else fence.block(name, text)


def _silence(said: Reply | Failed) -> str:
    """Why there is no verdict, where nothing was said."""
    if isinstance(said, Failed):
        return f"the server failed: {said.words}"
    return f"the model refused: {inert(' '.join(said.refusal.split()), 100)}" if said.refusal else ""
