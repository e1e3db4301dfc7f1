"""What was said while a node was trained: verdicts in training, at the gate and at spot checks; and the help."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pydantic import ConfigDict

from rrm import measure
from rrm.exchange.rows import JUDGED
from rrm.records import FEEDBACK, Abstention, Feedback, GateResult, Record, SpotResult
from rrm.report.reading import Pick, Reading
from rrm.report.truth import Truth
from rrm.store import Store


class _Part(Record):
    """Of a big record, the few fields that figures need: a study holds millions, and parsing them whole is the cost."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Prompt(_Part):
    prompt: str


class _Answer(_Part):
    text: str


class _Case(_Part):
    item: _Prompt
    responses: tuple[_Answer, ...]
    asks: str = ""


class _Query(_Part):
    subtask: str
    item: _Prompt


class _Exhibit(_Part):
    agent: str = ""
    title: str = ""
    query: _Query | None = None


def elsewhere(store: Store, key: str) -> set[str]:
    """The prompts of what was judged elsewhere."""
    return {case.item.prompt for _, case in store.scan(key, f"{JUDGED}/cases", _Case)}


def in_training(reading: Reading, store: Store, key: str, streams: Sequence[str], truth: Truth) -> None:
    """Read what was said in all rounds."""
    names = [s.removesuffix("/cases") for s in streams if re.fullmatch(r"\d+/cases", s)]
    reading.imported = store.length(key, f"{JUDGED}/feedback") or None
    if not names:
        return
    shown: dict[str, bool] = defaultdict(bool)
    judged: list[tuple[float, int]] = []
    comparisons, answered, silent = 0, 0, 0
    for name in sorted(names, key=_number):
        cases = store.read(key, f"{name}/cases", _Case)
        shown_answers = [(c.item.prompt, r.text) for c in cases.values() for r in c.responses]
        truth.all([p for p, _ in shown_answers], [t for _, t in shown_answers])
        truths = {i: [truth(c.item.prompt, r.text) for r in c.responses] for i, c in cases.items()}
        for i, case in cases.items():
            shown[case.item.prompt] |= 1 in truths[i]
        said: dict[int, Feedback] = store.read(key, f"{name}/feedback", FEEDBACK)
        comparisons += sum(f.comparisons for f in said.values())
        _count_work(reading, said)
        _count_kinds(reading, said, cases)
        answered, silent = answered + len(said), silent + sum(isinstance(f, Abstention) for f in said.values())
        here = _agreement(reading, name, said, cases, truths)
        if found := measure.judge_accuracy(here):
            reading.judge_curve.append((_number(name), found))
        judged += here
    reading.abstained = silent / answered if answered else None
    asked, distinct = _questions(store, key, names, streams)
    reading.helper_questions, reading.helper_distinct, reading.judgements = asked, distinct, comparisons
    reading.judge = measure.judge_accuracy(judged)
    if truth.has_right_answers:
        reading.coverage = measure.coverage(shown)


def _agreement(
    reading: Reading,
    name: str,
    said: Mapping[int, Feedback],
    cases: Mapping[int, _Case],
    truths: Mapping[int, Sequence[float | None]],
) -> list[tuple[float, int]]:
    """(agreeing, asked) of one round's cases; later rounds, where answers are closer, give the cases to show."""
    found: list[tuple[float, int]] = []
    ratings: dict[str, list[tuple[float | None, float]]] = defaultdict(list)
    picks: dict[bool, Pick] = {}
    for i, feedback in said.items():
        if i not in cases:
            continue
        if rating := measure.rated(feedback):
            ratings[cases[i].item.prompt].append((truths[i][rating[0]], rating[1]))
            continue
        agreeing, asked = measure.agreement(feedback, truths[i])
        found.append((agreeing, asked))
        pick = Pick(name, i, agreeing, asked)
        if asked and (pick.right or (agreeing, asked) != (0.5, 1)):
            best = picks.setdefault(pick.right, pick)
            if agreeing * best.asked < best.agreeing * asked:
                picks[False] = pick
    reading.picks = [*picks.values(), *(p for p in reading.picks if p.right not in picks)]
    return found + [measure.rated_agreement(given) for given in ratings.values()]


