"""How much a kind of feedback is expected to teach a reward model, from what the members of its ensemble say.

Every kind is a choice between answers (`rrm.training.feedback`), and a choice between options of rewards r tells of r
what its Fisher information says: diag(p) - p p^T, with p = softmax(r). What is not known of r is how the members of the
ensemble differ, each a direction in which the truth may lie; from both follows how much narrower that gets by the
answer, whatever it is (Bayesian experimental design for a Gaussian belief, Chaloner & Verdinelli 1995). What counts is
the reward of what the agent might answer: the expected drop of its variance over the members, answers weighed by how
likely they are the best. That is the criterion of Cohn, Ghahramani & Jordan (1996), and asks for no truth.

A number says more than yes or no. How much more is measured: by how far the numbers that were said lie from what was
learnt of them, where that is closer than a yes or a no could lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Item,
    Preference,
    Ranking,
    Rating,
    StepLabels,
)
from rrm.roles import Judged, RewardModel, Task
from rrm.training.feedback import Choice, choices

Floats = NDArray[np.float64]

TIE = 0.25
"""What a tie counts beside a preference."""

FINEST = 20.0
"""How many times as much as a yes or a no a number says at most: people rate the same twice .14 to .2 of the scale
apart (films: Amatriain, Pujol & Oliver 2009), and a coin falls .5 from its mean."""

GUESSES = 3
"""As how many numbers the guess counts that they say no more than a yes or a no."""

GRADED = ("rating", "action-values", "advantages")
"""Kinds that say a number."""


def taught(
    kind: str, task: Task, cases: Sequence[Case], reward: RewardModel, targets: Sequence[Floats], *, steps: int,
    finer: float = 1.0,
) -> list[float]:  # fmt: skip
    """What feedback of that kind on each case is expected to teach of its `targets`. Of steps, `steps` are judged;
    `finer` is how many times as much as a yes or a no it says of each."""
    asked = [_choices(kind, task, case, steps) for case in cases]
    texts = [list(dict.fromkeys(t for c in row for t in c.options if t is not None)) for row in asked]
    found = [0.0] * len(cases)
    for i, scores in _scored(reward, [case.item for case in cases], texts):
        apart = (scores - scores.mean(0)) / max(len(scores) - 1, 1) ** 0.5
        found[i] = _gain(apart @ _questions(kind, asked[i], texts[i], scores, finer), targets[i])
    return found


def targets(task: Task, items: Sequence[Item], texts: Sequence[Sequence[str]], reward: RewardModel) -> list[Floats]:
    """For each item (members, answers): how the members differ in what its answers are worth beside one another, each
    weighed by how likely it is the best. The answers are all of a finite set, or else `texts`."""
    wanted = [list(dict.fromkeys(task.answers(item) or shown)) for item, shown in zip(items, texts, strict=True)]
    found = [np.zeros((1, 1))] * len(items)
    for i, scores in _scored(reward, items, wanted):
        likely = _softmax(scores).mean(0)
        beside = scores - (scores @ likely)[:, None]
        found[i] = (beside - beside.mean(0)) * np.sqrt(likely)
    return found


def _scored(reward: RewardModel, items: Sequence[Item], texts: Sequence[Sequence[str]]) -> Iterator[tuple[int, Floats]]:
    """The number of each item that has texts, and (members, texts) what they are worth."""
    there = sorted((i for i, names in enumerate(texts) if names), key=lambda i: len(texts[i]))
    for _, group in groupby(there, key=lambda i: len(texts[i])):  # each call scores as many answers of every item
        at = list(group)
        each = reward.each([items[i] for i in at], [texts[i] for i in at])
        yield from zip(at, np.moveaxis(each, 1, 0), strict=True)


def finely(judged: Sequence[Judged], task: Task, reward: RewardModel) -> float:
    """How many times as much as a yes or a no the numbers say that were given here."""
    said = [(case, _of_numbers(choices(case, f, moves=task.moves(case.item)))) for case, f in judged]
    texts = [list(dict.fromkeys(t for c in row for t in c.options if t is not None)) for _, row in said]
    apart, yes_or_no, fine, count = GUESSES / 4, GUESSES / 4, 0, GUESSES
    for i, scores in _scored(reward, [case.item for case, _ in said], texts):
        place = {text: k for k, text in enumerate(texts[i])}
        for choice in said[i][1]:
            options = [place[t] for t in choice.options if t is not None]
            likely = float(_likely(options, scores, outside=None in choice.options)[0])
            apart += (choice.target[0] - likely) ** 2
            yes_or_no += likely * (1 - likely)
            fine += 0.05 < choice.target[0] < 0.95
            count += 1
    return 1 + fine / count * (max(min(yes_or_no / apart, FINEST), 1.0) - 1)


def _of_numbers(found: Sequence[Choice]) -> list[Choice]:
    return [choice for choice in found if len(choice.target) == 2]


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


def _questions(kind: str, asked: Sequence[Choice], texts: Sequence[str], scores: Floats, finer: float) -> Floats:
    """(texts, questions) B, of which B B^T is the Fisher information of what is asked, at (members, texts) scores."""
    place, mean = {text: i for i, text in enumerate(texts)}, scores.mean(0)
    found = [np.zeros((len(texts), 0))]
    for choice in asked:
        options = [place[t] for t in choice.options if t is not None]
        if kind == "ranking":  # the best of all, then of the rest, and so on (Plackett and Luce), at the likeliest
            order = sorted(options, key=lambda i: -mean[i])
            found += [_root(order[first:], scores) for first in range(len(order) - 1)]
        elif kind == "correction":  # one that stands as it is teaches nothing; a better one is put above it
            stands = float(_likely(options, scores, outside=False)[0])
            better = max(options[1:], key=mean.__getitem__)
            found.append(_root([options[0], better], scores, weight=1 - stands))
        else:
            outside = None in choice.options
            found.append(_root(options, scores, outside=outside, weight=choice.weight * finer))
    return np.concatenate(found, 1)


def _root(options: Sequence[int], scores: Floats, *, outside: bool = False, weight: float = 1.0) -> Floats:
    p = _likely(options, scores, outside=outside)
    root = np.zeros((scores.shape[1], len(p)))
    root[list(options)] = ((np.diag(np.sqrt(p)) - np.outer(p, np.sqrt(p))) * weight**0.5)[: len(options)]
    return root


def _likely(options: Sequence[int], scores: Floats, *, outside: bool) -> Floats:
    """How likely each option is chosen: the mean over the members, who may all be sure, each of another."""
    values = scores[:, list(options)]
    likely: Floats = _softmax(np.pad(values, ((0, 0), (0, int(outside))))).mean(0)
    return likely


def _softmax(values: Floats) -> Floats:
    powers: Floats = np.exp(values - values.max(-1, keepdims=True))
    likely: Floats = powers / powers.sum(-1, keepdims=True)
    return likely


def _gain(asked: Floats, target: Floats) -> float:
    """From (members, questions) how the members differ in what is asked, and (members, answers) in what counts."""
    known = np.linalg.inv(np.eye(len(asked)) + asked @ asked.T)
    return float((target**2).sum() - (target * (known @ target)).sum()) / max(len(target) - 1, 1)
