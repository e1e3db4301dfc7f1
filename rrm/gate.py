"""The gate that an agent passes before it may help others: it asks the user, with help, and never the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrm.measure import calibration
from rrm.records import Case, GateResult, Item, Response
from rrm.roles import Assistant, Judged, RewardModel
from rrm.seed import Seed
from rrm.training.feedback import choices, compares, favourites

if TYPE_CHECKING:
    from rrm.level import Level
    from rrm.node import Node

HANDFUL = 5
"""Answers that a person is shown beside the agent's at the gate, at least."""


def stand_at_gate(level: Level, number: int, agent: Assistant, reward: RewardModel) -> GateResult:
    """Have the user judge the agent's answers to fresh held-out items, beside other answers to them.

    *Agreement* is the share of the items that the user judged (an abstention is no verdict) on which the user finds no
    other answer better than the agent's, and most of them worse. *Recall* looks at those whose best answer, to the
    user, is not the most common one (the faults, where most is fine), and is the share of them on which the agent gave
    it: an agent that always says the usual thing has none.
    The same judgements, which no training sees, give the reward model's calibration.
    """
    node, stream, seed = level.node, f"gate-{number}", level.node.seed.at("gate", number)
    recorded = level.store.read(node.key, f"{stream}/cases", Case)
    level.watch("gate", 0, node.gate.items)
    if recorded:
        cases = list(recorded.values())
    else:
        items = [node.task.sample(seed.at("item", i).rng(), held_out=True) for i in range(node.gate.items)]
        seeds = [seed.at("case", i) for i in range(len(items))]
        own = agent.respond(items, n=1, seeds=seeds)
        bare = []
        for item, [answer], rest, at in zip(items, own, _others(level, agent, items, seeds), seeds, strict=True):
            texts = list(dict.fromkeys([answer, *rest]))
            shown = [Response(item=item.id, text=t, agent=node.name, sample=n) for n, t in enumerate(texts)]
            at.at("order").shuffle(shown)
            bare.append(Case(item=item, responses=tuple(shown)))
        cases = level.assist(stream, bare, seed.at("help"))
    return _result(level, number, level.judge(stream, cases, seed.at("judge")), reward)


def most_shown(node: Node) -> int:
    """How many answers to an item its gate shows at most, of an agent that keeps to the finite answer set, if any."""
    answers = node.task.answers(node.task.sample(node.seed.at("gate", "shown").rng()))
    if answers is not None and node.evaluator.reproducible:
        return len(answers)
    beside = _handful(node) + 1
    return beside if answers is None else min(beside, len(answers))


def _handful(node: Node) -> int:
    return max(node.effort.candidates, HANDFUL)


def _others(level: Level, agent: Assistant, items: Sequence[Item], seeds: Sequence[Seed]) -> Sequence[Sequence[str]]:
    """What the agent's answers stand beside. Of a finite answer set, all: beside one other guess, nearly any answer
    looks good. A person, or a set that is not finite, gets a handful of the agent's own other answers."""
    answers = level.node.task.answers(items[0])
    if answers is not None and level.node.evaluator.reproducible:
        return [answers] * len(items)
    few = _handful(level.node)
    return [row[:few] for row in agent.propose(items, n=few, seeds=seeds)]


def _result(level: Level, number: int, judged: Sequence[Judged], reward: RewardModel) -> GateResult:
    gate = level.node.gate
    best = [
        (next(r.text for r in case.responses if r.sample == 0), favourites(case, feedback))
        for case, feedback in judged
        if compares(case, feedback)
    ]
    common = Counter(text for _, texts in best for text in sorted(texts)).most_common(1)
    usual = common[0][0] if common else None
    agreed = sum(own in texts for own, texts in best)
    faults = [(own, texts) for own, texts in best if texts and usual not in texts]
    found = sum(own in texts for own, texts in faults)
    # An evaluator that says nothing has let nothing pass.
    fine = bool(best) and agreed >= gate.agreement * len(best) and found >= gate.recall * len(faults)
    log_loss, error, temperature = _calibration(judged, reward)
    return GateResult(
        moment=f"round-{number}",
        passed=fine,
        checked=len(best),
        agreed=agreed,
        faults=len(faults),
        found=found,
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