def _count_work(reading: Reading, said: Mapping[int, Feedback]) -> None:
    """Add what the user did for these verdicts, and how long it took."""
    reading.work = _with_work(reading.work, said)
    _count_time(reading, said)


def _count_kinds(reading: Reading, said: Mapping[int, Feedback], cases: Mapping[int, _Case]) -> None:
    """Add what was asked, where it was chosen."""
    for i, feedback in said.items():
        if i in cases and (kind := cases[i].asks):
            many, silent, seconds = reading.kinds.get(kind, (0, 0, 0.0))
            nothing = isinstance(feedback, Abstention)
            reading.kinds[kind] = many + 1, silent + nothing, seconds + (feedback.seconds or 0.0)


def _count_time(reading: Reading, said: Mapping[int, Feedback]) -> None:
    times = [f.seconds for f in said.values() if f.seconds is not None]
    if times:
        reading.person_seconds = (reading.person_seconds or 0.0) + sum(times)


def _with_work(known: int | None, said: Mapping[int, Feedback]) -> int | None:
    """What the user did before, and for these verdicts."""
    done = [f.work for f in said.values() if f.work is not None]
    return (known or 0) + sum(done) if done else known


def at_gate(reading: Reading, store: Store, key: str, streams: Sequence[str]) -> None:
    """Read what was said at the gate."""
    results = list(store.read(key, "gate", GateResult).values())
    reading.gate = results[-1] if results else None
    if names := _cases_of("gate-", streams):
        told = _said(store, key, names)
        for said in told.values():
            _count_work(reading, said)
        reading.gate_judgements = _comparisons(told)
        reading.gate_questions = _answered(store, key, "gate-")


def at_spot_checks(reading: Reading, store: Store, key: str, streams: Sequence[str]) -> None:
    """Read what the helpers' users said of their answers."""
    found: dict[str, list[SpotResult]] = defaultdict(list)
    for result in store.read(key, "spot", SpotResult).values():
        found[result.subtask].append(result)
    reading.spots = dict(found)
    if names := _cases_of("spot-", streams):
        told = _said(store, key, names)
        work: dict[str, int] = {}
        for name, said in told.items():
            _count_time(reading, said)
            subtask = name.split("/")[1]
            if (done := _with_work(work.get(subtask), said)) is not None:
                work[subtask] = done
        reading.spot_work = work
        reading.spot_judgements = _comparisons(told)
        reading.spot_questions = _answered(store, key, "spot-")


def _cases_of(kind: str, streams: Sequence[str]) -> list[str]:
    """What was judged of one kind: "gate-4", …"""
    return [s.removesuffix("/cases") for s in streams if s.endswith("/cases") and s.startswith(kind)]


def _said(store: Store, key: str, names: Sequence[str]) -> dict[str, dict[int, Feedback]]:
    return {name: store.read(key, f"{name}/feedback", FEEDBACK) for name in names}


def _comparisons(told: Mapping[str, Mapping[int, Feedback]]) -> int:
    return sum(f.comparisons for said in told.values() for f in said.values())


def _answered(store: Store, key: str, kind: str) -> int:
    return sum(many for name, many in store.lengths(key, kind).items() if "/answers/" in name)


def _questions(store: Store, key: str, names: Sequence[str], streams: Sequence[str]) -> tuple[int, int]:
    """How many questions the helpers were asked, and how many different ones."""
    asked, different = 0, set()
    for stream in streams:
        if "/answers/" in stream and stream.partition("/answers/")[0] in names:
            for exhibit in store.read(key, stream, _Exhibit).values():
                query = exhibit.query
                asked += 1
                different.add((query.subtask, query.item.prompt) if query else (exhibit.agent, exhibit.title))
    return asked, len(different)


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0
