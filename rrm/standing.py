"""Which of an arm's recorded plans counts: the newest that is trained to its end, or else the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from rrm.records import Arm, slots
from rrm.store import Store


class Newer(NamedTuple):
    """A plan of an arm that is newer than the one that counts, and not trained to its end."""

    arm: Arm
    trained: int
    """Nodes of it that are trained; an earlier plan may have left them."""


@dataclass
class Standing:
    """All recorded plans, by what they are worth."""

    recorded: list[Arm] = field(default_factory=list)
    counting: list[Arm] = field(default_factory=list)
    """The one plan that counts of each arm at each seed and setting, in the order of the record."""
    newer: list[Newer] = field(default_factory=list)
    """The newest plan of an arm, where an older one counts."""
    remaining: list[Arm] = field(default_factory=list)
    """All plans that no later one replaced: those that count, and later or as unfinished ones."""
    small: list[Arm] = field(default_factory=list)
    """Plans at the small size (--fast) that count for nothing, since there are others: figures of two sizes would be
    one table, and mean nothing."""

    @classmethod
    def read(cls, store: Store) -> Self:
        """Raises StoreError if the record is damaged."""
        found = cls()
        arms = list(store.read("study", "arms", Arm).values())
        whole = [arm for arm in arms if not arm.fast]
        for slot in slots(whole or arms):
            found._add(slot, store)
        beside = cls()
        for slot in slots(arm for arm in arms if whole and arm.fast):
            beside._add(slot, store)
        found.recorded += beside.recorded
        found.remaining += beside.remaining
        found.small = beside.counting
        return found

    def _add(self, slot: Sequence[Arm], store: Store) -> None:
        """Every recorded plan of one arm at one seed and setting."""
        trained = [_trained(store, arm) for arm in slot]
        done = [i for i, arm in enumerate(slot) if trained[i] == len(arm.nodes)]
        counting = done[-1] if done else len(slot) - 1
        self.recorded += slot
        self.counting.append(slot[counting])
        self.remaining += slot[counting if done else 0 :]
        if counting < len(slot) - 1:
            self.newer.append(Newer(slot[-1], trained[-1]))


def counting(store: Store) -> Sequence[Arm]:
    """The plan that counts of every recorded arm at each seed and setting."""
    return Standing.read(store).counting


def _trained(store: Store, arm: Arm) -> int:
    return sum(store.has_agent(key, "published") for key in arm.nodes.values())
