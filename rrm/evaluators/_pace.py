"""How long it takes to say something, by kind: the keystroke-level model, and how fast people read."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, factorial, log2

from pydantic import Field

from rrm.records import Advice, Case, Correction, Demonstration, Feedback, Record

STEPWISE = ("step-labels", "action-labels", "action-values", "advantages")
TYPED = ("demonstration", "correction", "advice")


class Pace(Record):
    """Seconds of a person at the page, who judges by keys; what it takes to find out what to say comes on top.

    The keystroke-level model (Card, Moran & Newell 1980) predicts the time of such work from its parts. Which parts a
    kind of feedback has is our reading of the page, and so an assumption: one decision and one key for a preference, a
    rating, an approval or a mark for the best; of a ranking, the decisions that sorting so many takes, and a key for
    each; of each step, a decision and two keys; of a text, one decision, and its letters.
    """

    decision: float = Field(default=1.35, ge=0)
    """To make up one's mind: the operator M of the model."""
    key: float = Field(default=0.28, ge=0)
    """To press a key: the operator K, for whoever is no trained typist."""
    word: float = Field(default=0.25, ge=0)
    """To read a word of an answer or of help: 238 words a minute (Brysbaert 2019)."""

    def saying(self, kind: str, shown: Sequence[str], *, typed: str = "", steps: int = 1) -> float:
        """Seconds for feedback of that kind on these answers, whose words are read, but of a demonstration. `typed` is
        what is written, `steps` how many steps are judged."""
        read = 0 if kind == "demonstration" else sum(len(text.split()) for text in shown)
        decisions, keys = 1, 1
        if kind == "ranking":
            decisions, keys = ceil(log2(factorial(min(len(shown), 20)))), len(shown)
        elif kind in STEPWISE:
            decisions, keys = max(steps, 1), 2 * max(steps, 1)
        elif kind in TYPED:
            keys = len(typed) + 1
        return self.decision * decisions + self.key * keys + self.word * read

    def said(self, kind: str, case: Case, feedback: Feedback) -> float:
        """Seconds that this feedback took, which was asked for as that kind: with reading the help beside the case."""
        texts = [response.text for response in case.responses]
        shown = texts if kind in ("preference", "ranking", "best", "auto") else texts[:1]
        typed = feedback.text if isinstance(feedback, Demonstration | Correction | Advice) else ""
        if feedback.kind == "correction" and typed == shown[0]:
            typed = ""  # it stands as it is
        if feedback.kind == "abstention" and kind not in STEPWISE:
            kind = "approval" if kind != "demonstration" else kind
        help_ = sum(len(exhibit.text.split()) for exhibit in case.exhibits)
        return self.saying(kind, shown, typed=typed, steps=feedback.comparisons) + self.word * help_
