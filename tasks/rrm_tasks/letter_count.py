"""How often a letter stands in a passage of English: judged by having the two halves of the passage read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from zlib import crc32

from pydantic import Field

from rrm import Asking, Block, Case, Code, ComponentError, Item, Query, SettingsError, Subtask, Task, Text
from rrm_tasks._reading import nearness, told
from rrm_tasks._split import draw

_MOST = 9
_SHORTEST_PARAGRAPH = 64
_RUN = 24
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"[a-z]:[a-z ]+")


class LetterCount(Task):
    """Real text in, a number from 0 to 9 (or more) out: "e:the cat sat o" asks for the e's in what follows the colon.

    A prompt is the letter, a colon, and then 4 * 2 ** level characters to the end, of which the first and the last may
    be spaces: there is nothing to trim. Half of the letters asked for are drawn from the passage, since most letters
    stand in no short passage.

    `budget` is how many characters the person reads for one judgement; adding up two helpers' answers is within any.
    What nobody read is taken to be like what the person read.

    Training and held-out text share no run of 24 characters; passages shorter than that recur in any English, so there
    the *pair* of letter and passage is what is held out.
    """

    class Settings(Task.Settings):
        """How long the passage is, and where it comes from."""

        level: int = Field(default=0, ge=0, le=8)
        """How often a passage of 4 characters is doubled."""
        text: str = ""
        """Path of a UTF-8 text file, with empty lines between paragraphs; empty: the help texts that come with
        Python, which differ a little from one version of Python to the next."""

    settings: Settings
    paths = ("text",)
    subtasks = (
        Subtask(name="first", task="letter-count", question="How often in the first half?"),
        Subtask(name="second", task="letter-count", question="How often in the second half?"),
    )

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if self.settings.text:  # a file that cannot be used is a fault of the plan, so it is found when that is loaded
            self._text(held_out=True)

    def reads(self) -> Sequence[Path]:
        default = find_spec("pydoc_data.topics")  # which differs from one Python to the next
        return (Path(self.settings.text or (default and default.origin) or ""),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        text, length = self._text(held_out=held_out), self._length
        starts = len(text) - length + 1

        def drawn() -> str:
            start = int(rng.random() * starts)
            passage = text[start : start + length]
            letter = passage[int(rng.random() * length)] if rng.random() < 0.5 else " "
            return f"{_LETTERS[int(rng.random() * 26)] if letter == ' ' else letter}:{passage}"

        return Item(task=self.name(), prompt=draw(drawn, held_out=held_out) if length < _RUN else drawn())

    def queries(self, case: Case) -> Asking:
        letter, halves = _parts(case.item)
        for slot, half in zip(("first", "second"), halves if len(halves) == 2 else (), strict=False):
            yield Query(subtask=slot, item=Item(task=self.name(), prompt=f"{letter}:{half}"))

    def answers(self, item: Item) -> Sequence[str]:
        return [str(count) for count in range(_MOST + 1)]

    def accepts(self, item: Item) -> bool:
        return len(item.prompt) == self._length + 2 and _SHAPE.fullmatch(item.prompt) is not None

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        letter, halves = _parts(case.item)
        slots = ("first", "second") if len(halves) == 2 else ("",)
        counts = [told(case, s, f"{letter}:{half}", most=_MOST) for s, half in zip(slots, halves, strict=True)]
        unread = "".join(half for half, count in zip(halves, counts, strict=True) if count is None)
        belief = sum(count for count in counts if count is not None) + _extrapolated(letter, unread, budget)
        return [1 + nearness(response.text, min(belief, _MOST)) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        letter, halves = _parts(item)
        return 1 + nearness(text, min("".join(halves).count(letter), _MOST))

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        letter, halves = _parts(item)
        question = f"How often does the letter “{letter}” stand in this passage? ({_MOST} is {_MOST} or more.)"
        return Text(text=question), Code(text="".join(halves))

    @property
    def _length(self) -> int:
        return 4 << self.settings.level

    def _text(self, *, held_out: bool) -> str:
        text = corpus(self.settings.text)[held_out]
        if len(text) < 2 * self._length:
            split = "held-out" if held_out else "training"
            raise SettingsError(
                f"'letter-count', text: {self.settings.text!r} leaves {len(text)} characters of {split} text, which is "
                f"too short for passages of {self._length}; give it more paragraphs of {_SHORTEST_PARAGRAPH} or more"
            )
        return text


@lru_cache(maxsize=4)
def corpus(path: str = "") -> tuple[str, str]:
    """Training and held-out text of a file, in lower-case letters and single spaces; without a path, of Python's help.

    Each distinct paragraph of 64 characters or more stands in it once, every fifth of them (by checksum) held out,
    unless it shares a run of 24 characters with the training text. Splitting by chapter is not enough: half of the
    held-out passages were then also in the training text, for chapters repeat each other.
    Raises SettingsError for a file that cannot be read.
    """
    texts = [_read(path)] if path else _python_help()
    paragraphs = {paragraph for text in texts for paragraph in re.split(r"\n\s*\n", text.lower())}
    plain = {" ".join(re.findall("[a-z]+", paragraph)) for paragraph in paragraphs}
    long = sorted(p for p in plain if len(p) >= _SHORTEST_PARAGRAPH)
    training = " ".join(p for p in long if crc32(p.encode()) % 5)
    seen = {training[i : i + _RUN] for i in range(len(training) - _RUN + 1)}
    held_out = ""
    for paragraph in (p for p in long if crc32(p.encode()) % 5 == 0):
        # with the end of the one before it: a run may span two paragraphs
        joined = f"{held_out[1 - _RUN :]} {paragraph}" if held_out else paragraph
        if not any(joined[i : i + _RUN] in seen for i in range(len(joined) - _RUN + 1)):
            held_out = f"{held_out} {paragraph}" if held_out else paragraph
    return training, held_out


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise SettingsError(f"'letter-count', text: cannot read {path!r}: {reason}") from None


def _python_help() -> list[str]:
    from pydoc_data.topics import topics

    return [str(text) for text in topics.values()]


def _parts(item: Item) -> tuple[str, tuple[str, ...]]:
    """The letter, and the two halves of the passage, or all of it where it is read at once."""
    letter, passage = item.prompt[:1], item.prompt[2:]
    if not _SHAPE.fullmatch(item.prompt) or len(passage) % 4:
        raise ComponentError(f"not a letter, a colon and a passage: {item.prompt[:80]!r}")
    middle = len(passage) // 2
    return letter, (passage,) if middle < 4 else (passage[:middle], passage[middle:])


def _extrapolated(letter: str, unread: str, budget: int) -> int:
    """What the first `budget` characters make one expect of all of them, halves rounded up."""
    read = unread[:budget]
    return (2 * read.count(letter) * len(unread) + len(read)) // (2 * len(read)) if read else 0
