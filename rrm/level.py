"""One turn of the recursion: gather help, ask for judgement, fit a reward model, improve the agent, again; publish.

Read this file first. Everything said is in the store before it is used, so a run that is killed anywhere goes on from
there and ends with the same bytes (Leike et al. 2018, section 3.2, for the recursion itself).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import process_time

from rrm.asking import Helper, Helpers, Wave, ask_all
from rrm.errors import ComponentError, Unfinished, told_of
from rrm.exam import baselines, exam
from rrm.gate import stand_at_gate
from rrm.node import Node, Published, load, prepared, published, save
from rrm.records import FEEDBACK, Case, Exam, Exhibit, Feedback, GateResult, Item, Response
from rrm.roles import Assistant, Judged, RewardModel, SoFar, Task, Turn
from rrm.seed import Seed
from rrm.store import Store
from rrm.training.feedback import favourite
from rrm.training.objective import objective

Unsettled = tuple[Item, frozenset[str]]
"""An item, and the answers to it that were shown without any being marked."""

Watch = Callable[[str, int, int], None]
"""Told where a level is: what it does, how much of it is done, out of how much."""


class Level:
    """Trains one node's agent, or finds it trained."""

    def __init__(self, node: Node, store: Store, watch: Watch = lambda stage, done, of: None) -> None:
        self.node, self.store, self.watch = node, store, watch
        self._seconds: dict[str, float] = {}
        self._helpers = {
            subtask: Helper(helper.name, wrap(published(helper, store).assistant), _question(node.task, subtask))
            for subtask, (helper, wrap) in node.helpers.items()
        }

    # -- the loop -----------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Go through the rounds (from wherever an earlier run stopped), stand at the gate, publish.

        Raises Unfinished where cases wait for a person.
        """
        node, gate = self.node, self.node.gate
        agent, reward = self._beginning()
        saved = self._newest_round()
        examined = {done.moment for done in self.store.read(node.key, "exam", Exam).values()}
        judged: list[Judged] = []
        rounds, number = node.effort.rounds, 0
        while number < rounds:
            turn = Turn(number, rounds, fresh=node.start is None)
            new = self.ask(turn, agent, reward, judged)
            judged += new
            if number == saved:
                done = load(node, self.store, f"round-{number}", agent, turn)
                agent, reward = done.assistant, done.reward
            elif number > saved:
                agent, reward = self.learn(turn, judged, agent, reward, refit=bool(new))
            if number >= saved and f"round-{number}" not in examined:
                with self._clock("exam"):
                    result = exam(node, f"round-{number}", agent, reward if turn.last else None)
                    self.store.append(node.key, "exam", [result])
            if turn.last and gate.on_fail != "off" and not self._gate(number, agent, reward):
                rounds = min(rounds + 1, node.effort.rounds + gate.extra_rounds)
            self._clock_off()
            number += 1
        self.store.promote_agent(node.key, f"round-{rounds - 1}", "published")

    def ask(
        self, turn: Turn, agent: Assistant, reward: RewardModel | None, before: Sequence[Judged] = ()
    ) -> list[Judged]:
        """One round's cases, each with help and judged: from the record as far as they are there."""
        node, stream = self.node, str(turn.number)
        recorded = self.store.read(node.key, f"{stream}/cases", Case)
        cases = list(recorded.values()) if recorded else self._draw(turn, agent, reward, before)
        return self.judge(stream, cases, node.seed.at("round", turn.number, "judge"))

    def learn(
        self, turn: Turn, judged: Sequence[Judged], agent: Assistant, reward: RewardModel | None, *, refit: bool = True
    ) -> tuple[Assistant, RewardModel]:
        """A reward model from all feedback so far (the one before, if nothing was said since), and a better agent."""
        node, seed = self.node, self.node.seed.at("round", turn.number)
        self.watch("reward", turn.number, turn.of)
        with self._clock("reward"), told_of(f"{node.name}, round {turn.number}, cast.reward"):
            if refit or reward is None:
                reward = node.reward.fit(
                    judged, task=node.task, assistant=agent, start=reward, turn=turn, seed=seed.at("reward")
                )
        learnt = reward
        self.watch("policy", turn.number, turn.of)
        with self._clock("policy"), told_of(f"{node.name}, round {turn.number}, cast.policy"):
            aim = objective(learnt, node.terms, turn, node.task)
            better = node.policy.improve(agent, node.task, aim, turn=turn, seed=seed.at("policy"))
        with self._clock("save"):
            done = Published(better, learnt)
            self.store.save_agent(node.key, f"round-{turn.number}", lambda folder: save(done, folder))
            self.store.drop_agent(node.key, f"round-{turn.number - 1}")
        return better, learnt

    # -- parts --------------------------------------------------------------------------------------------------

    def _beginning(self) -> tuple[Assistant, RewardModel | None]:
        """The untrained agent, its reward model if it starts from another's; and, once, the exams before training."""
        node, store = self.node, self.store
        if not store.length(node.key, "exam"):
            self.watch("baselines", 0, 1)
            with self._clock("exam"):
                store.append(node.key, "exam", baselines(node, store), first=0)
        return prepared(node, store), published(node.start, store).reward if node.start else None

    def _newest_round(self) -> int:
        """The last round whose result was saved, or -1."""
        most = self.node.effort.rounds + self.node.gate.extra_rounds
        return max((n for n in range(most) if self.store.has_agent(self.node.key, f"round-{n}")), default=-1)

    def _draw(self, turn: Turn, agent: Assistant, reward: RewardModel | None, before: Sequence[Judged]) -> list[Case]:
        """Items, answers to each, and the help that the protocol gathers: every step one batch."""
        node, seed, stream = self.node, self.node.seed.at("round", turn.number), str(turn.number)
        self.watch("answer", turn.number, turn.of)
        with self._clock("items"):
            rejected = unsettled(before)
            known = SoFar(turn, agent, reward if turn.number else None, [item for item, _ in rejected.values()])
            items = node.selection.choose(
                node.task, node.effort.cases_in(turn.number), so_far=known, seed=seed.at("items")
            )
        with self._clock("respond"):
            seeds = [seed.at("case", i) for i in range(len(items))]
            shown = self._candidates(known, items, rejected, seeds)
            bare = [_bare(item, texts, node.name, at) for item, texts, at in zip(items, shown, seeds, strict=True)]
        self.watch("ask", turn.number, turn.of)
        return self.assist(stream, bare, seed.at("help") if node.effort.fresh != "run" else node.seed.at("help"))

    def _candidates(
        self, known: SoFar, items: Sequence[Item], rejected: Mapping[str, Unsettled], seeds: Sequence[Seed]
    ) -> list[list[str]]:
        """Answers to show: of an item that was shown before and is still unsettled, first those not yet rejected."""
        wanted, selection = self.node.effort.candidates, self.node.selection
        seen = [rejected[item.prompt][1] if item.prompt in rejected else frozenset() for item in items]
        many = max((len(texts) for texts in seen), default=0)
        proposed = known.assistant.propose(items, n=selection.proposals(wanted) + many, seeds=seeds)
        fresh = [sorted(texts, key=no.__contains__) if no else texts for texts, no in zip(proposed, seen, strict=True)]
        return selection.narrow(items, fresh, wanted, so_far=known)

    def assist(self, stream: str, bare: Sequence[Case], seed: Seed) -> list[Case]:
        """Gather the protocol's exhibits, recording each wave of answers before it is used; record the cases."""
        node, key = self.node, self.node.key

        def record(number: int, wave: Wave) -> None:
            with self._clock("record"):
                self.store.write(
                    key, f"{stream}/answers/{number}", ((i, e) for i, e in enumerate(wave) if e is not None)
                )

        def recorded(number: int, size: int) -> Wave | None:
            found = self.store.read(key, f"{stream}/answers/{number}", Exhibit)
            return [found.get(i) for i in range(size)] if found else None

        with self._clock("ask"):
            node.task.foresee(bare)
            helpers = Helpers(self._helpers, seed=seed, fresh=node.effort.fresh)
            exhibits = ask_all(
                (node.protocol.assist(node.task, case) for case in bare), helpers, record=record, recorded=recorded
            )
        cases = [
            Case(item=c.item, responses=c.responses, exhibits=e, place=f"{stream}/{i}")
            for i, (c, e) in enumerate(zip(bare, exhibits, strict=True))
        ]
        with self._clock("record"):
            self.store.append(key, f"{stream}/cases", cases, first=0)
        return cases

    def judge(self, stream: str, cases: Sequence[Case], seed: Seed) -> list[Judged]:
        """The evaluator's feedback on each case: what is recorded already, and the rest as it arrives.

        Raises Unfinished if the evaluator stops early, ComponentError if it speaks of a case it was not given.
        """
        node, place = self.node, {case.id: i for i, case in enumerate(cases)}
        done: dict[int, Feedback] = self.store.read(node.key, f"{stream}/feedback", FEEDBACK)
        waiting = [case for i, case in enumerate(cases) if i not in done]
        if waiting:
            told = len(done)
            with self._clock("judge"):
                batch: list[tuple[int, Feedback]] = []
                for feedback in node.evaluator.judge(node.task, waiting, seed=seed, done=told):
                    where = place.get(feedback.case)
                    if where is None or where in done:
                        raise ComponentError(f"{node.evaluator.name()!r} judged a case that it was not given, or twice")
                    done[where] = feedback
                    batch.append((where, feedback))
                    self.watch("judge", len(done), len(cases))
                    if not node.evaluator.reproducible or len(batch) >= 1000:
                        self.store.write(node.key, f"{stream}/feedback", batch)
                        batch = []
            with self._clock("record"):
                self.store.write(node.key, f"{stream}/feedback", batch)
        if missing := len(cases) - len(done):
            which = f"round {stream}" if stream.isdigit() else "its gate"
            raise Unfinished(
                f"{node.name}, {which}: {missing} of {len(cases)} cases still wait for a verdict. What was judged is "
                "kept: run the same command again to go on."
            )
        return [(case, done[i]) for i, case in enumerate(cases)]

    def _gate(self, number: int, agent: Assistant, reward: RewardModel | None) -> bool:
        moment = f"round-{number}"
        done = {g.moment: g for g in self.store.read(self.node.key, "gate", GateResult).values()}
        if moment not in done:
            if reward is None:
                raise ComponentError(f"{self.node.name}: {moment} has no reward model to stand at the gate with")
            with self._clock("gate"):
                done[moment] = stand_at_gate(self, number, agent, reward)
                self.store.append(self.node.key, "gate", [done[moment]])
        return done[moment].passed

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        """Count CPU-seconds to a stage; those of a stage within it count to that one alone."""
        before, inner = process_time(), sum(self._seconds.values())
        try:
            yield
        finally:
            spent = process_time() - before - (sum(self._seconds.values()) - inner)
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def _clock_off(self) -> None:
        self.store.spend(self.node.key, self._seconds)
        self._seconds = {}


def unsettled(judged: Sequence[Judged]) -> dict[str, Unsettled]:
    """By prompt, the items none of whose shown answers was ever put above the others, and those answers."""
    found: dict[str, Unsettled] = {}
    settled: set[str] = set()
    for case, feedback in judged:
        prompt = case.item.prompt
        if prompt in settled:
            continue
        if favourite(case, feedback) is not None:
            settled.add(prompt)
            found.pop(prompt, None)
        elif feedback.comparisons:
            old = found[prompt][1] if prompt in found else frozenset()
            found[prompt] = case.item, old | {r.text for r in case.responses}
    return found


def _bare(item: Item, texts: Sequence[str], agent: str, seed: Seed) -> Case:
    """A case without help. Which answer stands first is drawn, for some evaluators favour a position."""
    distinct = list(dict.fromkeys(texts))
    seed.at("order").shuffle(distinct)
    about = item.id
    return Case(
        item=item, responses=tuple(Response(item=about, text=t, agent=agent, sample=n) for n, t in enumerate(distinct))
    )


def _question(task: Task, subtask: str) -> str:
    return next((s.question for s in task.subtasks if s.name == subtask), "")
