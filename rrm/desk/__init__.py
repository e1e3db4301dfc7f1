"""Where cases wait for people, and where what people say is kept: durable before it is acknowledged, each said once."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, select, update

from rrm.desk.raters import Rater
from rrm.desk.sheet import Sheet
from rrm.desk.tables import Database, cases, events, leases, meta, raters, verdicts
from rrm.errors import Refused, TooLate
from rrm.records import FEEDBACK, Feedback

LEASE = 900.0
"""For so many seconds a case is kept for whoever was handed it."""

_BATCH = 500


class Handed(NamedTuple):
    """A case in a rater's hands."""

    id: str
    sheet: Sheet
    began: float
    """When, by the desk's clock; a case that was judged and undone keeps the time that it took."""
    expires: float
    opened: tuple[str, ...]
    """Ids of the exhibits that this rater opened."""


class NodeProgress(NamedTuple):
    """How far the judging of one node is."""

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


class Desk:
    """One run's desk. Several servers, and the run itself, may use it at once.

    Locks are taken in one order, rater, lease, case (cases by number), so that on PostgreSQL nobody waits in a circle;
    on SQLite one writer works at a time.
    """

    def __init__(self, where: Path | str, *, lease: float = LEASE, clock: Callable[[], float] = time.time) -> None:
        """`where`: a file for SQLite, or any URL of SQLAlchemy. Raises StoreError, saying what to do, if it cannot."""
        self._lease, self._clock = lease, clock
        self._db = Database(where)

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    # -- for the run ----------------------------------------------------------------------------------------------

    def put(self, key: str, stream: str, sheets: Iterable[Sheet], *, wanted: int = 1) -> None:
        """Lay cases of a node on the desk, each for `wanted` raters; what lies there already stays as it is."""
        with self._db.writing() as db:
            here = and_(cases.c.node_key == key, cases.c.stream == stream)
            there = {row.id: row for row in db.execute(select(cases.c.id, cases.c.closed, cases.c.seq).where(here))}
            rows = []
            for sheet in sheets:
                id = case_id(key, sheet.case)
                if id not in there:
                    rows.append(
                        {
                            "id": id, "node_key": key, "node": sheet.node, "level": sheet.level, "stream": stream,
                            "wanted": wanted, "room": wanted, "body": sheet.body,
                        }
                    )  # fmt: skip
                elif there[id].closed:
                    self._reopen(db, there[id].seq)
            for start in range(0, len(rows), _BATCH):
                db.execute(insert(cases), rows[start : start + _BATCH])

    def _reopen(self, db: Connection, seq: int) -> None:
        """A case that was put away before it was judged, for the plan was another for a while."""
        held = select(func.count()).where(leases.c.case == seq, leases.c.lapsed.is_(False)).scalar_subquery()
        again = update(cases).where(cases.c.seq == seq, cases.c.said < cases.c.wanted)
        db.execute(again.values(closed=False, room=cases.c.wanted - cases.c.said - held))

    def collect(self, key: str, stream: str) -> dict[str, list[Feedback]]:
        """By id of the case in the record, what was said of those that have all their verdicts. From here on nobody
        can take it back; asked again, it says the same."""
        here = (cases.c.node_key == key, cases.c.stream == stream)
        with self._db.writing() as db:
            full = and_(*here, cases.c.closed.is_(False), cases.c.said >= cases.c.wanted)
            db.execute(select(cases.c.seq).where(full).order_by(cases.c.seq).with_for_update()).all()
            db.execute(update(cases).where(full).values(closed=True, room=0))
        wanted = (
            select(cases.c.id, verdicts.c.body)
            .join(verdicts, verdicts.c.case == cases.c.seq)
            .where(*here, cases.c.closed, cases.c.said >= cases.c.wanted)
            .order_by(cases.c.seq, verdicts.c.at, verdicts.c.rater)
        )
        found: dict[str, list[Feedback]] = {}
        with self._db.reading() as db:
            for id, body in db.execute(wanted):
                found.setdefault(id.rpartition("-")[2], []).append(FEEDBACK.validate_json(body))
        return found

    def put_away(self, keys: Collection[str]) -> None:
        """Close what waits for other nodes than these: nobody should judge for a plan that was changed."""
        with self._db.writing() as db:
            there = db.execute(select(cases.c.node_key).distinct().where(cases.c.closed.is_(False))).scalars().all()
            for key in sorted(set(there) - set(keys)):
                db.execute(update(cases).where(cases.c.node_key == key).values(closed=True, room=0))

    def is_due(self) -> bool:
        """Whether all that waited of some node is judged, so that the run can go on."""
        with self._db.reading() as db:
            waiting = cases.c.closed.is_(False)
            keys = db.execute(select(cases.c.node_key).distinct().where(waiting)).scalars().all()
            short = (
                select(cases.c.seq).where(cases.c.node_key == key, waiting, cases.c.said < cases.c.wanted).limit(1)
                for key in keys
            )
            return any(db.execute(one).first() is None for one in short)

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        with self._db.reading() as db:
            return db.execute(select(cases.c.seq).where(cases.c.closed.is_(False)).limit(1)).first() is None

    # -- for raters -----------------------------------------------------------------------------------------------

    def next(self, rater: int) -> Handed | None:
        """A case for this rater: the one that they hold, else the first that they have not judged and that others do
        not hold; None where nothing waits for them, or they are paused."""
        with self._db.writing() as db:
            known = self._rater(db, rater)
            if known.paused:
                return None
            now = self._clock()
            self._reclaim(db, now)
            seq = self._held(db, rater) or self._found(db, rater, known.after)
            if seq is None:
                return None
            expires = now + self._lease
            mine = and_(leases.c.rater == rater, leases.c.case == seq)
            if db.execute(update(leases).where(mine, leases.c.lapsed.is_(False)).values(expires=expires)).rowcount == 0:
                db.execute(update(cases).where(cases.c.seq == seq).values(room=cases.c.room - 1))
                db.execute(update(raters).where(raters.c.id == rater).values(after=seq))
                fresh = {"began": now, "expires": expires, "lapsed": False}
                if db.execute(update(leases).where(mine).values(**fresh)).rowcount == 0:
                    db.execute(insert(leases).values(rater=rater, case=seq, **fresh))
        return self._handed(rater, cases.c.seq == seq)

    def _held(self, db: Connection, rater: int) -> int | None:
        """The case that a rater holds; of several, the one that was touched last."""
        held = (
            select(leases.c.case)
            .join(cases, cases.c.seq == leases.c.case)
            .where(leases.c.rater == rater, leases.c.lapsed.is_(False), cases.c.closed.is_(False))
            .order_by(leases.c.expires.desc())
            .limit(1)
        )
        return db.execute(held).scalar()

    def _found(self, db: Connection, rater: int, after: int) -> int | None:
        """The first case with room that this rater has not had. New ones stand at the end, so looking begins behind
        the last that was handed out; what others gave back is found when there is nothing there."""
        judged = exists().where(verdicts.c.case == cases.c.seq, verdicts.c.rater == rater)
        for start in (after, 0) if after else (0,):
            wanted = select(cases.c.seq).where(cases.c.room > 0, cases.c.seq > start, ~judged)
            found = db.execute(
                wanted.order_by(cases.c.seq).limit(1).with_for_update(skip_locked=True, of=cases)
            ).scalar()
            if found is not None:
                return int(found)
        return None

    def _reclaim(self, db: Connection, now: float) -> None:
        """Give back what was kept for raters who went away."""
        late = and_(leases.c.expires < now, leases.c.lapsed.is_(False))
        rows = db.execute(
            select(leases.c.rater, leases.c.case)
            .where(late)
            .order_by(leases.c.case)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        for rater, seq in rows:
            db.execute(update(leases).where(leases.c.rater == rater, leases.c.case == seq).values(lapsed=True))
            db.execute(update(cases).where(cases.c.seq == seq, cases.c.closed.is_(False)).values(room=cases.c.room + 1))

    def holds(self, rater: int, id: str) -> Handed:
        """A case that was handed to this rater. Raises TooLate if it was not, or they have judged it."""
        found = self._handed(rater, cases.c.id == id)
        if found is None:
            raise self._too_late(rater, id)
        return found

    def _too_late(self, rater: int, id: str) -> TooLate:
        with self._db.reading() as db:
            judged = db.execute(
                select(verdicts.c.case)
                .join(cases, cases.c.seq == verdicts.c.case)
                .where(cases.c.id == id, verdicts.c.rater == rater)
            ).first()
        return TooLate("you have judged this case already" if judged else "this case was not handed to you")

    def _handed(self, rater: int, which: ColumnElement[bool]) -> Handed | None:
        held = (
            select(cases.c.seq, cases.c.id, cases.c.body, leases.c.began, leases.c.expires)
            .join(leases, leases.c.case == cases.c.seq)
            .where(which, leases.c.rater == rater)
        )
        with self._db.reading() as db:
            row = db.execute(held).first()
            if row is None:
                return None
            seen = select(events.c.what).where(
                events.c.case == row.seq, events.c.rater == rater, events.c.kind == "opened"
            )
            opened = tuple(dict.fromkeys(db.execute(seen.order_by(events.c.id)).scalars()))
        return Handed(row.id, Sheet.model_validate_json(row.body), row.began, row.expires, opened)

    def say(self, rater: int, id: str, feedback: Feedback) -> None:
        """Keep a verdict; when this returns, it is on the disk. Raises TooLate if it comes too late."""
        with self._db.writing() as db:
            self._rater(db, rater)
            seq = self._seq(db, id)
            mine = and_(leases.c.rater == rater, leases.c.case == seq)
            lease = db.execute(select(leases.c.lapsed).where(mine).with_for_update()).first()
            case = db.execute(select(cases).where(cases.c.seq == seq).with_for_update()).one()
            given = select(verdicts.c.case).where(verdicts.c.case == seq, verdicts.c.rater == rater)
            if db.execute(given).first():
                raise TooLate("you have judged this case already")
            if lease is None:
                raise TooLate("this case was not handed to you")
            if case.closed or case.said >= case.wanted or (lease.lapsed and case.room < 1):
                raise TooLate("this case went to somebody else meanwhile, or is no longer needed")
            room = case.room - 1 if lease.lapsed else case.room
            db.execute(delete(leases).where(mine))
            db.execute(insert(verdicts).values(case=seq, rater=rater, at=self._clock(), body=feedback.body))
            db.execute(update(cases).where(cases.c.seq == seq).values(said=case.said + 1, room=room))

    def undo(self, rater: int) -> str:
        """Take back this rater's last verdict; the case is in their hands again. Raises TooLate if there is none that
        can be taken back."""
        with self._db.writing() as db:
            self._rater(db, rater)
            mine = select(verdicts).where(verdicts.c.rater == rater).order_by(verdicts.c.at.desc()).limit(1)
            last = db.execute(mine).first()
            if last is None:
                raise TooLate("there is nothing to undo")
            case = db.execute(select(cases).where(cases.c.seq == last.case).with_for_update()).one()
            if case.closed:
                raise TooLate("the run has taken your last verdict already: it can no longer be undone")
            now, took = self._clock(), json.loads(last.body).get("seconds") or 0.0
            db.execute(delete(verdicts).where(verdicts.c.case == last.case, verdicts.c.rater == rater))
            db.execute(update(cases).where(cases.c.seq == last.case).values(said=case.said - 1))
            lease = {"rater": rater, "case": last.case, "began": now - took, "expires": now + self._lease}
            db.execute(insert(leases).values(**lease))
            db.execute(insert(events).values(case=last.case, rater=rater, at=now, kind="undo", what=last.body))
            return str(case.id)

    def note(self, rater: int, id: str, kind: str, what: str) -> None:
        """Keep that a rater did something with a case that they hold, as opening an exhibit."""
        with self._db.writing() as db:
            seq = self._seq(db, id)
            held = select(leases.c.case).where(leases.c.rater == rater, leases.c.case == seq)
            if db.execute(held).first() is None:
                raise TooLate("this case is not in your hands")
            db.execute(insert(events).values(case=seq, rater=rater, at=self._clock(), kind=kind, what=what))

    # -- who judges -----------------------------------------------------------------------------------------------

    def secret(self) -> bytes:
        """The desk's own key, which signs links and sessions; made when it is first asked for."""
        with self._db.writing() as db:
            found = db.execute(select(meta.c.value).where(meta.c.key == "secret")).scalar()
            if found is None:
                found = secrets.token_hex(32)
                db.execute(insert(meta).values(key="secret", value=found))
        return bytes.fromhex(found)

    def invite(self, names: Sequence[str]) -> list[Rater]:
        """The raters of these names; those who are new are written down."""
        with self._db.writing() as db:
            there = set(db.execute(select(raters.c.name)).scalars())
            for name in dict.fromkeys(n for n in names if n not in there):
                db.execute(insert(raters).values(name=name, created=self._clock()))
        known = {rater.name: rater for rater in self.raters()}
        return [known[name] for name in names]

    def raters(self) -> list[Rater]:
        """Everybody who was invited, in order."""
        with self._db.reading() as db:
            rows = db.execute(select(raters.c.id, raters.c.name, raters.c.paused).order_by(raters.c.id))
            return [Rater(*row) for row in rows]

    def rater(self, id: int) -> Rater | None:
        """One of them."""
        with self._db.reading() as db:
            row = db.execute(select(raters.c.id, raters.c.name, raters.c.paused).where(raters.c.id == id)).first()
        return Rater(*row) if row else None

    def pause(self, rater: int, paused: bool) -> None:
        """A paused rater is handed nothing; what they hold they may still judge."""
        with self._db.writing() as db:
            db.execute(update(raters).where(raters.c.id == rater).values(paused=paused))

    # -- how far it is --------------------------------------------------------------------------------------------

    def of_rater(self, rater: int) -> tuple[int, int]:
        """How many cases this rater has judged, and how many wait that they have not."""
        with self._db.reading() as db:
            done = db.execute(select(func.count()).where(verdicts.c.rater == rater)).scalar_one()
            wait = db.execute(select(func.count()).where(cases.c.closed.is_(False))).scalar_one()
            mine = (
                select(func.count())
                .select_from(verdicts.join(cases, cases.c.seq == verdicts.c.case))
                .where(verdicts.c.rater == rater, cases.c.closed.is_(False))
            )
            return done, wait - db.execute(mine).scalar_one()

    def progress(self) -> tuple[list[NodeProgress], list[RaterProgress]]:
        """Every node that has lain on the desk, from the lowest level up, and every rater."""
        full = func.sum((cases.c.said >= cases.c.wanted).cast(cases.c.seq.type))
        taken = func.sum(cases.c.closed.cast(cases.c.seq.type))
        by_node = (
            select(cases.c.node, func.min(cases.c.level), func.count(), full, taken, func.sum(cases.c.said))
            .group_by(cases.c.node_key, cases.c.node)
            .order_by(func.min(cases.c.level), cases.c.node)
        )
        given = (
            select(verdicts.c.rater, func.count().label("count"), func.max(verdicts.c.at).label("last"))
            .group_by(verdicts.c.rater)
            .subquery()
        )
        by_rater = (
            select(raters.c.name, func.coalesce(given.c.count, 0), given.c.last, raters.c.paused)
            .outerjoin(given, given.c.rater == raters.c.id)
            .order_by(raters.c.id)
        )
        with self._db.reading() as db:
            nodes = [NodeProgress(row[0], *map(int, row[1:])) for row in db.execute(by_node)]
            return nodes, [RaterProgress(*row) for row in db.execute(by_rater)]

    # -- parts ----------------------------------------------------------------------------------------------------

    def _rater(self, db: Connection, rater: int) -> Any:
        """A rater's row, held: what one rater does in two windows is done one after the other."""
        row = db.execute(select(raters).where(raters.c.id == rater).with_for_update()).first()
        if row is None:
            raise Refused("there is no such rater at this desk")
        return row

    def _seq(self, db: Connection, id: str) -> int:
        seq = db.execute(select(cases.c.seq).where(cases.c.id == id)).scalar()
        if seq is None:
            raise TooLate("this case was not handed to you")
        return int(seq)


def case_id(key: str, case: str) -> str:
    """What a case is called at the desk: the same case in two nodes is two."""
    return f"{key}-{case}"


def place_of(folder: Path) -> Path:
    """The file of a run's own desk."""
    return folder / "desk.sqlite"
