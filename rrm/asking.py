"""Puts the questions of thousands of decompositions to the helpers: in lockstep, batched, nothing asked twice."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, TypeAlias

from rrm.errors import ComponentError
from rrm.records import Exhibit, Query
from rrm.roles import Asking, Assistant
from rrm.seed import Seed

Fresh: TypeAlias = Literal["case", "round", "run"]
"""How long a sampled helper's answer is shared. Sharing turns independent errors into systematic ones, which training
cannot average out; so the default is "case". A deterministic helper's answers are always shared."""

Wave: TypeAlias = Sequence[Exhibit | None]
"""The answers to one question of every decomposition that still asked, in the order of the cases."""

BLOCK = 2**15
"""Cases that are asked in lockstep: far more than a batch needs, few enough that what is in flight stays in the
caches (measured from 10^5 cases on: a quarter less time and memory than all at once)."""


@dataclass(frozen=True)
class Helper:
    """A published agent of a level below, in the slot that it serves."""

    node: str
    assistant: Assistant
    question: str = ""
    """What is asked, in words; shown to the evaluator as the exhibit's title."""


class Helpers:
    """All that may be asked while one round's cases are judged, by subtask."""

    def __init__(self, serving: Mapping[str, Helper], *, seed: Seed, fresh: Fresh = "case") -> None:
        self._serving, self._fresh, self._seed = dict(serving), fresh, seed
        self._shared: dict[tuple[str, str, object], str] = {}
        self._passing: list[tuple[str, str, object]] = []  # what of it holds for single cases only
        self._scoped = {s: fresh == "case" and not h.assistant.deterministic for s, h in self._serving.items()}
        # Subtasks that one deterministic assistant serves share its answers: the same question is put to it once.
        first: dict[int | str, str] = {}
        self._slot = {
            s: first.setdefault(id(h.assistant) if h.assistant.deterministic else s, s)
            for s, h in self._serving.items()
        }

    def answer(self, queries: Sequence[Query], cases: Sequence[int | str]) -> list[Exhibit | None]:
        """An exhibit for each query; None where no helper serves its subtask (an ablation).

        `cases` are the addresses of the cases that ask. Each helper is called once, with a batch.
        """
        shared, serving = self._shared, self._serving
        keys = self._keys(queries, cases)
        fresh: dict[str, dict[tuple[str, str, object], Query]] = {}
        for key, query in zip(keys, queries, strict=True):
            if key not in shared and query.subtask in serving:
                fresh.setdefault(key[0], {})[key] = query
        for subtask, asked in fresh.items():
            texts = self._ask(subtask, asked)
            shared.update(zip(asked, texts, strict=True))
            if self._scoped[subtask]:
                self._passing += asked
        made: dict[tuple[int, str], Exhibit] = {}  # one query asked of many cases: an exhibit that is dumped once
        exhibits: list[Exhibit | None] = []
        with uncollected():
            for key, query in zip(keys, queries, strict=True):
                helper = serving.get(query.subtask)
                if helper is None:
                    exhibits.append(None)
                    continue
                text = shared[key]
                exhibit = made.get((id(query), text))
                if exhibit is None:
                    exhibit = made[id(query), text] = Exhibit(
                        title=helper.question, text=text, agent=helper.node, about=query.about, query=query
                    )
                exhibits.append(exhibit)
        return exhibits

    def _ask(self, subtask: str, asked: Mapping[tuple[str, str, object], Query]) -> list[str]:
        helper = self._serving[subtask]
        if helper.assistant.deterministic:
            seeds = [self._seed] * len(asked)
        else:
            seeds = [self._seed.at(subtask, prompt, str(case)) for _, prompt, case in asked]
        answers = helper.assistant.respond([q.item for q in asked.values()], n=1, seeds=seeds)
        if len(answers) != len(asked) or any(len(texts) != 1 for texts in answers):
            raise ComponentError(
                f"{helper.assistant.name()!r} was asked {len(asked)} questions and gave {len(answers)} answers"
            )
        return [texts[0] for texts in answers]

    def remember(self, queries: Sequence[Query], cases: Sequence[int | str], wave: Wave) -> None:
        """Take answers from the record, so that resuming asks nothing twice."""
        for key, exhibit in zip(self._keys(queries, cases), wave, strict=True):
            if exhibit is not None:
                self._shared[key] = exhibit.text
                if key[2] is not None:
                    self._passing.append(key)

    def forget_cases(self) -> None:
        """Let go of the answers that only the cases asked so far share."""
        for key in self._passing:
            self._shared.pop(key, None)
        self._passing.clear()

    def _keys(self, queries: Sequence[Query], cases: Sequence[int | str]) -> list[tuple[str, str, object]]:
        """Queries with equal keys get one answer."""
        slot, scoped = self._slot, self._scoped
        return [
            (slot.get(q.subtask, ""), q.item.prompt, case if scoped.get(q.subtask) else None)
            for q, case in zip(queries, cases, strict=True)
        ]


