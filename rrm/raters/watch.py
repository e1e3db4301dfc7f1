"""How each rater's work looks to whoever runs a study: gold questions, signs of inattention, agreement with others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from rrm.desk import Desk
from rrm.desk.gold import scored
from rrm.desk.ledger import Said, Voice
from rrm.desk.sheet import Sheet
from rrm.measure import Figure, Share, wilson
from rrm.raters.agreement import alpha
from rrm.raters.attention import Flag, missed_gold, straight_lining, too_fast, with_oneself
from rrm.raters.opinions import opinions
from rrm.records import Feedback, Preference, Ranking

LAST = 200
"""Over so many of a rater's last verdicts flags are looked for."""
SHARED = 1000
"""Over so many of the newest cases that several judged, agreement."""
RESAMPLES = 500
"""Enough for a page that is looked at while people judge."""


class Look(NamedTuple):
    """How one rater's work looks."""

    right: int = 0
    asked: int = 0
    """Gold questions, of those of which they could tell."""
    gold: Share | None = None
    flags: tuple[Flag, ...] = ()
    """Those that are raised."""
    agreement: Figure | None = None
    """Krippendorff's alpha between this rater and what the others said of the same cases, on average."""

    def told(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "gold": None if self.gold is None else {"right": self.right, **self.gold._asdict()},
            "flags": [{"flag": f.name, "p": f.p, "words": f.words} for f in self.flags],
            "agreement": figure(self.agreement),
        }


class Watch:
    """Looks at one desk's raters. What has not changed since it was looked at is not looked at again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._size: Mapping[str, tuple[int, float]] = {}
        self._looks: dict[str, Look] = {}
        self._nodes: dict[str, Figure | None] = {}

    def look(self) -> tuple[dict[str, Look], dict[str, Figure | None]]:
        """Every rater who has judged, by name; and by key of the node, how far its raters agree."""
        size = self._desk.ledger.size()
        changed = {name for name, now in size.items() if self._size.get(name) != now} | self._size.keys() - size.keys()
        if changed:
            voices = self._desk.ledger.several(last=SHARED)
            self._nodes = {key: agreement(said) for key, said in _by_node(voices).items()}
            own = {name: self._work(name) if name in changed else self._looks[name] for name in size}
            self._looks = {name: look._replace(agreement=beside(name, voices)) for name, look in own.items()}
            self._size = size
        return self._looks, self._nodes

    def _work(self, name: str) -> Look:
        right, asked = scored(self._desk.ledger.gold_of(name))
        flags = (missed_gold(right, asked), *signs(self._desk.ledger.of_rater(name, LAST)))
        return Look(right, asked, wilson(right, asked), tuple(flag for flag in flags if flag.raised))


def signs(said: Sequence[Said]) -> list[Flag]:
    """What a rater's verdicts, in their order, look like."""
    timed = [(one.feedback.seconds, words(one.sheet, one.feedback.seen)) for one in said]
    places = [(len(one.sheet.answers), at) for one in said if (at := first(one.feedback)) is not None]
    options = Counter(count for count, _ in places).most_common(1)[0][0] if places else 2
    return [
        too_fast([seconds for seconds, _ in timed], [count for _, count in timed]),
        straight_lining([at for count, at in places if count == options], options),
        with_oneself(*_twice(said)),
    ]


def first(feedback: Feedback) -> int | None:
    """The place of the one answer that is put above all others; None: there is none such."""
    match feedback:
        case Preference(first_better=p) if p != 0.5:
            return int(p < 0.5)
        case Ranking(tiers=tiers) if len(tiers) > 1 and len(tiers[0]) == 1:
            return tiers[0][0]
    return None


def _twice(said: Sequence[Said]) -> tuple[list[str | None], list[str | None]]:
    """What a rater put first in cases that a gold question repeats, both times, as it reads: its answers stand in
    another order there."""
    plain = {one.case: _chosen(one) for one in said if one.gold is None}
    again = [one for one in said if one.twin is not None and one.twin in plain]
    return [plain[one.twin] for one in again if one.twin is not None], [_chosen(one) for one in again]


def _chosen(one: Said) -> str | None:
    at = first(one.feedback)
    return None if at is None else str(one.sheet.answers[at].blocks)


def words(sheet: Sheet, seen: Iterable[str]) -> int:
    """How many words had to be read: the item, the answers, and the exhibits that were opened."""
    opened = set(seen)
    blocks: list[JsonValue] = [*sheet.item, *(b for answer in sheet.answers for b in answer.blocks)]
    blocks += [b for e in sheet.exhibits if e.exhibit in opened for b in (*e.asked, *e.said)]
    return sum(map(_words, blocks))


def _words(what: JsonValue) -> int:
    if isinstance(what, str):
        return len(what.split())
    if isinstance(what, list):
        return sum(map(_words, what))
    if isinstance(what, dict):  # of a block, what is read in it, and not what kind it is, or a picture's data
        return sum(_words(v) for k, v in what.items() if k in ("text", "columns", "rows", "frames", "block", "caption"))
    return 0


# -- agreement --------------------------------------------------------------------------------------------------------


def agreement(voices: Sequence[Voice]) -> Figure | None:
    """Krippendorff's alpha of what several raters said, over the pairs of answers, answers or steps of each case."""
    return _alpha([(v.rater, v.case, of, p) for v in voices for of, p in opinions(v.feedback).items()])


def beside(name: str, voices: Sequence[Voice]) -> Figure | None:
    """The same of one rater and of what the others say on average of the same things."""
    own: list[tuple[str, int, str, float]] = []
    others: dict[tuple[int, str], list[float]] = defaultdict(list)
    for voice in voices:
        for of, p in opinions(voice.feedback).items():
            if voice.rater == name:
                own.append(("own", voice.case, of, p))
            else:
                others[voice.case, of].append(p)
    return _alpha([*own, *(("others", case, of, sum(p) / len(p)) for (case, of), p in others.items())])


def _alpha(marks: Sequence[tuple[str, int, str, float]]) -> Figure | None:
    raters = {name: row for row, name in enumerate(sorted({rater for rater, *_ in marks}))}
    units = {unit: column for column, unit in enumerate(sorted({(case, of) for _, case, of, _ in marks}))}
    if len(raters) < 2:
        return None
    ratings: list[list[float | None]] = [[None] * len(units) for _ in raters]
    for rater, case, of, p in marks:
        ratings[raters[rater]][units[case, of]] = p
    return alpha(ratings, "interval", groups=[case for case, _ in units], resamples=RESAMPLES)


def _by_node(voices: Sequence[Voice]) -> dict[str, list[Voice]]:
    found: dict[str, list[Voice]] = defaultdict(list)
    for voice in voices:
        found[voice.node].append(voice)
    return found


def figure(found: Figure | None) -> dict[str, Any] | None:
    """For scripts."""
    return None if found is None else found._asdict()
