"""The run's side of the desk: lays cases down, and takes what was said of those that have all their verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, Integer, and_, func, insert, select, update

from rrm.desk.sheet import Sheet
from rrm.desk.tables import GOLD, Database, cases, leases, verdicts
from rrm.records import FEEDBACK, Feedback

_BATCH = 500


class Tray:
    """What lies on one desk for its run."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, key: str, stream: str, sheets: Iterable[Sheet], *, wanted: int = 1, only: int | None = None) -> None:
        """Lay cases of a node on the desk, each for `wanted` raters, or for the one rater of the number `only`; what
        lies there already stays as it is."""
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
                            "only": only, "wanted": wanted, "room": wanted, "body": sheet.body,
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

    def is_full(self, key: str, stream: str) -> bool:
        """Whether every case of a stream has all its verdicts."""
        here = and_(cases.c.node_key == key, cases.c.stream == stream, cases.c.said < cases.c.wanted)
        with self._db.reading() as db:
            return db.execute(select(cases.c.seq).where(here).limit(1)).first() is None

    def wanted(self) -> int:
        """By how many raters some open case is judged, at most; 0 where none waits."""
        with self._db.reading() as db:
            waiting = and_(cases.c.closed.is_(False), cases.c.stream != GOLD)
            return int(db.execute(select(func.max(cases.c.wanted)).where(waiting)).scalar() or 0)

    def put_away(self, keys: Collection[str]) -> None:
        """Close what waits for other nodes than these: nobody should judge for a plan that was changed."""
        with self._db.writing() as db:
            there = db.execute(select(cases.c.node_key).distinct().where(cases.c.closed.is_(False))).scalars().all()
            for key in sorted(set(there) - set(keys)):
                db.execute(update(cases).where(cases.c.node_key == key).values(closed=True, room=0))

    def waits(self) -> dict[str, bool]:
        """By key of the nodes of which something waits, whether all of it is judged, so that it can be taken."""
        with self._db.reading() as db:
            waiting = and_(cases.c.closed.is_(False), cases.c.stream != GOLD)
            keys = db.execute(select(cases.c.node_key).distinct().where(waiting)).scalars().all()
            short = select(cases.c.seq).where(waiting, cases.c.said < cases.c.wanted).limit(1)
            return {key: db.execute(short.where(cases.c.node_key == key)).first() is None for key in keys}

    def is_due(self) -> bool:
        """Whether all that waited of some node is judged, so that the run can go on."""
        return any(self.waits().values())

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.waits()

    def stands(self) -> tuple[int, ...]:
        """How it stands: verdicts so far, cases so far, and how many of them the run has not taken. As long as none of
        these changes, a run finds what it found before."""
        open_ = func.sum(cases.c.closed.is_(False).cast(Integer))
        with self._db.reading() as db:
            found = db.execute(select(func.sum(cases.c.said), func.count(), open_).where(cases.c.stream != GOLD)).one()
        return tuple(int(n or 0) for n in found)


def case_id(key: str, case: str) -> str:
    """What a case is called at the desk: the same case in two nodes is two."""
    return f"{key}-{case}"
