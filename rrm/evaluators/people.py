"""People at a browser: lays cases on the run's desk, and takes what was said of those that have all their verdicts."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator

from rrm.desk import Desk, place_of
from rrm.desk.sheet import KINDS, Kind, Sheet, natural, possible, sheet_of
from rrm.desk.together import Weigh, together
from rrm.errors import PlanError
from rrm.evaluators import _gold
from rrm.raters.weights import UNKNOWN, weights
from rrm.records import Case, Feedback
from rrm.roles import Evaluator, GivenTerm, Room, Seat, Task
from rrm.seed import Seed

DESK = "RRM_DESK"
"""The environment's variable that names another database for the desk: it may hold a password, which is for no plan."""


class People(Evaluator):
    """Asks whoever `rrm judge` has invited, and does not wait for them: a run that needs their verdicts ends with exit
    code 3, and goes on when it is run again, or when `rrm judge` runs it.

    Cases lie on the desk of the run (`desk.sqlite` in its folder, or the database that RRM_DESK names). What one rater
    said is recorded under their name; what several said becomes one verdict, and the desk keeps each.
    """

    class Settings(Evaluator.Settings):
        raters: int = Field(default=1, ge=1, le=1000)
        """By how many different raters each case is judged."""
        kinds: tuple[Kind, ...] = ()
        """What may be said; a rater chooses among those that fit a case. Empty: what is natural to it. At gates,
        spot checks and trials, where answers are compared, it is always that."""
        folded: bool = True
        """Whether exhibits are shut until somebody opens them. It is recorded which were opened."""
        limit: float | None = Field(default=None, gt=0)
        """Seconds for each case; then the page says "cannot tell" for whoever has not."""

        weigh: Literal["equal", "dawid-skene"] = "equal"
        """What each counts where several judged a case: all the same; or by how far they agree with what all together
        say (Dawid and Skene 1979), of all cases of the node so far. Then a round is taken once it is judged whole."""
        gold: float = Field(default=0.0, ge=0, le=0.5)
        """Which part of each rater's work in rounds is gold questions, whose right verdict is known. What is said of
        them is counted at the desk, and never learnt from."""
        gold_file: str = ""
        """A file of gold questions, one line of JSON each. Empty: cases of the round once more, of which the task's
        truth says which answer is best."""
        gold_told: bool = False
        """Whether a rater who gets one wrong is told so, and what is right."""

        @field_validator("kinds", mode="before")
        @classmethod
        def _one_will_do(cls, value: object) -> object:
            return (value,) if isinstance(value, str) else value

    settings: Settings
    paths = ("gold_file",)

    person = True
    takes_asked = True

    @property
    def voices(self) -> int:
        return self.settings.raters

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._node, self._level = "", 0
        self._room: Room | None = None

    def reads(self) -> Sequence[Path | bytes]:
        return [Path(self.settings.gold_file)] if self.settings.gold and self.settings.gold_file else ()

    def check(self, task: Task) -> None:
        """Raises PlanError also where gold questions could not be told right from wrong."""
        kinds = self.settings.kinds
        if self.settings.gold and kinds and not {"preference", "ranking", "rating", "approval"} & set(kinds):
            raise PlanError("gold: of these kinds none is right or wrong: add preference, ranking, rating or approval")
        if self.settings.gold and self.settings.gold_file:
            _gold.read(Path(self.settings.gold_file), task)

    def seated(self, node: str, level: int) -> Self:
        new = copy.copy(self)
        new._node, new._level = node, level
        return new

    def heard_in(self, room: Room) -> Self:
        new = copy.copy(self)
        new._room = room
        return new

    def how_to_go_on(self, folder: Path) -> str:
        return f"`rrm judge {folder}` serves the page on which people judge them, and goes on with the run."

    def within(self, seconds: float) -> Self:
        new = copy.copy(self)
        new.settings = self.settings.model_copy(update={"limit": seconds})
        return new

    def judge_seats(self, task: Task, seats: Sequence[Seat], *, seed: Seed) -> Iterator[Feedback]:
        """All seats are laid out at once, each for the rater of its number among people: the first link is the first
        person's."""
        if self._room is None:
            return
        desk, room = Desk(os.environ.get(DESK) or place_of(self._room.folder)), self._room
        try:
            for seat in seats:
                stream = f"seat-{seat.rater}"
                users = [self if s is None else self.within(s) for s in seat.seconds]
                laid = (user._sheet(task, case, room) for user, case in zip(users, seat.cases, strict=True))
                desk.tray.put(room.key, stream, laid, only=seat.person + 1)
                said = desk.tray.collect(room.key, stream)
                yield from (said[case.id][0] for case in seat.cases if case.id in said)
        finally:
            desk.close()

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        if self._room is None or not cases:  # outside of a run there is no desk, and nobody to ask
            return
        desk = Desk(os.environ.get(DESK) or place_of(self._room.folder))
        try:
            streams: dict[str, list[Case]] = {}
            for case in cases:
                streams.setdefault(case.place.rpartition("/")[0], []).append(case)
            for stream, found in streams.items():
                sheets = (self._sheet(task, case, self._room) for case in found)
                desk.tray.put(self._room.key, stream, sheets, wanted=self.settings.raters)
                self._mix(desk, task, found, stream, self._room, seed)
                if self.settings.weigh == "dawid-skene" and not desk.tray.is_full(self._room.key, stream):
                    continue  # what each counts would depend on who was first
                said = desk.tray.collect(self._room.key, stream)
                weigh = self._weigh(desk, self._room.key, stream)
                yield from (together(case, said[case.id], weigh) for case in found if case.id in said)
        finally:
            desk.close()

    def _mix(self, desk: Desk, task: Task, cases: Sequence[Case], stream: str, room: Room, seed: Seed) -> None:
        """Lay down the gold questions of a round with its cases."""
        rate, key = self.settings.gold, room.key
        if not rate or _is_checking(cases[0]) or desk.gold.lies(key, stream):
            return
        file = self.settings.gold_file
        known = (
            _gold.read(Path(file), task)
            if file
            else _gold.of_truth(task, cases, rate=rate, seed=seed.at("gold", stream))
        )
        laid = ((gold, self._sheet(task, gold.case, room)) for gold in known)
        desk.gold.put(key, stream, laid, rate=rate, tell=self.settings.gold_told)

    def _weigh(self, desk: Desk, key: str, stream: str) -> Weigh:
        """What each rater counts in a round, which stands on the desk from the first time on that it is asked."""
        if self.settings.weigh == "equal" or self.settings.raters == 1:
            return lambda feedback: 1.0
        found = desk.ledger.weights(key).get(stream)
        if found is None:
            found = weights((v.rater, v.case, v.feedback) for v in desk.ledger.of_node(key))
            desk.ledger.weigh(key, stream, found)
        return lambda feedback: found.get(feedback.evaluator, UNKNOWN)

    def _sheet(self, task: Task, case: Case, room: Room) -> Sheet:
        return sheet_of(
            task,
            case,
            node=self._node,
            level=self._level,
            helpers=room.helpers,
            kinds=self._kinds(task, case, room.terms),
            folded=self.settings.folded,
            limit=self.settings.limit,
            terms=room.terms,
        )

    def _kinds(self, task: Task, case: Case, terms: Sequence[GivenTerm] = ()) -> list[Kind]:
        if asked := [kind for kind in KINDS if kind == case.asks and possible(kind, task, case, terms)]:
            return asked
        chosen = [kind for kind in self.settings.kinds if possible(kind, task, case, terms)]
        return chosen if chosen and not _is_checking(case) else natural(task, case)


def _is_checking(case: Case) -> bool:
    """Whether an agent is checked, or a trial done, rather than learnt from what is said."""
    return case.place.startswith(("gate-", "spot-", "trial/"))
