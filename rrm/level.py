"""One turn of the recursion: gather help, ask for judgement, fit a reward model, improve the agent, again; publish.

Read this file first. Everything said is in the store before it is used, so a run that is killed anywhere goes on from
there and ends with the same bytes (Leike et al. 2018, section 3.2, for the recursion itself).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import process_time

from rrm.cases import Layout, unsettled
from rrm.errors import ComponentError, GateFailed, told_of
from rrm.exam import baselines, exam
from rrm.gate import stand_at_gate
from rrm.given import given
from rrm.hearing import Hearing, Watch, serving
from rrm.node import Node, Published, load, prepared, published, save, terms_of
from rrm.plan import Spot
from rrm.records import Case, Exam, GateResult
from rrm.roles import Asker, Assistant, Judged, RewardModel, SoFar, Turn
from rrm.spot import SpotCheck, told
from rrm.store import Store
from rrm.training.objective import objective


class Level:
    """Trains one node's agent, or finds it trained."""

    def __init__(
        self,
        node: Node,
        store: Store,
        watch: Watch = lambda stage, done, of, words: None,
        *,
        stops: Sequence[Spot] = (),
    ) -> None:
        """The level ends where spot checks find a helper that cannot be trusted by any of what `stops` needs."""
        self.node, self.store, self._told, self._stops = node, store, watch, stops
        self._seconds: dict[str, float] = {}
        self.hearing = Hearing(node, node.key, store, serving(node, store), watch, self._clock)
        self._spots = [SpotCheck(self.hearing, subtask) for subtask in node.helpers] if node.spot.on else []

    def watch(self, stage: str, done: int, of: int, words: str = "") -> None:
        """Say where the level is."""
        self._told(stage, done, of, words)

    # -- the loop -----------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Go through the rounds (from wherever an earlier run stopped), stand at the gate, publish.

        Raises Unfinished where cases wait for a person, GateFailed where it is to stop for what spot checks find.
        """
        node, gate = self.node, self.node.gate
        agent, reward = self._beginning()
        saved = self._newest_round()
        examined = {done.moment: done for done in self.store.read(node.key, "exam", Exam).values()}
        with self._clock("record"):
            judged = given(node, self.store)
        rounds, number = node.effort.rounds, 0
        while number < rounds:
            turn = Turn(number, rounds, fresh=node.start is None)
            new = self.ask(turn, agent, reward, judged)
            judged += new
            if number == saved:
                done = load(node, self.store, f"round-{number}", agent, turn)
                agent, reward = done.assistant, done.reward
            elif number > saved:
                agent, reward = self.learn(turn, judged, agent, reward, refit=bool(new) or not number)
            if number >= saved and f"round-{number}" not in examined:
                with self._clock("exam"):
                    first = examined.get("round-0")
                    result = exam(node, f"round-{number}", agent, reward, first=first, last=turn.last)
                    self.store.append(node.key, "exam", [result])
                    examined[result.moment] = result
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
        self._spot_check(turn.number, cases)
        return self.hearing.judge(stream, cases, node.seed.at("round", turn.number, "judge"))

    def learn(
        self, turn: Turn, judged: Sequence[Judged], agent: Assistant, reward: RewardModel | None, *, refit: bool = True
    ) -> tuple[Assistant, RewardModel]:
        """A reward model from all feedback so far, and a better agent.

        Without `refit` the reward model stays, as where nothing was said since. Another level's, with which this one
        begins, never does: it is the trainer of this level's rewards that says what becomes of it.
        """
        node, seed = self.node, self.node.seed.at("round", turn.number)
        self.watch("reward", turn.number, turn.of)
        with self._clock("reward"), told_of(f"{node.name}, round {turn.number}, cast.reward"):
            if refit or reward is None:
                reward = node.reward.fit(
                    judged, task=node.task, assistant=agent, start=reward, turn=turn, seed=seed.at("reward")
                )
        self.watch("policy", turn.number, turn.of)
        with self._clock("policy"), told_of(f"{node.name}, round {turn.number}, cast.policy"):
            aim = objective(reward, terms_of(node, self.store, turn.number + 1), turn, node.task)
            better = node.policy.improve(agent, node.task, aim, turn=turn, seed=seed.at("policy"))
        with self._clock("save"):
            done = Published(better, reward)
            self.store.save_agent(node.key, f"round-{turn.number}", lambda folder: save(done, folder))
            self.store.drop_agent(node.key, f"round-{turn.number - 1}")
        return better, reward

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
            layout, asker = Layout(node, known, rejected, seed), node.evaluator
            items = [] if isinstance(asker, Asker) else layout.items()
        with self._clock("respond"):
            asked = [one for one in before if one[0].asks]
            bare = layout.chosen(asker, asked) if isinstance(asker, Asker) else layout.cases(items)
        self.watch("ask", turn.number, turn.of)
        shared = node.effort.fresh == "run"
        return self.hearing.assist(stream, bare, node.seed.at("help") if shared else seed.at("help"))

    def _spot_check(self, number: int, cases: Sequence[Case]) -> None:
        """Before anybody relies on what helpers said of these cases, a little of it is checked."""
        for check in self._spots:
            with self._clock("spot"):
                result = check.of_round(number, cases)
            asked = any(e.query and e.query.subtask == result.subtask for case in cases for e in case.exhibits)
            words = told(result) if asked else ""  # of whom nobody was asked there is nothing to say
            self.watch("spot" if result.trusted else "alarm", number, self.node.effort.rounds, words)
            if self._stops and not any(check.trusted_by(needed) for needed in self._stops):
                raise GateFailed(
                    f"{words}. Train {result.helper} better, or mend what stands before it; or set "
                    'spot = "warn" to go on regardless.'
                )

    def _gate(self, number: int, agent: Assistant, reward: RewardModel | None) -> bool:
        moment = f"round-{number}"
        done = {g.moment: g for g in self.store.read(self.node.key, "gate", GateResult).values()}
        if moment not in done:
            if reward is None:
                raise ComponentError(f"{self.node.name}: {moment} has no reward model to stand at the gate with")
            with self._clock("gate"):
                done[moment] = stand_at_gate(self.hearing, number, agent, reward)
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
