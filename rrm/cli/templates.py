"""What `rrm new` writes: for each role the smallest component that does something and keeps its contract."""

from __future__ import annotations

TEMPLATES = {
    "task": '''"""NAME: say here in one sentence what is asked, and how judging it breaks into smaller tasks."""

from collections.abc import Sequence
from random import Random

from pydantic import Field
from rrm import Asking, Case, Item, Query, Subtask, Task


class CLASS(Task):
    """The larger of two numbers. A helper looks at all digits but the last, the user at the last `budget` ones."""

    class Settings(Task.Settings):
        digits: int = Field(default=3, ge=2, le=12)

    settings: Settings
    subtasks = (Subtask(name="head", task="NAME", question="Which is larger, the last digits left out?"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        low = 10 ** (self.settings.digits - 1)
        first = rng.randrange(low, 10 * low) // 2 * 2 + held_out  # odd first numbers are held out
        return Item(task=self.name(), prompt=f"{first} {rng.randrange(low, 10 * low)}")

    def queries(self, case: Case) -> Asking:
        first, second = case.item.prompt.split()
        yield Query(subtask="head", item=Item(task=self.name(), prompt=f"{first[:-1]} {second[:-1]}"))

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        first, second = case.item.prompt.split()
        told = {e.text for e in case.exhibits} & {first[:-1], second[:-1]}
        if len(told) == 1 and first[:-1] != second[:-1]:
            guess = first if first[:-1] in told else second
        else:
            guess = max(first, second, key=lambda number: number[-budget:])
        return [float(r.text == guess) for r in case.responses]

    def truth(self, item: Item, text: str) -> float:  # asked by reports only
        return float(text == max(item.prompt.split()))
''',
    "assistant": '''"""NAME: say here in one sentence how it answers."""

import re
from collections.abc import Sequence

from pydantic import Field
from rrm import Assistant, Item, Seed


class CLASS(Assistant):
    """Answers with a word of the question, drawn at random, or with the last one."""

    class Settings(Assistant.Settings):
        guess: float = Field(default=0.5, ge=0, le=1)
        """Probability of a random word."""

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return self.settings.guess == 0  # then each question is asked only once

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        return [[self._word(item, seed.at(i)) for i in range(n)] for item, seed in zip(items, seeds, strict=True)]

    def _word(self, item: Item, seed: Seed) -> str:
        words, rng = re.findall(r"[A-Za-z0-9]+", item.prompt) or [""], seed.rng()
        return rng.choice(words) if rng.random() < self.settings.guess else words[-1]
''',
    "evaluator": '''"""NAME: say here in one sentence who judges, and by what."""

from collections.abc import Iterator, Sequence

from pydantic import Field
from rrm import Abstention, Case, Evaluator, Feedback, Ranking, Rating, Seed, Task


class CLASS(Evaluator):
    """Believes what helpers say: the answer that most exhibits repeat is the best."""

    class Settings(Evaluator.Settings):
        at_least: int = Field(default=1, ge=0)
        """Abstains where fewer exhibits than this agree with any answer."""

    settings: Settings
    reproducible = True  # judging again says the same

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        for case in cases:
            votes = [sum(e.text == r.text for e in case.exhibits) for r in case.responses]
            best = tuple(i for i, v in enumerate(votes) if v == max(votes))
            rest = tuple(i for i in range(len(votes)) if i not in best)
            if max(votes) < self.settings.at_least:
                yield Abstention(case=case.id, evaluator=self.name(), reason="no exhibit says any of these")
            elif len(votes) == 1:
                yield Rating(case=case.id, evaluator=self.name(), score=1.0)
            else:
                yield Ranking(case=case.id, evaluator=self.name(), tiers=(best, rest) if rest else (best,))
''',
    "protocol": '''"""NAME: say here in one sentence what help a case gets before it is judged."""

from pydantic import Field
from rrm import Asking, Case, OversightProtocol, Task


class CLASS(OversightProtocol):
    """Passes on the first few questions that the task itself raises, and no more."""

    class Settings(OversightProtocol.Settings):
        questions: int = Field(default=2, ge=0)

    settings: Settings

    def assist(self, task: Task, case: Case) -> Asking:
        raised = task.queries(case)
        query = next(raised, None)
        for _ in range(self.settings.questions):
            if query is None:
                return
            answer = yield query  # None where nobody serves this subtask
            try:
                query = raised.send(answer)
            except StopIteration:
                return
''',
}
