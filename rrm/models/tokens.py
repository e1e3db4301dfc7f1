"""Texts to tokens and back, for language models: without a network, a download, or training of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self


class Tokens(ABC):
    """What a language model reads and writes."""

    end: int
    """The token that ends an answer."""
    size: int
    """Tokens in all, `end` among them."""

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: it never changes, and a large vocabulary is slow to copy."""
        return self

    @abstractmethod
    def prompt(self, text: str) -> list[int]:
        """At least one token, ready to be followed by an answer's."""

    @abstractmethod
    def answer(self, text: str) -> list[int]:
        """The tokens of an answer, without its end."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """What an answer's tokens say."""


class Bytes(Tokens):
    """One token a UTF-8 byte, and one for the end. Bytes that are no UTF-8 are read as U+FFFD."""

    end, size = 256, 257

    def prompt(self, text: str) -> list[int]:
        return [*self.answer(text), self.end]

    def answer(self, text: str) -> list[int]:
        return list(text.encode("utf-8", errors="replace"))

    def text(self, tokens: Sequence[int]) -> str:
        return bytes(t for t in tokens if t < 256).decode("utf-8", errors="replace")


class Characters(Tokens):
    """One token for each character of an alphabet, one for all others (U+FFFD), and one for the end."""

    def __init__(self, alphabet: str) -> None:
        self._characters = [*dict.fromkeys(alphabet), "\N{REPLACEMENT CHARACTER}"]
        self._place = {character: i for i, character in enumerate(self._characters)}
        self.end, self.size = len(self._characters), len(self._characters) + 1

    def prompt(self, text: str) -> list[int]:
        return [*self.answer(text), self.end]

    def answer(self, text: str) -> list[int]:
        other = self.end - 1
        return [self._place.get(character, other) for character in text]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self._characters[t] for t in tokens if t < self.end)


class Pretrained(Tokens):
    """The tokenizer that came with a model."""

    def __init__(self, tokenizer: Any, *, size: int, chat: bool) -> None:
        self._tokenizer, self._chat = tokenizer, chat
        self.end, self.size = int(tokenizer.eos_token_id), size

    def prompt(self, text: str) -> list[int]:
        if self._chat:
            said = [{"role": "user", "content": text}]
            text = self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        # A chat template writes its own special tokens; a bare text gets the model's usual opening ones.
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=not self._chat)
        while found and found[-1] == self.end:  # some tokenizers close what they are given: an answer is to follow
            found.pop()
        return found or [self.end]

    def answer(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return found

    def text(self, tokens: Sequence[int]) -> str:
        said = self._tokenizer.decode([t for t in tokens if t != self.end], skip_special_tokens=True)
        return str(said)
