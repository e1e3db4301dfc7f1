"""Words defined by other words, down to look-up tables: judged by having the two words of the definition looked up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from random import Random
from typing import NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from rrm import Asking, Block, Case, ComponentError, Item, Query, SettingsError, Subtask, Table, Task, Text
from rrm_tasks._reading import number, told

_MAJORITY, _SUPERFICIAL, _OVERLAP = 0.27, 0.2, 0.25
_ATTEMPTS = 20_000
_SLOTS = ("left", "right")

Square = tuple[tuple[int, ...], ...]


class Glossary(Task):
    """An invented language: "bodu 3 5" is a word and two operands, its meaning one digit.

    The decomposition of a hard question into two easier ones of iterated amplification (Christiano et al. 2018),
    judged by reward modeling (Leike et al. 2018, section 3.2). A word of level 0 is a look-up in a table. A word of
    level k is a look-up with the meanings of two words of level k - 1, which take the same operands, perhaps swapped.
    The person owns the glossary and `budget` is how many tables it looks into for one judgement: one, with both
    answers of the helpers; 2 ** (level + 1) - 1, alone. Who has less looks the operands up in the outermost table.

    All items of a level are seen in training: it shows how judgements travel up the levels, not generalisation.
    """

    class Settings(Task.Settings):
        """Which language, and which of its levels."""

        level: int = Field(default=0, ge=0)
        """How deep a definition goes."""
        world: int = 0
        """Which language: words, tables and definitions come from this seed."""
        digits: int = Field(default=8, ge=5, le=10)
        """How many operands, and meanings, there are."""
        words: int = Field(default=3, ge=2, le=8)
        """How many words each level has."""
        levels: int = Field(default=5, ge=1, le=10, validate_default=True)
        """How many levels the vocabulary covers; equal for all nodes that hand weights to one another."""

        @field_validator("levels")
        @classmethod
        def _covers(cls, levels: int, info: ValidationInfo) -> int:
            if (level := info.data.get("level", 0)) >= levels:
                raise ValueError(f"level {level} needs a vocabulary of at least {level + 1} levels")
            return levels

    settings: Settings
    subtasks = (
        Subtask(name="left", task="glossary", question="What does the first word of the definition mean here?"),
        Subtask(name="right", task="glossary", question="What does the second word of the definition mean here?"),
    )

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        s = self.settings
        self._language = language(s.world, s.digits, s.words, s.levels)
        # A glossary has few prompts, and each comes up again and again.
        self._parse = lru_cache(maxsize=4096)(self._read)
        self._item = lru_cache(maxsize=4096)(self._made)
        self._parts = lru_cache(maxsize=4096)(self._defined)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        s = self.settings
        word = self._language.words[s.level * s.words + rng.randrange(s.words)]
        return self._item(word.name, rng.randrange(s.digits), rng.randrange(s.digits))

    def items(self, *, held_out: bool = False) -> Sequence[Item]:
        s = self.settings
        words = self._language.words[s.level * s.words : (s.level + 1) * s.words]
        return [self._item(w.name, a, b) for w, a, b in product(words, range(s.digits), range(s.digits))]

    def queries(self, case: Case) -> Asking:
        for query in self._parts(case.item.prompt):  # noqa: UP028 (`yield from` would send the answers to the list)
            yield query

    def answers(self, item: Item) -> Sequence[str]:
        return [str(digit) for digit in range(self.settings.digits)]

    def vocabulary(self) -> Sequence[str]:
        return [*map(str, range(self.settings.digits)), *(word.name for word in self._language.words)]

    def accepts(self, item: Item) -> bool:
        try:
            return self._parse(item.prompt)[0].level == self.settings.level
        except ComponentError:
            return False

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        word, a, b = self._parse(case.item.prompt)
        most = self.settings.digits - 1
        parts = self._parts(case.item.prompt)
        meanings = [told(case, part.subtask, part.item.prompt, most=most) for part in parts]
        if None in meanings and budget >= 2 ** (word.level + 1) - 1:
            belief = word.meaning[a][b]
        else:  # one look-up; an operand stands in for a word that nobody explained
            left, right = meanings or (a, b)
            belief = word.table[a if left is None else left][b if right is None else right]
        return [float(number(response.text) == belief) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        word, a, b = self._parse(item.prompt)
        return float(number(text) == word.meaning[a][b])

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        word, a, b = self._parse(item.prompt)
        names = [f"{part.name} {' '.join('yx' if swapped else 'xy')}" for part, swapped in word.parts]
        row, column = names or ["x", "y"]
        return (
            Text(text=f"What does “{item.prompt}” mean?"),
            Text(text=f"“{word.name} x y” (here x = {a}, y = {b}): row “{row}”, column “{column}” of this table."),
            Table(
                columns=("", *map(str, range(self.settings.digits))),
                rows=tuple((str(i), *map(str, meanings)) for i, meanings in enumerate(word.table)),
            ),
        )

    def _made(self, name: str, a: int, b: int) -> Item:
        return Item(task=self.name(), prompt=f"{name} {a} {b}")

    def _read(self, prompt: str) -> tuple[Word, int, int]:
        name, *operands = prompt.split(" ")
        digits = [n for n in map(number, operands) if n is not None and 0 <= n < self.settings.digits]
        word = self._language.by_name.get(name)
        if word is None or len(digits) != 2 or f"{name} {digits[0]} {digits[1]}" != prompt:
            raise ComponentError(f"not a word of this glossary with two operands: {prompt[:80]!r}")
        return word, digits[0], digits[1]

    def _defined(self, prompt: str) -> list[Query]:
        """The two questions that the definition leads to; none at level 0."""
        word, a, b = self._parse(prompt)
        items = [self._item(part.name, *((b, a) if swapped else (a, b))) for part, swapped in word.parts]
        return [Query(subtask=slot, item=item) for slot, item in zip(_SLOTS, items, strict=False)]


class Word(NamedTuple):
    """A word, how it is defined, and what that makes it mean."""

    name: str
    level: int
    table: Square
    """The outermost look-up of its definition."""
    parts: tuple[tuple[Word, bool], ...]
    """The words that give the table's row and column, and whether their operands are swapped; none at level 0."""
    meaning: Square


