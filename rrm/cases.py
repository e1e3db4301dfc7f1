"""Lays out a round's cases: items, answers to each, and, for an evaluator that chooses, what is asked of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from rrm.node import Node
from rrm.records import Case, Item, Response
from rrm.roles import Ask, Asker, Judged, SoFar
from rrm.seed import Seed
from rrm.training.feedback import favourite

Unsettled = tuple[Item, frozenset[str]]
"""An item, and the answers to it that were shown without any being marked."""

LAPS = 200
"""So often at most is it tried to fill what is left of a round's time."""


@dataclass(frozen=True)
class Layout:
    """What a round's cases are drawn from."""

    node: Node
    so_far: SoFar
    rejected: Mapping[str, Unsettled]
    """By prompt: see `unsettled`."""
    seed: Seed
    """The round's."""

    def items(self) -> list[Item]:
        """As many as the plan says."""
        return self._draw(self.node.effort.cases_in(self.so_far.turn.number), self.seed)

    def cases(self, items: Sequence[Item]) -> list[Case]:
        """Each with answers of the agent, as yet without help."""
        seeds = [self.seed.at("case", i) for i in range(len(items))]
        (shown,) = self._answers(items, seeds, [self.node.effort.candidates]).values()
        return [_bare(item, texts, self.node.name, at) for item, texts, at in zip(items, shown, seeds, strict=True)]

    def chosen(self, asker: Asker, heard: Sequence[Judged]) -> list[Case]:
        """The same of what `asker` chooses to ask, until the round's time is spent, or all its cases are drawn.

        Kinds come one after the other, for who judges many of a kind gets into it.
        """
        order = sorted(self._choices(asker, heard), key=lambda one: one[0].kind)
        return [_bare(item, ask.answers, self.node.name, seed, ask.kind) for ask, item, seed in order]

    def _choices(self, asker: Asker, heard: Sequence[Judged]) -> Iterator[tuple[Ask, Item, Seed]]:
        effort, number = self.node.effort, self.so_far.turn.number
        least, each, planned = asker.cheapest(heard), asker.usual(heard), list[Ask]()
        timed, most = effort.seconds is not None, effort.cases_in(number)
        spent = sum(asker.seconds(one, heard) for one in heard)
        left = effort.seconds_until(number) - spent if timed else inf
        for lap in range(LAPS if timed else 1):
            if not most or left < least:
                return
            before = len(planned)
            wanted = max(1, int(left / each)) if timed else most
            for ask, item, seed in self._lap(asker, wanted, lap, heard, planned):
                if ask.seconds <= left:
                    left -= ask.seconds
                    planned.append(ask)
                    yield ask, item, seed
            if len(planned) == before:
                return
            each = sum(ask.seconds for ask in planned) / len(planned)

    def _lap(
        self, asker: Asker, wanted: int, lap: int, heard: Sequence[Judged], planned: Sequence[Ask]
    ) -> Iterator[tuple[Ask, Item, Seed]]:
        """So many items with what is asked of each, in an order of their own: the last of them may not fit."""
        seed = self.seed.at("lap", lap) if lap else self.seed
        items = self._draw(wanted, seed)
        seed.at("asked").shuffle(items)
        seeds = [seed.at("case", i) for i in range(len(items))]
        offered = self._answers(items, seeds, asker.shows(self.node.effort.candidates))
        asks = asker.choose(
            self.node.task, items, offered, so_far=self.so_far, heard=heard, planned=planned, seed=seed.at("asks")
        )
        yield from ((a, item, at) for a, item, at in zip(asks, items, seeds, strict=True) if a is not None)

    def _draw(self, many: int, seed: Seed) -> list[Item]:
        return self.node.selection.choose(self.node.task, many, so_far=self.so_far, seed=seed.at("items"))

    def _answers(
        self, items: Sequence[Item], seeds: Sequence[Seed], sizes: Sequence[int]
    ) -> dict[int, list[list[str]]]:
        """By how many are shown, the answers to show: of an item that was shown before and is still unsettled, first
        those not yet rejected."""
        selection, rejected = self.node.selection, self.rejected
        seen = [rejected[item.prompt][1] if item.prompt in rejected else frozenset[str]() for item in items]
        many = max((len(texts) for texts in seen), default=0) + max(map(selection.proposals, sizes))
        proposed = self.so_far.assistant.propose(items, n=many, seeds=seeds)
        fresh = [sorted(texts, key=no.__contains__) if no else texts for texts, no in zip(proposed, seen, strict=True)]
        return {size: selection.narrow(items, fresh, size, so_far=self.so_far) for size in sizes}


def unsettled(judged: Sequence[Judged]) -> dict[str, Unsettled]:
    """By prompt, the items none of whose shown answers was ever put above the others, and those answers."""
    found: dict[str, Unsettled] = {}
    settled: set[str] = set()
    for case, feedback in judged:
        prompt = case.item.prompt
        if prompt in settled:
            continue
        if favourite(case, feedback) is not None:
            settled.add(prompt)
            found.pop(prompt, None)
        elif feedback.comparisons:
            old = found[prompt][1] if prompt in found else frozenset()
            found[prompt] = case.item, old | {r.text for r in case.responses}
    return found


def _bare(item: Item, texts: Sequence[str], agent: str, seed: Seed, asks: str = "") -> Case:
    """A case without help. Which answer stands first is drawn, for some evaluators favour a position."""
    distinct = list(dict.fromkeys(texts))
    seed.at("order").shuffle(distinct)
    about = item.id
    responses = (Response(item=about, text=t, agent=agent, sample=n) for n, t in enumerate(distinct))
    return Case(item=item, responses=tuple(responses), asks=asks)