def ask_all(
    askings: Iterable[Asking],
    helpers: Helpers,
    *,
    cases: Sequence[int | str] | None = None,
    record: Callable[[int, Wave], None] | None = None,
    recorded: Callable[[int, int], Wave | None] | None = None,
) -> list[tuple[Exhibit, ...]]:
    """Run every decomposition to its end, all of a block one question at a time; return the exhibits of each.

    The questions that are outstanding at one time are a *wave*. `record` is called with each wave before its answers
    are used; `recorded` is asked for a wave (its number, its size) of an earlier, interrupted run. `cases` are the
    addresses of the cases, from which the draws of sampled helpers come (default: 0, 1, …).
    """
    exhibits: list[tuple[Exhibit, ...]] = []
    waves = count()
    rest = iter(askings)
    while block := list(islice(rest, BLOCK)):
        first, last = len(exhibits), len(exhibits) + len(block)
        names = range(first, last) if cases is None else cases[first:last]
        exhibits += _ask_block(block, helpers, names, waves, record, recorded)
        helpers.forget_cases()
    return exhibits


def _ask_block(
    askings: Sequence[Asking],
    helpers: Helpers,
    cases: Sequence[int | str],
    waves: Iterator[int],
    record: Callable[[int, Wave], None] | None,
    recorded: Callable[[int, int], Wave | None] | None,
) -> list[tuple[Exhibit, ...]]:
    gathered: list[list[Exhibit]] = [[] for _ in askings]
    waiting: list[int] = []
    queries: list[Query] = []
    with uncollected():
        for i, asking in enumerate(askings):
            query = next(asking, None)
            if query is not None:
                waiting.append(i)
                queries.append(query)
    while waiting:
        number, who = next(waves), [cases[i] for i in waiting]
        wave: Wave | None = recorded(number, len(queries)) if recorded else None
        if wave is None:
            wave = helpers.answer(queries, who)
            if record:
                record(number, wave)
        else:
            helpers.remember(queries, who, wave)
        still: list[int] = []
        following: list[Query] = []
        with uncollected():
            for i, exhibit in zip(waiting, wave, strict=True):
                if exhibit is not None:
                    gathered[i].append(exhibit)
                try:
                    following.append(askings[i].send(exhibit))
                    still.append(i)
                except StopIteration:
                    pass
        waiting, queries = still, following
    return [tuple(exhibits) for exhibits in gathered]


def drive(asking: Asking, reply: Callable[[Query], Exhibit | None]) -> Iterator[Query]:
    """Run one decomposition by itself, without helpers: yields each query, then sends what `reply` says to it.

    Whoever iterates sees a query before it is answered, and may stop: nothing is asked ahead.
    """
    query = next(asking, None)
    while query is not None:
        yield query
        try:
            query = asking.send(reply(query))
        except StopIteration:
            return


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector, which would walk millions of records, none of them cyclic, again and
    again as they are made. Never around a helper's own work, which may leave cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