class Language(NamedTuple):
    """The words of one glossary, level by level."""

    words: tuple[Word, ...]
    by_name: dict[str, Word]


@lru_cache(maxsize=64)
def language(world: int, digits: int, words: int, levels: int) -> Language:
    """The language of one seed. One with more levels begins with the words of one with fewer.

    Unfiltered, some words mean the same on most operands, so that guessing looks like understanding. So the words of a
    level are drawn anew until none has one meaning on more than .27 of its operands, none agrees with its superficial
    reading on more than .2, and no two agree with each other on more than .25.
    Raises SettingsError where no such words are found.
    """
    rng = Random(f"glossary {world} {digits} {words}")
    names = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou", "bdfgklmnprstvz", "aeiou")]
    rng.shuffle(names)
    tables = [_latin_square(digits, rng) for _ in range(words)]
    found = [Word(name, 0, table, (), table) for name, table in zip(names, tables, strict=False)]
    for level in range(1, levels):
        below = found[-words:]
        for _ in range(_ATTEMPTS):
            drawn = [_defined(name, level, tables, below, rng) for name in names[level * words : (level + 1) * words]]
            if _distinct(drawn):
                break
        else:
            what = f"no {words} words of {digits} digits are distinct enough"
            raise SettingsError(f"'glossary': {what}; try fewer words or more digits")
        found += drawn
    return Language(tuple(found), {word.name: word for word in found})


def _latin_square(size: int, rng: Random) -> Square:
    symbols, rows, columns = (rng.sample(range(size), size) for _ in range(3))
    return tuple(tuple(symbols[(i + j) % size] for j in columns) for i in rows)


def _defined(name: str, level: int, tables: Sequence[Square], below: Sequence[Word], rng: Random) -> Word:
    table, left, right = rng.choice(tables), *((rng.choice(below), rng.random() < 0.5) for _ in range(2))
    size = range(len(table))
    meaning = tuple(tuple(table[_part(left, a, b)][_part(right, a, b)] for b in size) for a in size)
    return Word(name, level, table, (left, right), meaning)


def _part(part: tuple[Word, bool], a: int, b: int) -> int:
    word, swapped = part
    return word.meaning[b][a] if swapped else word.meaning[a][b]


def _distinct(words: Sequence[Word]) -> bool:
    flat = [[digit for row in word.meaning for digit in row] for word in words]
    if any(max(map(meanings.count, meanings)) > _MAJORITY * len(meanings) for meanings in flat):
        return False
    if any(_agreement(word.meaning, word.table) > _SUPERFICIAL for word in words):
        return False
    pairs = [(v, w) for i, v in enumerate(words) for w in words[:i]]
    return all(_agreement(v.meaning, w.meaning) <= _OVERLAP for v, w in pairs)


def _agreement(one: Square, other: Square) -> float:
    same = sum(a == b for rows in zip(one, other, strict=True) for a, b in zip(*rows, strict=True))
    return same / len(one) ** 2
