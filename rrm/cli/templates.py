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
        first, second = (rng.randrange(10 ** (self.settings.digits - 1), 10**self.settings.digits) for _ in "12")
        return Item(task=self.name(), prompt=f"{first // 2 * 2 + held_out} {second}")  # odd first ones are held out

    def accepts(self, item: Item) -> bool:
        return [len(number) for number in item.prompt.split()] == [self.settings.digits] * 2

    def queries(self, case: Case) -> Asking:
        heads = " ".join(number[:-1] for number in case.item.prompt.split())
        yield Query(subtask="head", item=Item(task=self.name(), prompt=heads))

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        first, second = case.item.prompt.split()
        told = {e.text for e in case.exhibits} & ({first[:-1]} ^ {second[:-1]})
        helped = first if first[:-1] in told else second
        guess = helped if len(told) == 1 else max(first, second, key=lambda number: number[-budget:])
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
        raised, answer = task.queries(case), None
        for _ in range(self.settings.questions):
            try:
                answer = yield raised.send(answer)  # None where nobody serves this subtask
            except StopIteration:
                return
''',
    "wrapper": '''"""NAME: say here in one sentence what it does to the answers of the assistant inside."""

from collections.abc import Sequence

from pydantic import Field
from rrm import Item, Seed, Wrapper


class CLASS(Wrapper):
    """Cuts answers off after so many characters."""

    class Settings(Wrapper.Settings):
        longest: int = Field(default=20, ge=0)

    settings: Settings

    @property
    def deterministic(self) -> bool:
        return self.inner.deterministic

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        answers = self.inner.respond(items, n=n, seeds=seeds)
        return [[text[: self.settings.longest] for text in texts] for texts in answers]
''',
    "selection": '''"""NAME: say here in one sentence which items are judged."""

from pydantic import Field
from rrm import Item, Seed, Selection, SoFar, Task


class CLASS(Selection):
    """Shows again what nobody could settle, up to a share of the round; the rest are fresh."""

    class Settings(Selection.Settings):
        again: float = Field(default=0.5, ge=0, le=1)

    settings: Settings

    def choose(self, task: Task, count: int, *, so_far: SoFar, seed: Seed) -> list[Item]:
        old = list(so_far.unsettled)[: int(self.settings.again * count)]
        return old + [task.sample(seed.at(i).rng()) for i in range(count - len(old))]
''',
    "reward-trainer": '''"""NAME: say here in one sentence how judgements become a reward model."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rrm import Assistant, Item, Judged, RewardModel, RewardTrainer, Scores, Seed, Task, Turn
from rrm.training.feedback import choices


class Votes(RewardModel):
    """How often an answer was chosen, less how often it was not, whatever the item."""

    def __init__(self, votes: dict[str, float]) -> None:
        self.votes = votes

    def score(self, items: Sequence[Item], candidates: Sequence[Sequence[str]]) -> Scores:
        mean = np.array([[self.votes.get(text, 0.0) for text in texts] for texts in candidates], dtype=float)
        return Scores(mean, np.zeros_like(mean))

    def save(self, folder: Path) -> None:
        (folder / "votes.json").write_text(json.dumps(self.votes))


class CLASS(RewardTrainer):
    def fit(self, judged: Sequence[Judged], *, task: Task, assistant: Assistant, start: RewardModel | None, turn: Turn,
            seed: Seed) -> RewardModel:  # fmt: skip
        votes: Counter[str] = Counter()
        for case, said in judged:
            for made in choices(case, said):  # every kind of feedback, as choices between answers
                for text, share in zip(made.options, made.target, strict=True):
                    votes[text or ""] += share - 1 / len(made.options)
        return Votes(dict(votes))

    def load(self, folder: Path, *, task: Task, assistant: Assistant) -> RewardModel:
        return Votes(json.loads((folder / "votes.json").read_text()))
''',
    "reward-term": '''"""NAME: say here in one sentence what it pays for."""

from pydantic import Field
from rrm import Item, RewardTerm


class CLASS(RewardTerm):
    """Pays for answers of few words."""

    class Settings(RewardTerm.Settings):
        words: int = Field(default=1, ge=0)
        """The most that are paid for."""

    settings: Settings

    def value(self, item: Item, text: str) -> float:
        return float(len(text.split()) <= self.settings.words)
''',
    "policy-trainer": '''"""NAME: say here in one sentence how a reward model makes a better assistant."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from rrm import Assistant, Item, PolicyTrainer, RewardModel, Seed, Task, Turn, Wrapper


class CLASS(PolicyTrainer):
    """No training: asks several times, and gives the answer with the highest reward."""

    class Settings(PolicyTrainer.Settings):
        tries: int = Field(default=4, ge=1)

    settings: Settings

    def improve(self, assistant: Assistant, task: Task, reward: RewardModel, *, turn: Turn, seed: Seed) -> Assistant:
        return Choosy(assistant.inner if isinstance(assistant, Choosy) else assistant, reward, self.settings.tries)

    def load(self, folder: Path, *, task: Task, assistant: Assistant, reward: RewardModel) -> Assistant:
        return Choosy(assistant.load(folder), reward, self.settings.tries)


class Choosy(Wrapper):
    def __init__(self, inner: Assistant, reward: RewardModel, tries: int) -> None:
        super().__init__()
        self.inner, self.reward, self.tries = inner, reward, tries

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        tried = self.inner.respond(items, n=n * self.tries, seeds=seeds)
        worth = self.reward.score(items, tried).mean if items else []
        ranked = [sorted(range(len(ws)), key=lambda i: -ws[i])[:n] for ws in worth]
        return [[texts[i] for i in best] for texts, best in zip(tried, ranked, strict=True)]
''',
}
