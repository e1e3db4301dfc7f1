"""A cost for every character of an answer, so that a learnt reward cannot be raised by saying more."""

from __future__ import annotations

from pydantic import Field

from rrm.records import Item
from rrm.roles import RewardTerm


class Length(RewardTerm):
    """Minus the number of characters, in units of `per`."""

    class Settings(RewardTerm.Settings):
        per: float = Field(default=100.0, gt=0)
        """How many characters cost 1."""

    settings: Settings

    def value(self, item: Item, text: str) -> float:
        return -len(text) / self.settings.per
