"""People at a browser: lays cases on the run's desk, and takes what was said of those that have all their verdicts."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator

from rrm.desk import Desk, place_of
from rrm.desk.sheet import KINDS, Kind, Sheet, natural, possible, sheet_of
from rrm.desk.together import together
from rrm.records import Case, Feedback
from rrm.roles import Evaluator, Room, Seat, Task
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

        @field_validator("kinds", mode="before")
        @classmethod
        def _one_will_do(cls, value: object) -> object:
            return (value,) if isinstance(value, str) else value

    settings: Settings

    person = True

    @property
    def voices(self) -> int:
        return self.settings.raters

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._node, self._level = "", 0
        self._room: Room | None = None

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
        """All seats are laid out at once, each for the rater of its number: the first link is the first seat's."""
        if self._room is None:
            return
        desk, room = Desk(os.environ.get(DESK) or place_of(self._room.folder)), self._room
        try:
            for seat in seats:
                stream = f"seat-{seat.rater}"
                users = [self if s is None else self.within(s) for s in seat.seconds]
                laid = (user._sheet(task, case, room) for user, case in zip(users, seat.cases, strict=True))
                desk.tray.put(room.key, stream, laid, only=seat.rater + 1)
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
                said = desk.tray.collect(self._room.key, stream)
                yield from (together(case, said[case.id]) for case in found if case.id in said)
        finally:
            desk.close()

    def _sheet(self, task: Task, case: Case, room: Room) -> Sheet:
        return sheet_of(
            task,
            case,
            node=self._node,
            level=self._level,
            helpers=room.helpers,
            kinds=self._kinds(task, case),
            folded=self.settings.folded,
            limit=self.settings.limit,
        )

    def _kinds(self, task: Task, case: Case) -> list[Kind]:
        checking = case.place.startswith(("gate-", "spot-", "trial/"))
        if asked := [kind for kind in KINDS if kind == case.asks and possible(kind, task, case)]:
            return asked
        chosen = [kind for kind in self.settings.kinds if possible(kind, task, case)]
        return chosen if chosen and not checking else natural(task, case)
