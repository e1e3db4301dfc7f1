"""What several raters said of one case, as one verdict: the place where a model of the raters gives each a weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rrm.records import (
    Abstention,
    ActionLabels,
    ActionValues,
    Advantages,
    Approval,
    Case,
    Feedback,
    Mask,
    Preference,
    Ranking,
    Rating,
    StepLabels,
    TermEdit,
)

Weigh = Callable[[Feedback], float]
"""How much a verdict counts beside others on its case: from a model of the raters, such as Dawid and Skene's."""

GROUP = "people"
"""Who is said to have judged where several did."""


def together(case: Case, said: Sequence[Feedback], weigh: Weigh = lambda feedback: 1.0) -> Feedback:
    """One verdict of all that was said of a case; of one rater, their own as it is.

    Who could not tell has no voice, unless nobody could. Of several kinds, the one that most raters chose is heard.
    Numbers are averaged, with `weigh`; approvals become the share that approve; rankings, an order by mean place, in
    which answers of equal places tie; of texts, the one that weighs most is taken, the earliest of equals.
    """
    if len(said) == 1:
        return said[0]
    heard: list[Feedback] = [f for f in said if not isinstance(f, Abstention)] or list(said)
    common = Counter(f.kind for f in heard).most_common(1)[0][0]
    heard = [f for f in heard if f.kind == common]
    weights = [max(weigh(f), 0.0) for f in heard]
    weights = weights if sum(weights) > 0 else [1.0] * len(heard)
    kind, content = _merged(case, heard, weights)
    sure = [(f.confidence, w) for f, w in zip(heard, weights, strict=True) if f.confidence is not None]
    return kind(
        case=case.id,
        evaluator=GROUP,
        seconds=round(sum(f.seconds or 0.0 for f in said), 3),
        seen=tuple(dict.fromkeys(s for f in said for s in f.seen)),
        confidence=_mean(sure) if sum(w for _, w in sure) > 0 else None,
        **content,
    )


def _merged(
    case: Case, heard: Sequence[Any], weights: Sequence[float]
) -> tuple[Callable[..., Feedback], dict[str, Any]]:
    first, each = heard[0], list(zip(heard, weights, strict=True))
    match first:
        case Preference():
            return Preference, {"first_better": _mean([(f.first_better, w) for f, w in each])}
        case Ranking():
            return Ranking, {"tiers": _order(len(case.responses), each)}
        case Rating() | Approval():
            response = _most([(f.response, w) for f, w in each])
            of = [
                (f.score if isinstance(f, Rating) else float(f.approved), w) for f, w in each if f.response == response
            ]
            return Rating, {"response": response, "score": _mean(of)}
        case StepLabels():
            return StepLabels, {"labels": _by_step([(f.labels, w) for f, w in each], _mean, None)}
        case ActionValues() | Advantages():
            values = _by_step(
                [([None if v is None else v / f.scale for v in f.values], w) for f, w in each], _mean, None
            )
            return type(first), {"values": values}
        case Mask():
            return Mask, _mask(each)
        case TermEdit():
            term, use = _most([((f.term, f.use), w) for f, w in each])
            same = [(f, w) for f, w in each if (f.term, f.use) == (term, use)]
            names = sorted({name for f, _ in same for name in f.settings})
            settings = {n: _most([(f.settings[n], w) for f, w in same if n in f.settings]) for n in names}
            weight = _mean([(f.weight, w) for f, w in same])
            return TermEdit, {"term": term, "use": use, "weight": weight, "settings": settings}
        case ActionLabels():
            return ActionLabels, {"labels": _by_step([(f.labels, w) for f, w in each], _most, "")}
    best = max(each, key=lambda one: sum(w for f, w in each if _content(f) == _content(one[0])))[0]
    return type(best), _content(best)


def _mask(each: Sequence[tuple[Mask, float]]) -> dict[str, Any]:
    """Of the answer that most speak of: what at least half of them mark."""
    response, of = _most([((f.response, f.of), w) for f, w in each])
    same = [(f, w) for f, w in each if (f.response, f.of) == (response, of)]
    marks = _by_step([([None if m is None else float(m) for m in f.marks], w) for f, w in same], _mean, None)
    told = [(f.good, w) for f, w in same if f.good is not None]
    return {
        "response": response,
        "of": of,
        "marks": tuple(None if m is None else m >= 0.5 for m in marks),
        "good": _mean(told) if told else None,
    }


def _content(feedback: Feedback) -> dict[str, Any]:
    return feedback.model_dump(exclude={"case", "evaluator", "seconds", "seen", "confidence", "kind", "work"})


def _mean(weighed: Sequence[tuple[float, float]]) -> float:
    total = sum(w for _, w in weighed)
    mean = sum(x * w for x, w in weighed) / total if total > 0 else sum(x for x, _ in weighed) / len(weighed)
    return min(max(mean, min(x for x, _ in weighed)), max(x for x, _ in weighed))  # rounding stays within


def _most(weighed: Sequence[tuple[Any, float]]) -> Any:
    votes: dict[Any, float] = {}
    for what, weight in weighed:
        votes[what] = votes.get(what, 0.0) + weight
    return max(votes, key=lambda what: votes[what])


def _by_step(rows: Sequence[tuple[Sequence[Any], float]], merge: Callable[[Any], Any], nothing: Any) -> tuple[Any, ...]:
    """Each step for itself, of those who have an opinion on it."""
    steps = range(max(len(row) for row, _ in rows))
    found = ([(row[t], w) for row, w in rows if t < len(row) and row[t] not in (None, "")] for t in steps)
    return tuple(merge(opinions) if opinions else nothing for opinions in found)


def _order(count: int, each: Sequence[tuple[Ranking, float]]) -> tuple[tuple[int, ...], ...]:
    """By mean place (Borda's count); a tie shares the mean of its places, and what a rater left out is left out by
    them. Answers that nobody placed are in no tier."""
    places: dict[int, list[tuple[float, float]]] = {}
    for ranking, weight in each:
        before = 0
        for tier in ranking.tiers:
            for answer in tier:
                places.setdefault(answer, []).append((before + (len(tier) - 1) / 2, weight))
            before += len(tier)
    means = {answer: round(_mean(found), 9) for answer, found in places.items() if answer < count}
    return tuple(tuple(sorted(a for a in means if means[a] == level)) for level in sorted(set(means.values())))
