"""Spot checks: while a node learns with help, a few of its helpers' answers are put before the helpers' own users.

A gate is passed once, on questions that the helper was trained for. What it is asked later may differ, and what stands
between it and those it helps may break; then those above learn from what is wrong, and nothing else would show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rrm.figures import bounds, number
from rrm.gate import beside_others, tally
from rrm.hearing import Hearing, serving
from rrm.measure import Figure, wilson
from rrm.node import published
from rrm.plan import Spot
from rrm.records import Case, Item, SpotResult
from rrm.roles import Judged
from rrm.seed import Seed

FEW = 5
"""Of fewer verdicts no alarm is raised: Wilson's interval is too narrow there. Looked at in each of 23 rounds, with two
verdicts more each, a helper with whose answers its user agrees 97 times in 100 is then called bad (.9 needed) in 1 run
of 287; one that finds 9 faults in 10 (.75 needed), in 1 of 552; one that is just as good as needed, in 1 of 7 or 8."""

POOL = 256
"""Of so many of a round's questions, drawn from all, the helper's reward model is asked which are uncommon."""

PARTS = ("drawn", "chosen")
"""Half of the checks are drawn from all questions; the others from those that are probably faults."""

Told = tuple[Item, str]
"""A question, and what the helper said to it."""


class SpotCheck:
    """What the user of the node that serves a subtask says of the answers that it gives there."""

    def __init__(self, hearing: Hearing, subtask: str) -> None:
        """`hearing`: that of the node that is helped, in whose record all of it stands."""
        self._above, self._subtask = hearing.node, subtask
        helper, _ = self._above.helpers[subtask]
        self._seat = f"{helper.name}, spot check of what it tells {self._above.name}"
        self._helper = replace(helper, evaluator=helper.evaluator.seated(self._seat, helper.level))
        self._agent = hearing.helpers[subtask].assistant
        self._hearing = replace(hearing, node=self._helper, helpers=serving(helper, hearing.store))
        self._judged: dict[str, list[Judged]] = {part: [] for part in PARTS}
        self._found: list[SpotResult] = []

    def of_round(self, number: int, cases: Sequence[Case]) -> SpotResult:
        """Check some of what the helper said of these cases; record what all checks up to here come to.

        Raises Unfinished if the user stops early.
        """
        hearing, seed = self._hearing, self._above.seed.at("spot", number, self._subtask)
        recorded = {
            part: list(hearing.store.read(hearing.key, f"{self._stream(number, part)}/cases", Case).values())
            for part in PARTS
        }
        picked = {} if all(recorded.values()) else self._pick(cases, seed.at("pick"))
        hearing.watch("spot", 0, self._above.spot.items, "")
        judged = {}
        for part in PARTS:
            if shown := recorded[part] or self._shown(number, part, picked[part], seed.at(part)):
                judged[part] = hearing.judge(self._stream(number, part), shown, seed.at(part, "judge"))
        for part, said in judged.items():
            self._judged[part] += said
        return self._result(f"round-{number}")

    def trusted_by(self, needed: Spot) -> bool:
        """Whether the helper could be trusted so far by other shares than this node's own."""
        return all(result.trusted for result in rejudged(self._found, needed))

    def _stream(self, number: int, part: str) -> str:
        return f"spot-{number}/{self._subtask}/{part}"

    def _pick(self, cases: Sequence[Case], seed: Seed) -> dict[str, list[Told]]:
        """Which answers are checked: each question once, so that those which come up seldom have their chance.

        Faults are rare where most is fine (one report in a hundred), and recall would stay unknown for long. So half of
        the checks go to questions whose best answer, to the helper's own reward model, is not the most common one. What
        the helper answered has no part in the choice: recall is not made to look worse than it is.
        """
        before = {(c.item.prompt, _own(c)) for judged in self._judged.values() for c, _ in judged}
        said = [
            (e.query.item, e.text)
            for case in cases
            for e in case.exhibits
            if e.query and e.query.subtask == self._subtask
        ]
        pool = list({(item.prompt, text): (item, text) for item, text in said}.items())
        fresh = [told for key, told in pool if key not in before]
        seed.rng().shuffle(fresh)
        items = self._above.spot.items
        uncommon = self._uncommon(fresh[:POOL])
        if not uncommon:
            return {"drawn": fresh[:items], "chosen": []}
        drawn = items - items // 2
        return {"drawn": fresh[:drawn], "chosen": [t for t in fresh[drawn:POOL] if t[0].id in uncommon][: items // 2]}

    def _uncommon(self, pool: Sequence[Told]) -> set[str]:
        """Ids of the questions that are probably faults; without a finite answer set, nobody can tell which are."""
        answers = self._helper.task.answers(pool[0][0]) if pool else None
        if answers is None:
            return set()
        questions = [item for item, _ in pool]
        scores = published(self._helper, self._hearing.store).reward.score(questions, [answers] * len(pool)).mean
        best = [int(row.argmax()) for row in scores]
        usual = min(Counter(best).items(), key=lambda entry: (-entry[1], entry[0]))[0]
        return {item.id for item, at in zip(questions, best, strict=True) if at != usual}

    def _shown(self, number: int, part: str, told: Sequence[Told], seed: Seed) -> list[Case]:
        if not told:
            return []
        seeds = [seed.at("case", i) for i in range(len(told))]
        bare = beside_others(self._helper, self._agent, [i for i, _ in told], [text for _, text in told], seeds)
        return self._hearing.assist(self._stream(number, part), bare, seed.at("help"))

    def _result(self, moment: str) -> SpotResult:
        store, key, needed = self._hearing.store, self._hearing.key, self._above.spot
        counted = tally(self._judged["drawn"], self._judged["chosen"])
        result = SpotResult(
            moment=moment,
            subtask=self._subtask,
            helper=self._helper.name,
            **counted._asdict(),
            agreement_needed=needed.agreement,
            recall_needed=needed.recall,
            trusted=True,
        )
        self._found.append(result)
        result = rejudged(self._found, needed)[-1]
        done = store.read(key, "spot", SpotResult).values()
        if not any((r.moment, r.subtask) == (moment, self._subtask) for r in done):
            store.append(key, "spot", [result])
        return result


def rejudged(results: Sequence[SpotResult], needed: Spot) -> list[SpotResult]:
    """What checks of one helper came to, round by round, held against what a plan needs: arms that need other shares
    are one node, and its record has the counts of all."""
    found, trusted = [], True
    for result in results:
        held = result.model_copy(update={"agreement_needed": needed.agreement, "recall_needed": needed.recall})
        trusted = trusted and not any(short for _, short in _shares(held))
        found.append(held.model_copy(update={"trusted": trusted}))
    return found


def agreement(result: SpotResult) -> Figure | None:
    """Of the helper's answers, the share with which its user agreed; None: none was judged."""
    return wilson(result.agreed, result.checked)


def recall(result: SpotResult) -> Figure | None:
    """Of the questions whose best answer is not the usual one, the share on which the helper gave it."""
    return wilson(result.found, result.faults)


def told(result: SpotResult) -> str:
    """In words, and which share is less than what is needed: "spot checks of a: recall .12 [.04, .31] of 25 faults,
    .75 needed, …"."""
    words = [text for text, _ in _shares(result)]
    end = "" if result.trusted else ": what it says cannot be trusted"
    return f"spot checks of {result.helper} ({result.subtask}): {'; '.join(words) or 'nothing was judged yet'}{end}"


def _shares(result: SpotResult) -> list[tuple[str, bool]]:
    """Both shares in words, and whether each is shown to be less than what is needed."""
    found = []
    for name, figure, what, needed in (
        ("recall", recall(result), "faults", result.recall_needed),
        ("agreement", agreement(result), "answers", result.agreement_needed),
    ):
        if figure is not None:
            short = figure.n >= FEW and figure.high is not None and figure.high < needed
            words = f"{name} {number(figure.mean)} {bounds(figure)} of {figure.n} {what}"
            found.append((f"{words}, {number(needed)} needed" if short else words, short))
    return found


def _own(case: Case) -> str:
    return next(r.text for r in case.responses if r.sample == 0)
