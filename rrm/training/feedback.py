"""Every kind of feedback as choices between answers, so that one likelihood serves them all.

Reward-rational implicit choice (Jeon, Milli & Dragan 2020): whatever a person says is read as a choice from a set of
options, and the chance of choosing one is softmax over the options' rewards. A preference chooses between two answers;
a ranking chooses, pair by pair, from higher and lower tiers; an approval, or a rating, chooses between the answer and
an outside option whose reward is 0; a demonstration chooses from all that could have been answered; a correction
prefers the mended answer to the first. Advice and abstentions choose nothing.

A mask of what mattered is read as advice on what to look at is (EXPAND, Guan et al. 2021): what did not matter may be
left out, so that the answer without it is as good; and where it is said that what mattered spoke for the answer, or
against it, the answer with it is better, or worse, than without.

What is said of single steps chooses between beginnings of answers, each worth what its own steps earn. What they share
cancels, so that the one step is taught: an action label chooses among all actions that could have followed; an
advantage compares the action taken with each of the others; a value, and a label of a step as good or bad, compare the
answer up to this step with the answer up to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import NamedTuple, TypeVar

from rrm.records import (
    ActionLabels,
    ActionValues,
    Advantages,
    Approval,
    Case,
    Correction,
    Demonstration,
    Feedback,
    Mask,
    Preference,
    Ranking,
    Rating,
    StepLabels,
)

T = TypeVar("T")

OUTSIDE = None
"""The option "none of this", whose reward is 0 by definition: approvals and ratings are measured from it."""


class Choice(NamedTuple):
    """One choice: what could be chosen, how likely each was, and how much it counts."""

    options: tuple[str | None, ...]
    target: tuple[float, ...]
    weight: float = 1.0


def choices(
    case: Case,
    feedback: Feedback,
    *,
    alternatives: Sequence[str] = (),
    moves: Sequence[str] = (),
    tie_weight: float = 1.0,
) -> list[Choice]:
    """The choices that a feedback on a case stands for.

    `alternatives` are what else could have been answered (the finite answer set), for demonstrations; without them
    the case's own responses are. `moves` are what a step of an answer may be (`Task.moves`), for feedback on steps;
    without them only step labels choose anything. Ties count `tie_weight` each.
    """
    texts, moves = [r.text for r in case.responses], tuple(moves)  # each one whole, where they come as a string
    match feedback:
        case Preference(first_better=p):
            return [_pair(texts[0], texts[1], p, tie_weight)] if len(texts) > 1 else []
        case Ranking(tiers=tiers):
            return ranked(texts, tiers, tie_weight)
        case Rating(score=score, response=at):
            return [_against_outside(texts[at], score)]
        case Approval(approved=approved, response=at):
            return [_against_outside(texts[at], float(approved))]
        case StepLabels(labels=labels, response=at):
            if moves:
                return [_step(texts[at], t, p) for t, p in _opinions(texts[at], labels)]
            # Without a reward for steps, an answer is worth the share of its steps that are good.
            known = [p for p in labels if p is not None]
            return [_against_outside(texts[at], sum(known) / len(known))] if known else []
        case ActionLabels(labels=labels, response=at):
            return [_label(texts[at], t, label, moves) for t, label in _opinions(texts[at], labels) if label in moves]
        case ActionValues(values=values, response=at, scale=scale) if moves:
            return [_step(texts[at], t, _sigmoid(v / scale)) for t, v in _opinions(texts[at], values)]
        case Advantages(values=values, response=at, scale=scale):
            return [
                choice
                for t, v in _opinions(texts[at], values)
                for choice in _advantage(texts[at], t, _sigmoid(v / scale), moves)
            ]
        case Mask(of="steps", response=at) if moves:
            return _masked_steps(texts[at], feedback, tie_weight)
        case Mask(of="words", response=at):
            return _masked_words(texts[at], feedback, tie_weight)
        case Correction(text=better, response=at):
            return [_pair(better, texts[at], 1.0, tie_weight)] if better != texts[at] else []
        case Demonstration(text=shown):
            others = [t for t in dict.fromkeys(alternatives or texts) if t != shown]
            return [Choice((shown, *others), (1.0, *[0.0] * len(others)))] if others else []
    return []


def ranked(texts: Sequence[str], tiers: Sequence[Sequence[int]], tie_weight: float) -> list[Choice]:
    """The choices that a ranking of these texts stands for: every pair of those that it names."""
    order = [(number, texts[i]) for number, tier in enumerate(tiers) for i in tier]
    return [
        _pair(first, second, 0.5 if high == low else 1.0, tie_weight)
        for at, (high, first) in enumerate(order)
        for low, second in order[at + 1 :]
    ]


def compares(case: Case, feedback: Feedback) -> bool:
    """Whether the feedback says which of the case's answers is best, if only that none is: an abstention does not, nor
    does a rating of one answer of several."""
    if isinstance(feedback, Preference | Ranking | Demonstration):
        return len(case.responses) > 1 or isinstance(feedback, Demonstration)
    return isinstance(feedback, Rating | Approval) and len(case.responses) == 1


def favourite(case: Case, feedback: Feedback) -> str | None:
    """The one answer that the feedback puts above all others; None if there is none such."""
    match feedback:
        case Demonstration(text=text):
            return text
        case Rating(score=score, response=at) if len(case.responses) == 1 and score > 0.5:
            return case.responses[at].text
        case Approval(approved=True, response=at) if len(case.responses) == 1:
            return case.responses[at].text
        case Preference(first_better=p) if p != 0.5 and len(case.responses) == 2:
            return case.responses[0 if p > 0.5 else 1].text
        case Ranking(tiers=tiers) if len(tiers[0]) == 1 and sum(map(len, tiers)) == len(case.responses):
            return case.responses[tiers[0][0]].text
    return None


def favourites(case: Case, feedback: Feedback) -> frozenset[str]:
    """The answers that the feedback puts above most of those shown, with none above them: where several are right,
    they are; where the evaluator could hardly tell them apart, there are none."""
    if isinstance(feedback, Ranking):
        best = frozenset(case.responses[i].text for i in feedback.tiers[0])
        return best if 2 * len(feedback.tiers[0]) <= sum(map(len, feedback.tiers)) else frozenset()
    only = favourite(case, feedback)
    return frozenset() if only is None else frozenset({only})


def _opinions(text: Sequence[str], said: Sequence[T | None]) -> list[tuple[int, T]]:
    """The steps, or words, of an answer that there is an opinion on, with the opinion."""
    return [(t, what) for t, (what, _) in enumerate(zip(said, text, strict=False)) if what is not None]


def _label(text: str, t: int, label: str, moves: Sequence[str]) -> Choice:
    others = [text[:t] + move for move in moves if move != label]
    return Choice((text[:t] + label, *others), (1.0, *[0.0] * len(others)))


def _step(text: str, t: int, p: float) -> Choice:
    """The answer with this step, or without it; where there is nothing before it, or nothing at all."""
    return Choice((text[: t + 1], text[:t] or OUTSIDE), (p, 1 - p))


def _advantage(text: str, t: int, p: float, moves: Sequence[str]) -> list[Choice]:
    """Beside each other action, which together count as one choice: an advantage of 0 is even with their mean."""
    others = [move for move in moves if move != text[t]]
    return [Choice((text[: t + 1], text[:t] + move), (p, 1 - p), 1 / len(others)) for move in others]


def _masked_steps(text: str, mask: Mask, tie_weight: float) -> list[Choice]:
    """Each step for itself: one that did not matter brought nothing, one that did was good, or bad."""
    found = []
    for t, mattered in _opinions(text, mask.marks):
        if not mattered:
            found.append(_step(text, t, 0.5)._replace(weight=tie_weight))
        elif mask.good is not None:
            found.append(_step(text, t, mask.good))
    return found


def _masked_words(text: str, mask: Mask, tie_weight: float) -> list[Choice]:
    """Each word that did not matter may be left out, all of them together counting as one choice; those that did stand
    against the answer without any of them."""
    words = text.split()
    marked = {i for i, mattered in _opinions(words, mask.marks) if mattered}
    idle = [i for i, mattered in _opinions(words, mask.marks) if not mattered]
    whole = " ".join(words)
    found = []
    for i in idle:
        less = " ".join(words[:i] + words[i + 1 :])
        if less:
            found.append(Choice((text, less), (0.5, 0.5), tie_weight / len(idle)))
    rest = " ".join(word for i, word in enumerate(words) if i not in marked)
    if mask.good is not None and marked and rest != whole:
        found.append(Choice((text, rest or OUTSIDE), (mask.good, 1 - mask.good)))
    return found


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -700 else 0.0


def _pair(first: str, second: str, p: float, tie_weight: float) -> Choice:
    return Choice((first, second), (p, 1 - p), tie_weight if p == 0.5 else 1.0)


def _against_outside(text: str, p: float) -> Choice:
    return Choice((text, OUTSIDE), (p, 1 - p))
