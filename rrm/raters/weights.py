"""What each rater's verdicts should count for beside others', by how far they agree with what all together say."""

from __future__ import annotations

from collections.abc import Iterable
from math import log

from rrm.raters.dawid_skene import dawid_skene
from rrm.raters.opinions import opinions
from rrm.records import Feedback

UNKNOWN = log(4)
"""What whoever said nothing yet counts: what the model's prior says, right in four cases of five."""


def weights(said: Iterable[tuple[str, object, Feedback]]) -> dict[str, float]:
    """By rater, at least 0: log odds of being right over those of a guess, by the model of Dawid and Skene (1979).

    `said` has the rater, the case (anything that tells cases apart) and the verdict. Every pair of answers that a
    verdict orders, every answer that it finds good or bad and every step, is one question with two classes; ties and
    "cannot tell" are left out. Whom nothing is known of count what the model's prior says, and all do where nobody
    overlaps. The order of `said` does not matter.
    """
    marks = sorted(
        (rater, str(case), of, p > 0.5) for rater, case, told in said for of, p in opinions(told).items() if p != 0.5
    )
    if not marks:
        return {}
    raters = sorted({rater for rater, *_ in marks})
    questions = {q: n for n, q in enumerate(sorted({(case, of) for _, case, of, _ in marks}))}
    found = dawid_skene(
        [questions[case, of] for _, case, of, _ in marks],
        [raters.index(rater) for rater, *_ in marks],
        [int(mark) for *_, mark in marks],
        classes=2,
    )
    return {rater: round(float(weight), 6) for rater, weight in zip(raters, found.weights, strict=True)}
