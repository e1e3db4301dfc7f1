"""Add up a column of numbers: judged by having its blocks added up."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pydantic import Field, ValidationInfo, field_validator

from rrm import Asking, Block, Case, ComponentError, Item, Query, Subtask, Table, Task, Text
from rrm_tasks._reading import nearness, number, told
from rrm_tasks._split import draw

_LARGEST = 99
_OPENING = "Add up:"


class ColumnSum(Task):
    """The smallest family with open answers: "Add up: 17 4 80 3".

    The example of recursive evaluation in small. A judgement costs additions: `budget` is how many numbers the person
    adds, be they helpers' block sums or, without help, the first numbers of the column. What is left over is taken to
    be like what was added.
    """

    class Settings(Task.Settings):
        """How large the column is, and how it is divided."""

        length: int = Field(default=16, ge=1, le=4096)
        """How many numbers stand in the column."""
        block: int = Field(default=4, ge=1, validate_default=True)
        """How many numbers a helper adds at once. A column no longer than this is not divided."""

        @field_validator("block")
        @classmethod
        def _divides(cls, block: int, info: ValidationInfo) -> int:
            length = info.data.get("length", block)
            if length > block and length % block:
                raise ValueError(f"a column of {length} numbers does not divide into blocks of {block}")
            return block

    settings: Settings
    subtasks = (Subtask(name="block", task="column-sum", question="What does this block add up to?"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        numbers, length = range(_LARGEST + 1), self.settings.length
        return Item(task=self.name(), prompt=draw(lambda: _prompt(rng.choices(numbers, k=length)), held_out=held_out))

    def queries(self, case: Case) -> Asking:
        for block in self._blocks(_column(case.item)):
            yield Query(subtask="block", item=Item(task=self.name(), prompt=_prompt(block)))

    def vocabulary(self) -> Sequence[str]:
        return [*_OPENING.split(), *map(str, range(_LARGEST + 1))]

    def accepts(self, item: Item) -> bool:
        try:
            return len(_column(item)) == self.settings.length
        except ComponentError:
            return False

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        column = _column(case.item)
        blocks = [(told(case, "block", _prompt(b), most=_LARGEST * len(b)), len(b)) for b in self._blocks(column)]
        # (a sum, how many numbers of the column it stands for)
        parts = [(s, n) for s, n in blocks if s is not None] or [(number, 1) for number in column]
        added = parts[:budget]
        belief = _rounded(sum(s for s, _ in added) * len(column), sum(n for _, n in added))
        return [1 + nearness(response.text, belief) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        return 1 + nearness(text, sum(_column(item)))

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        column = _column(item)
        return (
            Text(text="What do these numbers add up to?"),
            Table(columns=("number",), rows=tuple((str(n),) for n in column)),
        )

    def _blocks(self, column: list[int]) -> list[list[int]]:
        block = self.settings.block
        return [column[i : i + block] for i in range(0, len(column), block)] if len(column) > block else []


def _prompt(column: Sequence[int]) -> str:
    return f"{_OPENING} {' '.join(map(str, column))}"


def _column(item: Item) -> list[int]:
    numbers = [number(word) for word in item.prompt.removeprefix(_OPENING).split(" ")[1:]]
    column = [n for n in numbers if n is not None and 0 <= n <= _LARGEST]
    if not column or _prompt(column) != item.prompt:
        raise ComponentError(f"not a column of numbers from 0 to {_LARGEST}: {item.prompt[:80]!r}")
    return column


def _rounded(above: int, below: int) -> int:
    """The quotient, halves rounded up."""
    return (2 * above + below) // (2 * below)
