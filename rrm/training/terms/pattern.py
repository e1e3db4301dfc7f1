"""Pays for answers that are written in the form that was asked for."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from rrm.records import Item
from rrm.roles import RewardTerm


class Pattern(RewardTerm):
    """1 if the whole answer matches a regular expression (Python's `re`; a dot matches newlines too), else 0.

    A pattern that backtracks without end hangs the run on an answer made for it: keep it simple.
    """

    class Settings(RewardTerm.Settings):
        pattern: str = Field(default=r".*\S.*", validate_default=True)
        """What the answer must match from its first character to its last. By default anything but blanks."""

        @field_validator("pattern")
        @classmethod
        def _compiles(cls, value: str) -> str:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"this is not a regular expression: {error}") from None
            return value

    settings: Settings

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._whole = re.compile(self.settings.pattern, re.DOTALL)

    def value(self, item: Item, text: str) -> float:
        return float(self._whole.fullmatch(text) is not None)
