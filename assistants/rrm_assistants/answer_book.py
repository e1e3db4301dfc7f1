"""Answers from a file: a scripted helper for tests, demonstrations, and experiments with known answers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rrm import Assistant, Item, Seed, SettingsError

_BOOK = TypeAdapter(dict[str, str | tuple[str, ...]])


class AnswerBook(Assistant):
    """Looks the prompt up. Where several answers stand beside it, each is given equally often.

    Raises SettingsError if the file cannot be read. Where it changes, what was trained with it is trained again.
    """

    class Settings(Assistant.Settings):
        path: str = ""
        """A JSON or TOML file that maps prompts to answers, or to lists of them; empty: `answers` alone."""
        answers: Mapping[str, str | tuple[str, ...]] = {}
        """More of the same, in the plan itself; where both know a prompt, this holds."""
        fallback: str = ""
        """What is said to a prompt that is not in the book."""

    settings: Settings
    paths = ("path",)

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        read = _read(Path(self.settings.path)) if self.settings.path else {}
        self._book = {
            prompt: (said,) if isinstance(said, str) else said
            for prompt, said in {**read, **self.settings.answers}.items()
        }

    @property
    def deterministic(self) -> bool:
        return all(len(set(texts)) < 2 for texts in self._book.values())

    def reads(self) -> Sequence[Path]:
        return (Path(self.settings.path),) if self.settings.path else ()

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        known = [self._book.get(item.prompt) or (self.settings.fallback,) for item in items]
        return [
            [seed.at(i).rng().choice(texts) for i in range(n)] if len(texts) > 1 else n * list(texts)
            for texts, seed in zip(known, seeds, strict=True)
        ]


def _read(path: Path) -> dict[str, str | tuple[str, ...]]:
    try:
        text = path.read_text(encoding="utf-8")
        return _BOOK.validate_python(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))
    except OSError as error:
        raise SettingsError(f"'answer-book', path: {path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"][:1]))
        raise SettingsError(
            f"'answer-book', path: {path} should map each prompt to a text or a list of texts; look at {where!r}"
        ) from None
    except ValueError as error:  # not UTF-8, not JSON, not TOML
        raise SettingsError(f"'answer-book', path: {path} is not JSON (or, by its name, TOML): {error}") from None
