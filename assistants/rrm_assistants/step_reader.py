"""Says what happened in one step of an episode, from the frames before and after it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from rrm import Item, PlanError, Seed, Task
from rrm.models.learner import Learner
from rrm.models.scorer import AnswerNetwork
from rrm_assistants import _frames


class StepReader(Learner):
    """For prompts "name: frame action frame" and a few answers."""

    class Settings(Learner.Settings):
        width: int = Field(default=48, ge=1)

    settings: Settings

    def check(self, task: Task) -> None:
        super().check(task)
        read(task, self.name(), longest=1)

    def build(self, task: Task) -> AnswerNetwork:
        return StepNetwork(read(task, self.name(), longest=1), len(self.answers), self.settings.width)


def read(task: Task, name: str, *, longest: int) -> int:
    """The characters of a step. Raises PlanError where the task's prompts are no steps, or too many."""
    steps = _frames.steps_of(task.sample(Seed(0).rng()).prompt)
    if not 1 <= len(steps) <= longest:
        raise PlanError(f"assistant {name!r} reads the steps of episodes, which task {task.name()!r} does not ask of")
    return len(steps[0])


class StepNetwork(AnswerNetwork):
    """The answers' scores from one step."""

    def __init__(self, characters: int, answers: int, width: int) -> None:
        super().__init__()
        self.reader = _frames.StepReader(characters, answers, width)

    def encode(self, items: Sequence[Item]) -> Tensor:
        return _frames.codes([(_frames.steps_of(item.prompt) or ["0"])[0] for item in items])

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.reader(codes)
        return scores
