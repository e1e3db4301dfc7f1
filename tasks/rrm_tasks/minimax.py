"""The largest of the smallest of the largest…: judged by having the two halves of the tree worked out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from random import Random

from pydantic import Field

from rrm import Asking, Block, Case, Code, ComponentError, Item, Query, Subtask, Task, Text
from rrm_tasks._reading import number, told
from rrm_tasks._split import draw

_OPERATORS = ("max", "min")
_OPERATION = {"max": max, "min": min}
_SHAPE = re.compile(r"[0-9](?: (?:max|min) [0-9])*")


class Minimax(Task):
    """A balanced tree of `max` and `min` over 2 ** level digits, written in order: "3 max 4 min 7 max 0".

    There are no parentheses in a prompt: the operator in the middle is the root, and so on in each half, so that the
    example is (3 max 4) min (7 max 0). Nesting as in ListOps (Nangia and Bowman 2018), with games' two operators.
    `budget` is how many operations the person carries out: one, with both halves worked out; 2 ** level - 1, alone.
    Who has less applies the root to the first and the last digit.
    """

    class Settings(Task.Settings):
        """How deep the tree is."""

        level: int = Field(default=1, ge=1, le=5)
        """Layers of operators."""
        digits: int = Field(default=8, ge=2, le=10)
        """How many different digits stand at the leaves."""

    settings: Settings
    subtasks = (
        Subtask(name="left", task="minimax", question="What does the left half come to?"),
        Subtask(name="right", task="minimax", question="What does the right half come to?"),
    )

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        if self.settings.level == 1:
            return self._item(self._drawn(rng))
        return self._item(draw(lambda: self._drawn(rng), held_out=held_out))

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        if self.settings.level > 1:
            return None
        digits = [str(digit) for digit in range(self.settings.digits)]
        return [self._item(" ".join(words)) for words in product(digits, _OPERATORS, digits)]

    def queries(self, case: Case) -> Asking:
        words = _words(case.item)
        if len(words) > 3:
            middle = len(words) // 2
            yield Query(subtask="left", item=self._item(" ".join(words[:middle])))
            yield Query(subtask="right", item=self._item(" ".join(words[middle + 1 :])))

    def answers(self, item: Item) -> Sequence[str]:
        return [str(digit) for digit in range(self.settings.digits)]

    def vocabulary(self) -> Sequence[str]:
        return [*map(str, range(self.settings.digits)), *_OPERATORS]

    def accepts(self, item: Item) -> bool:
        try:
            words = _words(item)
        except ComponentError:
            return False
        return len(words) == 2 ** (self.settings.level + 1) - 1 and int(max(words[::2])) < self.settings.digits

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        words = _words(case.item)
        middle = len(words) // 2
        halves = {"left": words[:middle], "right": words[middle + 1 :]}
        most = self.settings.digits - 1
        values = [told(case, name, " ".join(half), most=most) for name, half in halves.items()]
        if None in values and budget >= middle:  # as many operators as pairs of words
            belief = _value(words)
        else:  # one operation; an end of the row stands in for a half that nobody worked out
            left, right = (int(end) if v is None else v for v, end in zip(values, (words[0], words[-1]), strict=True))
            belief = _OPERATION[words[middle]](left, right)
        return [float(number(response.text) == belief) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        return float(number(text) == _value(_words(item)))

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        question = "What does this come to? The middle operator is applied last, and so on in each half."
        return Text(text=question), Code(text=_parenthesised(_words(item)))

    def _drawn(self, rng: Random) -> str:
        leaves = 2**self.settings.level
        words = [""] * (2 * leaves - 1)
        words[::2] = map(str, rng.choices(range(self.settings.digits), k=leaves))
        words[1::2] = rng.choices(_OPERATORS, k=leaves - 1)
        return " ".join(words)

    def _item(self, prompt: str) -> Item:
        return Item(task=self.name(), prompt=prompt)


def _words(item: Item) -> list[str]:
    words = item.prompt.split(" ")
    leaves = (len(words) + 1) // 2
    if leaves & (leaves - 1) or not _SHAPE.fullmatch(item.prompt):
        raise ComponentError(f"not a balanced row of digits, 'max' and 'min': {item.prompt[:80]!r}")
    return words


def _value(words: Sequence[str]) -> int:
    if len(words) == 1:
        return int(words[0])
    middle = len(words) // 2
    return _OPERATION[words[middle]](_value(words[:middle]), _value(words[middle + 1 :]))


def _parenthesised(words: Sequence[str], *, root: bool = True) -> str:
    if len(words) == 1:
        return words[0]
    middle = len(words) // 2
    left, right = (_parenthesised(half, root=False) for half in (words[:middle], words[middle + 1 :]))
    inside = f"{left} {words[middle]} {right}"
    return inside if root else f"({inside})"
