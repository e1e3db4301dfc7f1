"""Gold questions, whose right verdict is known: mixed into each rater's work unseen, kept apart from what is learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from math import floor
from typing import Any, NamedTuple

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, or_, select, update

from rrm.desk.sheet import Sheet, name_of
from rrm.desk.tables import GOLD, Database, cases, golds, leases, verdicts
from rrm.desk.tray import case_id
from rrm.inert import inert
from rrm.records import FEEDBACK, Approval, Case, Feedback, Preference, Ranking, Rating, Record

APART = 3
"""A question that repeats a case comes to whoever judged that case after so many others at the soonest."""

_MANY = 10**9
_OWN = cases.c.seq == golds.c.case


class Gold(Record):
    """A question whose right verdict is known."""

    case: Case
    worth: tuple[float, ...] = Field(min_length=1)
    """How good each answer really is, in the order in which they are shown. Of an only answer: 1 where it will do, 0
    where it will not."""
    twin: str = ""
    """Id of the case in the record that it repeats; empty: none."""

    @property
    def best(self) -> frozenset[int]:
        """Which answers are the best."""
        return frozenset(i for i, worth in enumerate(self.worth) if worth == max(self.worth))

    def right(self, feedback: Feedback) -> bool | None:
        """Whether a verdict is as it should be; None: it says nothing of that, as who cannot tell."""
        match feedback:
            case Preference(first_better=p):
                return p != 0.5 and (p > 0.5) == (self.worth[0] > self.worth[1])
            case Ranking(tiers=tiers):
                return set(tiers[0]) <= self.best
            case Rating(score=score) if len(self.worth) == 1:
                return score != 0.5 and (score > 0.5) == (self.worth[0] == 1)
            case Approval(approved=approved) if len(self.worth) == 1:
                return approved == (self.worth[0] == 1)
        return None

    @property
    def words(self) -> str:
        """What whoever was wrong is told."""
        if len(self.worth) == 1:
            return f"the answer is {'right' if self.worth[0] == 1 else 'wrong'}"
        names = [name_of(i) for i in sorted(self.best)]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} best"


class Pace(NamedTuple):
    """When gold questions come to one rater at one node: of every stretch of equal length one, somewhere in it. Drawn
    of what no rater knows, and the same whenever it is asked."""

    rate: float
    salt: str

    def after(self, number: int) -> int:
        """After how many other cases the gold question of this number comes, from 0."""
        drawn = int(hashlib.sha256(f"{number}/{self.salt}".encode()).hexdigest()[:12], 16) / 16**12
        return floor((number + drawn) * (1 - self.rate) / self.rate)

    def before(self, cases: int) -> int:
        """How many come before so many other cases are judged."""
        whole = floor(cases * self.rate / (1 - self.rate))
        return whole + (self.after(whole) < cases)


class Golds:
    """The gold questions of one desk. Each rater is handed them at the rate of the plan, at moments that they cannot
    foresee, in the place of a case that waits for them: where nothing waits, none comes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, key: str, stream: str, laid: Iterable[tuple[Gold, Sheet]], *, rate: float, tell: bool) -> None:
        """Lay down those of a stream, whose cases lie there already."""
        with self._db.writing() as db:
            for gold, sheet in laid:
                row = {
                    "id": case_id(key, sheet.case), "node_key": key, "node": sheet.node, "level": sheet.level,
                    "stream": GOLD, "wanted": _MANY, "room": 0, "body": sheet.body,
                }  # fmt: skip
                twin = select(cases.c.seq).where(cases.c.id == case_id(key, gold.twin)).scalar_subquery()
                seq = db.execute(insert(cases).values(row).returning(cases.c.seq)).scalar_one()
                more = {"case": seq, "node_key": key, "stream": stream, "rate": rate, "tell": tell, "body": gold.body}
                db.execute(insert(golds).values(twin=twin, **more))

    def lies(self, key: str, stream: str) -> bool:
        """Whether those of a stream were laid down; if they were put away with an earlier plan, they are back then."""
        there = select(golds.c.case).where(golds.c.node_key == key, golds.c.stream == stream)
        with self._db.writing() as db:
            found = db.execute(there.limit(1)).first() is not None
            if found:
                own = select(golds.c.case).where(golds.c.node_key == key)
                db.execute(update(cases).where(cases.c.seq.in_(own), cases.c.closed).values(closed=False))
            return found

    def case(self, id: str) -> Case | None:
        """The case of a gold question; None where it is none."""
        with self._db.reading() as db:
            body = db.execute(select(golds.c.body).join(cases, _OWN).where(cases.c.id == id)).scalar()
        return Gold.model_validate_json(body).case if body else None

    # -- mixing ---------------------------------------------------------------------------------------------------

    def instead(self, db: Connection, rater: int, seq: int) -> int | None:
        """A gold question to hand out in the place of that case, where it is time for one."""
        case = db.execute(select(cases.c.node_key, cases.c.stream).where(cases.c.seq == seq)).one()
        pace = self._pace(db, rater, case.node_key, case.stream)
        if pace is None:
            return None
        had, judged = self._had(db, rater, case.node_key), self._judged(db, rater, self._mixed(case.node_key))
        return self._fit(db, rater, case.node_key) if pace.after(had) <= judged else None

    def to_come(self, rater: int) -> int:
        """How many are to come to a rater among what waits for them now."""
        total = 0
        with self._db.reading() as db:
            for key, stream in db.execute(select(golds.c.node_key, golds.c.stream).distinct()).all():
                open_ = and_(cases.c.node_key == key, cases.c.stream == stream, cases.c.closed.is_(False))
                waits = db.execute(select(func.count()).select_from(cases).where(open_)).scalar_one()
                if waits and (pace := self._pace(db, rater, key, stream)):
                    waits -= self._judged(db, rater, open_)
                    until = self._judged(db, rater, self._mixed(key)) + waits
                    total += max(pace.before(until) - self._had(db, rater, key), 0)
        return total

    def _pace(self, db: Connection, rater: int, key: str, stream: str) -> Pace | None:
        """None where none is mixed into that stream."""
        here = and_(golds.c.node_key == key, golds.c.stream == stream)
        found = db.execute(select(golds.c.rate).where(here).limit(1)).scalar()
        if found is None:
            return None
        every = select(golds.c.body).where(golds.c.node_key == key).order_by(golds.c.case)
        return Pace(found, f"{rater}/{db.execute(every.limit(1)).scalar_one()}")

    def _had(self, db: Connection, rater: int, key: str) -> int:
        """How many gold questions of a node a rater has, or had."""
        wanted = select(func.count()).select_from(golds).where(golds.c.node_key == key)
        return db.execute(wanted.where(or_(_by(rater, golds.c.case), _with(rater)))).scalar_one()

    def _mixed(self, key: str) -> ColumnElement[bool]:
        """That a case is of a node's streams into which gold questions are mixed."""
        return and_(cases.c.node_key == key, cases.c.stream.in_(select(golds.c.stream).where(golds.c.node_key == key)))

    def _judged(self, db: Connection, rater: int, which: ColumnElement[bool]) -> int:
        """How many such cases a rater judged: looked up from their verdicts, which are fewer than cases."""
        such = exists().where(cases.c.seq == verdicts.c.case, which)
        return db.execute(select(func.count()).where(verdicts.c.rater == rater, such)).scalar_one()

    def _fit(self, db: Connection, rater: int, key: str) -> int | None:
        """One that this rater has not had. Who judged what it repeats did so a while ago, for good; who did not judge
        it will not: so nobody judges a case whose right verdict they may have been told."""
        recent = select(verdicts.c.at).where(verdicts.c.rater == rater).order_by(verdicts.c.at.desc())
        late = db.execute(recent.offset(APART - 1).limit(1)).scalar()
        own = verdicts.alias()
        twin = cases.alias()
        wanted = (
            select(cases.c.seq)
            .join(golds, golds.c.case == cases.c.seq)
            .outerjoin(twin, twin.c.seq == golds.c.twin)
            .outerjoin(own, and_(own.c.case == golds.c.twin, own.c.rater == rater))
            .where(golds.c.node_key == key, cases.c.closed.is_(False))
            .where(~_by(rater, golds.c.case), ~_with(rater))
            .where(or_(golds.c.twin.is_(None), twin.c.closed, own.c.at < (late if late is not None else 0.0)))
        )
        return db.execute(wanted.order_by(func.coalesce(own.c.at, 0.0), cases.c.seq).limit(1)).scalar()

    # -- what came of them ----------------------------------------------------------------------------------------

    def told(self, rater: int) -> str:
        """What a rater is told of their last verdict: where it was wrong, and the study tells; else nothing."""
        with self._db.reading() as db:
            last = self._last(db, rater)
        return mistake(last.gold, last.said) if last and last.tell else ""

    def is_told(self, db: Connection, rater: int) -> bool:
        """Whether a rater was told the right answer to what they judged last: they cannot judge it anew."""
        last = self._last(db, rater)
        return bool(last and last.tell and mistake(last.gold, last.said))

    def _last(self, db: Connection, rater: int) -> Any:
        wanted = (
            select(golds.c.tell, golds.c.body.label("gold"), verdicts.c.body.label("said"))
            .select_from(verdicts.outerjoin(golds, golds.c.case == verdicts.c.case))
            .where(verdicts.c.rater == rater)
        )
        return db.execute(wanted.order_by(verdicts.c.at.desc()).limit(1)).first()


def mistake(gold: str, said: str) -> str:
    """What is told of a wrong verdict on a gold question, both as they are stored; of a right one, nothing."""
    known = Gold.model_validate_json(gold)
    if known.right(FEEDBACK.validate_json(said)) is not False:
        return ""
    return inert(f"The last one was a gold question, whose answer is known: {known.words}.", 300)


def _by(rater: int, case: Any) -> Any:
    """That this rater judged a case."""
    return exists().where(verdicts.c.case == case, verdicts.c.rater == rater)


def _with(rater: int) -> Any:
    """That a gold question is in this rater's hands, or was."""
    return exists().where(leases.c.case == golds.c.case, leases.c.rater == rater)


def scored(found: Sequence[tuple[str, Feedback]]) -> tuple[int, int]:
    """Of gold questions as they are stored, with what was said: how many are right, and out of how many that say."""
    marks = [Gold.model_validate_json(gold).right(said) for gold, said in found]
    return sum(m is True for m in marks), sum(m is not None for m in marks)
