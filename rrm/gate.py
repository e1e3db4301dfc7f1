"""The gate that an agent passes before it may help others: it asks the user, with help, and never the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rrm.hearing import Hearing
from rrm.measure import calibration
from rrm.node import Node
from rrm.records import Case, GateResult, Item, Response
from rrm.roles import Assistant, Judged, RewardModel
from rrm.seed import Seed
from rrm.training.feedback import choices, compares, favourites

AGREES = "no other answer better, and at least half of those shown worse"
"""What a user finds of an answer that it agrees with: several may be right, but where it can hardly tell them apart, it
agrees with none (`rrm.training.feedback.favourites`)."""

HANDFUL = 5
"""Answers that a person is shown beside the agent's at the gate, at least."""


def stand_at_gate(hearing: Hearing, number: int, agent: Assistant, reward: RewardModel) -> GateResult:
    """Have the user judge the agent's answers to fresh held-out items, beside other answers to them.

    *Agreement* is the share of the items that the user judged (an abstention is no verdict) on which it agrees with the
    agent's answer, as `AGREES` says. *Recall* looks at those whose best answer, to the
    user, is not the most common one (the faults, where most is fine), and is the share of them on which the agent gave
    it: an agent that always says the usual thing has none.
    The same judgements, which no training sees, give the reward model's calibration.
    """
    node, stream, seed = hearing.node, f"gate-{number}", hearing.node.seed.at("gate", number)
    recorded = hearing.store.read(hearing.key, f"{stream}/cases", Case)
    hearing.watch("gate", 0, node.gate.items, "")
    if recorded:
        cases = list(recorded.values())
    else:
        items = [node.task.sample(seed.at("item", i).rng(), held_out=True) for i in range(node.gate.items)]
        seeds = [seed.at("case", i) for i in range(len(items))]
        own = [texts[0] for texts in agent.respond(items, n=1, seeds=seeds)]
        cases = hearing.assist(stream, beside_others(node, agent, items, own, seeds), seed.at("help"))
    return _result(node, number, hearing.judge(stream, cases, seed.at("judge")), reward)


def beside_others(
    node: Node, agent: Assistant, items: Sequence[Item], own: Sequence[str], seeds: Sequence[Seed]
) -> list[Case]:
    """An agent's own answers to items, each beside what else might be answered; they keep the sample number 0."""
    if not items:
        return []
    others = _others(node, agent, items, seeds)
    return [
        _own_among(item, answer, rest, node.name, at)
        for item, answer, rest, at in zip(items, own, others, seeds, strict=True)
    ]


def _own_among(item: Item, own: str, others: Sequence[str], agent: str, at: Seed) -> Case:
    texts = dict.fromkeys([own, *others])
    shown = [Response(item=item.id, text=t, agent=agent, sample=n) for n, t in enumerate(texts)]
    at.at("order").shuffle(shown)
    return Case(item=item, responses=tuple(shown))


def most_shown(node: Node) -> int:
    """How many answers to an item its gate shows at most, of an agent that keeps to the finite answer set, if any."""
    answers = node.task.answers(node.task.sample(node.seed.at("gate", "shown").rng()))
    if answers is not None and node.evaluator.reproducible:
        return len(answers)
    beside = _handful(node) + 1
    return beside if answers is None else min(beside, len(answers))


def _handful(node: Node) -> int:
    return max(node.effort.candidates, HANDFUL)


def _others(node: Node, agent: Assistant, items: Sequence[Item], seeds: Sequence[Seed]) -> Sequence[Sequence[str]]:
    """What the agent's answers stand beside. Of a finite answer set, all: beside one other guess, nearly any answer
    looks good. A person, or a set that is not finite, gets a handful of the agent's own other answers."""
    answers = node.task.answers(items[0])
    if answers is not None and node.evaluator.reproducible:
        return [answers] * len(items)
    few = _handful(node)
    return [row[:few] for row in agent.propose(items, n=few, seeds=seeds)]


class Tally(NamedTuple):
    """What a user said of an agent's answers, counted as `stand_at_gate` explains."""

    checked: int
    agreed: int
    faults: int
    found: int


def tally(judged: Sequence[Judged], more: Sequence[Judged] = ()) -> Tally:
    """Count what was said of answers that stood beside others.

    `more` are cases that were chosen, and not drawn, because the usual answer is probably not the best: they count as
    faults where they are some, and neither say what is usual nor how often the user agrees.
    """
    best, chosen = _best(judged), _best(more)
    common = Counter(text for _, texts in best for text in sorted(texts)).most_common(1)
    usual = common[0][0] if common else None
    faults = [(own, texts) for own, texts in [*best, *chosen] if texts and usual not in texts]
    return Tally(
        checked=len(best),
        agreed=sum(own in texts for own, texts in best),
        faults=len(faults),
        found=sum(own in texts for own, texts in faults),
    )


def _best(judged: Sequence[Judged]) -> list[tuple[str, frozenset[str]]]:
    """The agent's answer, and the best ones, of each case of which the user said which they are."""
    return [
        (next(r.text for r in case.responses if r.sample == 0), favourites(case, feedback))
        for case, feedback in judged
        if compares(case, feedback)
    ]


def _result(node: Node, number: int, judged: Sequence[Judged], reward: RewardModel) -> GateResult:
    gate, counted = node.gate, tally(judged)
    agreed = counted.agreed >= gate.agreement * counted.checked
    # An evaluator that says nothing has let nothing pass.
    fine = counted.checked > 0 and agreed and counted.found >= gate.recall * counted.faults
    log_loss, error, temperature = _calibration(judged, reward)
    return GateResult(
        moment=f"round-{number}",
        passed=fine,
        **counted._asdict(),
        agreement_needed=gate.agreement,
        recall_needed=gate.recall,
        log_loss=log_loss,
        calibration_error=error,
        temperature=temperature,
    )


def _calibration(judged: Sequence[Judged], reward: RewardModel) -> tuple[float | None, float | None, float | None]:
    """How well the reward model's differences predict these judgements; ties are left out, as they say neither."""
    said = [[c for c in choices(*j) if len(c.options) == 2 and c.target[0] != 0.5] for j in judged]
    shown = [list(dict.fromkeys(t for c in compared for t in c.options if t is not None)) for compared in said]
    worth: list[dict[str, float]] = [{} for _ in judged]
    for many in {len(texts) for texts in shown if texts}:  # each score call takes as many candidates of every item
        at = [i for i, texts in enumerate(shown) if len(texts) == many]
        rows = reward.score([judged[i][0].item for i in at], [shown[i] for i in at]).mean
        for i, row in zip(at, rows, strict=True):
            worth[i] = dict(zip(shown[i], map(float, row), strict=True))
    margins = [
        sum(sign * known.get(t or "", 0.0) for sign, t in zip((1, -1), c.options, strict=True))
        for compared, known in zip(said, worth, strict=True)
        for c in compared
    ]
    outcomes = [c.target[0] for compared in said for c in compared]
    return calibration(margins, outcomes) if margins else (None, None, None)
