"""Who judges at a desk, and how far it all is: invitations, pauses, and progress by node and by rater."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection, Integer, and_, func, insert, or_, select, update

from rrm.desk.raters import Rater
from rrm.desk.tables import GOLD, Database, cases, meta, raters, verdicts
from rrm.errors import Refused
from rrm.inert import inert


class NodeProgress(NamedTuple):
    """How far the judging of one node is."""

    key: str
    """Of the node in the record."""
    node: str
    level: int
    cases: int
    judged: int
    """Cases that have all their verdicts."""
    taken: int
    """Cases whose verdicts the run has."""
    verdicts: int


class RaterProgress(NamedTuple):
    """How far one rater is."""

    name: str
    verdicts: int
    last: float | None
    """When the last was given."""
    paused: bool
    pace: float | None = None
    """The median of the seconds that their last verdicts took."""


RECENT = 20
"""Over so many of a rater's last verdicts their pace is taken."""

LONGEST = 80
"""Characters of a rater's name."""

OUT_OF_TIME = "out of time"
"""Why a page abstains by itself."""


class Register:
    """The raters of one desk."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db, self._clock = db, clock

    def secret(self) -> bytes:
        """The desk's own key, which signs links and sessions; made when it is first asked for."""
        with self._db.writing() as db:
            found = db.execute(select(meta.c.value).where(meta.c.key == "secret")).scalar()
            if found is None:
                found = secrets.token_hex(32)
                db.execute(insert(meta).values(key="secret", value=found))
        return bytes.fromhex(found)

    def invite(self, names: Sequence[str]) -> list[Rater]:
        """The raters of these names; those who are new are written down. Raises Refused for what is no name."""
        for name in names:
            if not 0 < len(name.strip()) <= len(name) <= LONGEST:
                raise Refused(f"{inert(name, 20)!r} is no rater's name: write 1 to {LONGEST} characters, as in ann")
        with self._db.writing() as db:
            there = set(db.execute(select(raters.c.name)).scalars())
            for name in dict.fromkeys(n for n in names if n not in there):
                db.execute(insert(raters).values(name=name, created=self._clock()))
        known = {rater.name: rater for rater in self.all()}
        return [known[name] for name in names]

    def all(self) -> list[Rater]:
        """Everybody who was invited, in order."""
        with self._db.reading() as db:
            rows = db.execute(select(raters.c.id, raters.c.name, raters.c.paused).order_by(raters.c.id))
            return [Rater(*row) for row in rows]

    def find(self, id: int) -> Rater | None:
        """One of them."""
        with self._db.reading() as db:
            row = db.execute(select(raters.c.id, raters.c.name, raters.c.paused).where(raters.c.id == id)).first()
        return Rater(*row) if row else None

    def pause(self, rater: int, paused: bool) -> None:
        """A paused rater is handed nothing; what they hold they may still judge."""
        with self._db.writing() as db:
            db.execute(update(raters).where(raters.c.id == rater).values(paused=paused))

    def of_rater(self, rater: int) -> tuple[int, int]:
        """How many cases this rater has judged, gold questions too, and how many may still come to them, without."""
        with self._db.reading() as db:
            done = db.execute(select(func.count()).where(verdicts.c.rater == rater)).scalar_one()
            theirs = or_(cases.c.only.is_(None), cases.c.only == rater)
            open_ = and_(cases.c.closed.is_(False), cases.c.said < cases.c.wanted)
            waits = and_(open_, theirs, cases.c.stream != GOLD)
            wait = db.execute(select(func.count()).where(waits)).scalar_one()
            mine = (
                select(func.count())
                .select_from(verdicts.join(cases, cases.c.seq == verdicts.c.case))
                .where(verdicts.c.rater == rater, waits)
            )
            return done, wait - db.execute(mine).scalar_one()

    def ran_out(self, rater: int) -> bool:
        """Whether the time of this rater's last case ran out: perhaps nobody sits there."""
        last = select(verdicts.c.body).where(verdicts.c.rater == rater).order_by(verdicts.c.at.desc()).limit(1)
        with self._db.reading() as db:
            body = db.execute(last).scalar()
        return body is not None and json.loads(body).get("reason") == OUT_OF_TIME

    def progress(self) -> tuple[list[NodeProgress], list[RaterProgress]]:
        """Every node that has lain on the desk, from the lowest level up, and every rater."""
        full = func.sum((cases.c.said >= cases.c.wanted).cast(Integer))
        taken = func.sum(cases.c.closed.cast(Integer))
        said = func.sum(cases.c.said)
        by_node = (
            select(cases.c.node_key, cases.c.node, func.min(cases.c.level), func.count(), full, taken, said)
            .where(cases.c.stream != GOLD)
            .group_by(cases.c.node_key, cases.c.node)
            .order_by(func.min(cases.c.level), cases.c.node)
        )
        given = (
            select(verdicts.c.rater, func.count().label("count"), func.max(verdicts.c.at).label("last"))
            .group_by(verdicts.c.rater)
            .subquery()
        )
        by_rater = (
            select(raters.c.id, raters.c.name, func.coalesce(given.c.count, 0), given.c.last, raters.c.paused)
            .outerjoin(given, given.c.rater == raters.c.id)
            .order_by(raters.c.id)
        )
        with self._db.reading() as db:
            nodes = [NodeProgress(row[0], row[1], *map(int, row[2:])) for row in db.execute(by_node)]
            who = db.execute(by_rater).all()
            return nodes, [RaterProgress(*row[1:], self._pace(db, row[0]) if row[2] else None) for row in who]

    def _pace(self, db: Connection, rater: int) -> float | None:
        last = select(verdicts.c.body).where(verdicts.c.rater == rater).order_by(verdicts.c.at.desc()).limit(RECENT)
        took = [json.loads(body).get("seconds") for body in db.execute(last).scalars()]
        return median(known) if (known := [s for s in took if s is not None]) else None


def seconds_of(verdict: str) -> float:
    """What a verdict took that is undone, by its text; of one that the page gave, none: the time starts anew."""
    said = json.loads(verdict)
    return 0.0 if said.get("reason") == OUT_OF_TIME else float(said.get("seconds") or 0.0)
