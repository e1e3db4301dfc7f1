"""Where cases wait for people, and where what people say is kept: durable before it is acknowledged, each said once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, or_, select, update

from rrm.desk.gold import Golds
from rrm.desk.ledger import Ledger
from rrm.desk.register import Register, seconds_of
from rrm.desk.sheet import Asked, Sheet
from rrm.desk.tables import GOLD, Database, cases, events, leases, raters, verdicts
from rrm.desk.tray import Tray
from rrm.errors import Refused, TooLate
from rrm.records import Feedback

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
    asked: tuple[Asked, ...] = ()
    """What they had helpers' own helpers asked."""
    started: bool = False
    """Whether the page has shown it, so that its clock runs."""


class Desk:
    """One run's desk. Several servers, and the run itself, may use it at once. Here cases are handed out and verdicts
    taken; `tray` is the run's side of it, `register` knows the raters, `gold` the questions whose answers are known,
    and `ledger` what was said, for whoever looks after the raters.

    Locks are taken in one order, rater, lease, case (cases by number), so that on PostgreSQL nobody waits in a circle;
    on SQLite one writer works at a time.
    """

    def __init__(self, where: Path | str, *, lease: float = LEASE, clock: Callable[[], float] = time.time) -> None:
        """`where`: a file for SQLite, or any URL of SQLAlchemy. Raises StoreError, saying what to do, if it cannot."""
        self._lease, self._clock = lease, clock
        self._db = Database(where)
        self.tray, self.register = Tray(self._db), Register(self._db, clock)
        self.gold, self.ledger = Golds(self._db), Ledger(self._db)

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    # -- a case comes and goes ------------------------------------------------------------------------------------

    def next(self, rater: int) -> Handed | None:
        """A case for this rater: the one that they hold, else the first that they have not judged and that others do
        not hold, or in its place a gold question; None where nothing waits for them, or they are paused."""
        with self._db.writing() as db:
            known = self._rater(db, rater)
            if known.paused:
                return None
            now = self._clock()
            self._reclaim(db, now)
            seq = self._held(db, rater)
            gold = None
            if seq is None:
                seq = self._found(db, rater, known.after)
                gold = self.gold.instead(db, rater, seq) if seq is not None else None
            if seq is None:
                return None
            seq = gold or seq
            expires = now + self._lease
            mine = and_(leases.c.rater == rater, leases.c.case == seq)
            if db.execute(update(leases).where(mine, leases.c.lapsed.is_(False)).values(expires=expires)).rowcount == 0:
                if gold is None:
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
        theirs = and_(or_(cases.c.only.is_(None), cases.c.only == rater), cases.c.stream != GOLD)
        for start in (after, 0) if after else (0,):
            wanted = select(cases.c.seq).where(cases.c.room > 0, cases.c.seq > start, theirs, ~judged)
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
            back = update(cases).where(cases.c.seq == seq, cases.c.closed.is_(False), cases.c.stream != GOLD)
            db.execute(back.values(room=cases.c.room + 1))

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
            seen = select(events).where(events.c.case == row.seq, events.c.rater == rater)
            did = db.execute(seen.order_by(events.c.id)).all()
        opened = tuple(dict.fromkeys(e.what for e in did if e.kind == "opened"))
        asked = tuple(Asked.model_validate_json(e.what) for e in did if e.kind == "asked")
        started = any(e.kind == "started" and e.at >= row.began for e in did)
        return Handed(row.id, Sheet.model_validate_json(row.body), row.began, row.expires, opened, asked, started)

    def say(self, rater: int, id: str, feedback: Feedback) -> None:
        """Keep a verdict; when this returns, it is on the disk. Raises TooLate if it comes too late."""
        with self._db.writing() as db:
            self._rater(db, rater)
            seq = self._seq(db, id)
            mine = and_(leases.c.rater == rater, leases.c.case == seq)
            lease = db.execute(select(leases.c.lapsed).where(mine).with_for_update()).first()
            case = self._locked(db, seq)
            given = select(verdicts.c.case).where(verdicts.c.case == seq, verdicts.c.rater == rater)
            if db.execute(given).first():
                raise TooLate("you have judged this case already")
            if lease is None:
                raise TooLate("this case was not handed to you")
            taken = lease.lapsed and case.stream != GOLD
            if case.closed or case.said >= case.wanted or (taken and case.room < 1):
                raise TooLate("this case went to somebody else meanwhile, or is no longer needed")
            room = case.room - 1 if taken else case.room
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
            case = self._locked(db, last.case)
            if case.closed:
                raise TooLate("the run has taken your last verdict already: it can no longer be undone")
            if self.gold.is_told(db, rater):
                raise TooLate("you were told the answer to your last case: it can no longer be undone")
            now, took = self._clock(), seconds_of(last.body)
            db.execute(delete(verdicts).where(verdicts.c.case == last.case, verdicts.c.rater == rater))
            db.execute(update(cases).where(cases.c.seq == last.case).values(said=case.said - 1))
            lease = {"rater": rater, "case": last.case, "began": now - took, "expires": now + self._lease}
            db.execute(insert(leases).values(**lease))
            for kind, what in (("undo", last.body), ("started", "")):
                db.execute(insert(events).values(case=last.case, rater=rater, at=now, kind=kind, what=what))
            return str(case.id)

    def start(self, rater: int, id: str) -> None:
        """A case that this rater holds comes before their eyes now: here its time begins."""
        with self._db.writing() as db:
            now, seq = self._clock(), self._seq(db, id)
            mine = and_(leases.c.rater == rater, leases.c.case == seq)
            if db.execute(update(leases).where(mine).values(began=now)).rowcount == 0:
                raise TooLate("this case is not in your hands")
            db.execute(insert(events).values(case=seq, rater=rater, at=now, kind="started", what=""))

    def note(self, rater: int, id: str, kind: str, what: str) -> None:
        """Keep that a rater did something with a case that they hold, as opening an exhibit."""
        with self._db.writing() as db:
            seq = self._seq(db, id)
            held = select(leases.c.case).where(leases.c.rater == rater, leases.c.case == seq)
            if db.execute(held).first() is None:
                raise TooLate("this case is not in your hands")
            db.execute(insert(events).values(case=seq, rater=rater, at=self._clock(), kind=kind, what=what))

    # -- parts ----------------------------------------------------------------------------------------------------

    def _rater(self, db: Connection, rater: int) -> Any:
        """A rater's row, held: what one rater does in two windows is done one after the other."""
        row = db.execute(select(raters).where(raters.c.id == rater).with_for_update()).first()
        if row is None:
            raise Refused("there is no such rater at this desk")
        return row

    def _locked(self, db: Connection, seq: int) -> Any:
        wanted = select(cases.c.id, cases.c.said, cases.c.wanted, cases.c.room, cases.c.closed, cases.c.stream)
        return db.execute(wanted.where(cases.c.seq == seq).with_for_update()).one()

    def _seq(self, db: Connection, id: str) -> int:
        seq = db.execute(select(cases.c.seq).where(cases.c.id == id)).scalar()
        if seq is None:
            raise TooLate("this case was not handed to you")
        return int(seq)


def place_of(folder: Path) -> Path:
    """The file of a run's own desk."""
    return folder / "desk.sqlite"
