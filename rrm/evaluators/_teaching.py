"""How much a kind of feedback is expected to teach a reward model, from what the members of its ensemble say.

Every kind is a choice between answers (`rrm.training.feedback`), and a choice between options of rewards r tells of r
what its Fisher information says: diag(p) - p p^T, with p = softmax(r). If what is not known of r has covariance C, as
the members of the ensemble differ, then choices of information F are expected to lower the entropy of r by about
1/2 log det(I + C F): the mutual information between answer and reward (BALD, Houlsby et al. 2011) of a Gaussian belief,
by Laplace's approximation (Chaloner & Verdinelli 1995). It needs no truth, and no guess at what will be said.

A number says more than yes or no. Where a rating or a value y of an answer is graded, it is taken for sigmoid(r) read
off with a standard deviation of `NOISE`, so that its information is (p (1 - p) / NOISE)^2 in place of p (1 - p).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rrm.records import (
    ActionLabels,
    ActionValues,
    Advantages,
    Approval,
    Case,
    Demonstration,
    Feedback,
    Preference,
    Ranking,
    Rating,
    StepLabels,
)
from rrm.roles import RewardModel, Task
from rrm.training.feedback import Choice, choices

Floats = NDArray[np.float64]

TIE = 0.25
"""What a tie counts beside a preference."""

NOISE = 0.15
"""How far apart two ratings of the same are, on a scale of length 1: .14 to .2 was measured of people who rated films
twice (Amatriain, Pujol & Oliver 2009)."""

GRADED = ("rating", "action-values", "advantages")
"""Kinds that say a number."""


def taught(
    kind: str, task: Task, cases: Sequence[Case], reward: RewardModel, steps: int, graded: float = 0.0
) -> list[float]:
    """What feedback of that kind on each case is expected to teach, in nats. Of steps, `steps` are judged; `graded` is
    the share of what is said that is a number, and not all or nothing."""
    asked = [_choices(kind, task, case, steps) for case in cases]
    texts = [list(dict.fromkeys(t for c in row for t in c.options if t is not None)) for row in asked]
    found = [0.0] * len(cases)
    there = sorted((i for i, names in enumerate(texts) if names), key=lambda i: len(texts[i]))
    for _, group in groupby(there, key=lambda i: len(texts[i])):  # each call scores as many answers of every item
        at = list(group)
        each = reward.each([cases[i].item for i in at], [texts[i] for i in at])
        for i, scores in zip(at, np.moveaxis(each, 1, 0), strict=True):
            asked_by = [_questions(kind, asked[i], texts[i], rewards, graded) for rewards in scores]
            found[i] = _gain(scores, asked_by)
    return found


def told(feedback: Feedback, shown: int, steps: int) -> float:
    """How much a feedback said, as a share of what one of its kind can say: a tie counts as `bradley-terry` counts it
    by default, and of a ranking each pair of those shown."""
    match feedback:
        case Preference(first_better=p):
            return TIE if p == 0.5 else 1.0
        case Ranking(tiers=tiers):
            named = sum(map(len, tiers))
            tied = sum(len(tier) * (len(tier) - 1) // 2 for tier in tiers)
            pairs = max(shown * (shown - 1) // 2, 1)
            return (named * (named - 1) // 2 - tied + TIE * tied) / pairs
        case StepLabels() | ActionLabels() | ActionValues() | Advantages():
            return min(feedback.comparisons / steps, 1.0)
    return float(feedback.comparisons > 0)


def finely(feedback: Feedback) -> float | None:
    """Which share of the numbers that it says are none of the extremes; None where it says none."""
    match feedback:
        case Rating(score=score):
            numbers = [score]
        case ActionValues(values=values, scale=scale) | Advantages(values=values, scale=scale):
            numbers = [1 / (1 + np.exp(-v / scale)) for v in values if v is not None]
        case _:
            return None
    return sum(0.05 < x < 0.95 for x in numbers) / len(numbers) if numbers else None


def _choices(kind: str, task: Task, case: Case, steps: int) -> list[Choice]:
    """The choices that feedback of that kind would stand for, whatever it says; of a ranking or a correction, one among
    all that it may put first."""
    own = [response.text for response in case.responses]
    every = tuple(task.answers(case.item) or ()) if kind in ("demonstration", "correction") else ()
    if kind == "correction":
        every = tuple(dict.fromkeys([own[0], *(every or own)]))
        return [Choice(every, ())] if len(every) > 1 else []
    if kind == "ranking":
        return [Choice(tuple(own), ())] if len(own) > 1 else []
    might = _might_say(kind, task, case, every, steps)
    moves = task.moves(case.item)
    return choices(case, might, alternatives=every, moves=moves) if might is not None else []


def _might_say(kind: str, task: Task, case: Case, every: Sequence[str], steps: int) -> Feedback | None:
    """Any feedback of that kind: what it says is no matter, for its choices are the same."""
    name, text = case.id, case.responses[0].text
    match kind:
        case "preference":
            return Preference(case=name, evaluator="", first_better=1.0)
        case "rating":
            return Rating(case=name, evaluator="", score=1.0)
        case "approval":
            return Approval(case=name, evaluator="", approved=True)
        case "demonstration":
            return Demonstration(case=name, evaluator="", text=every[0] if every else text)
    judged = _judged(task, case, steps)
    values = tuple(0.0 if t in judged else None for t in range(max(judged, default=0) + 1))
    if not judged:
        return None
    match kind:
        case "step-labels":
            return StepLabels(case=name, evaluator="", labels=values)
        case "action-labels":
            labels = tuple("" if value is None else text[t] for t, value in enumerate(values))
            return ActionLabels(case=name, evaluator="", labels=labels)
        case "action-values":
            return ActionValues(case=name, evaluator="", values=values)
        case "advantages":
            return Advantages(case=name, evaluator="", values=values)
    return None


def _judged(task: Task, case: Case, steps: int) -> set[int]:
    """Steps of the first answer that might be judged: those pointed to, then others spread over it."""
    pointed, others = task.judgeable(case)
    spread = dict.fromkeys(others[i * len(others) // steps] for i in range(steps if others else 0))
    return set([*pointed, *spread][:steps])


def _questions(kind: str, asked: Sequence[Choice], texts: Sequence[str], rewards: Floats, graded: float) -> Floats:
    """(texts, questions) B, of which B B^T is the Fisher information of what is asked, where these are the rewards."""
    place = {text: i for i, text in enumerate(texts)}
    found = [np.zeros((len(texts), 0))]
    for choice in asked:
        options = [place[t] for t in choice.options if t is not None]
        if kind == "ranking":  # the best of all, then of the rest, and so on (Plackett and Luce), at the likeliest
            order = sorted(options, key=lambda i: -rewards[i])
            found += [_root(order[first:], rewards) for first in range(len(order) - 1)]
        elif kind == "correction":  # one that stands as it is teaches nothing; a better one is put above it
            stands = float(_softmax(rewards[options])[0])
            better = max(options[1:], key=lambda i: rewards[i])
            found.append(_root([options[0], better], rewards, weight=1 - stands))
        else:
            outside = None in choice.options
            finer = 1 - graded + graded * _finer(options, rewards, outside=outside) if graded else 1.0
            found.append(_root(options, rewards, outside=outside, weight=choice.weight * finer))
    return np.concatenate(found, 1)


def _finer(options: Sequence[int], rewards: Floats, *, outside: bool) -> float:
    """How many times as much a number says as a yes or a no."""
    return max(1.0, float(_likely(options, rewards, outside=outside).prod()) / NOISE**2)


def _root(options: Sequence[int], rewards: Floats, *, outside: bool = False, weight: float = 1.0) -> Floats:
    p = _likely(options, rewards, outside=outside)
    root = np.zeros((len(rewards), len(p)))
    root[list(options)] = ((np.diag(np.sqrt(p)) - np.outer(p, np.sqrt(p))) * weight**0.5)[: len(options)]
    return root


def _likely(options: Sequence[int], rewards: Floats, *, outside: bool) -> Floats:
    values = rewards[list(options)]
    return _softmax(np.append(values, 0.0) if outside else values)


def _softmax(values: Floats) -> Floats:
    powers: Floats = np.exp(values - values.max())
    likely: Floats = powers / powers.sum()
    return likely


def _gain(scores: Floats, questions: Sequence[Floats]) -> float:
    """From the (members, texts) scores, and what is asked where each member is right. Few members cannot differ in many
    directions: of what seems common to questions, one part in as many as there are members is taken for chance."""
    members = len(scores)
    if members < 2:
        return 0.0
    apart = (scores - scores.mean(0)) / (members - 1) ** 0.5
    gains = []
    for asked in questions:
        unknown = (apart @ asked).T @ (apart @ asked)
        common = unknown - np.diag(np.diag(unknown))
        gains.append(np.linalg.slogdet(np.eye(len(unknown)) + unknown - common / members)[1] / 2)
    return float(np.mean(gains))
