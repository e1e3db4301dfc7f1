"""What each rater said, beside what they were shown: for whoever looks after the raters, and for models of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import and_, func, insert, select, update

from rrm.desk.sheet import Sheet
from rrm.desk.tables import GOLD, Database, cases, golds, meta, raters, verdicts
from rrm.records import FEEDBACK, Feedback


class Said(NamedTuple):
    """A verdict, and what it is of."""

    rater: str
    case: int
    """Number of the case at the desk."""
    feedback: Feedback
    sheet: Sheet
    gold: str | None
    """Where it was a gold question, the question as it is stored."""
    twin: int | None
    """And the case that it repeats."""


class Voice(NamedTuple):
    """A verdict among others on the same case."""

    rater: str
    case: int
    node: str
    """Key of the node."""
    feedback: Feedback


class Ledger:
    """Reads what was said at one desk; what it is not asked for anew is kept elsewhere."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def size(self) -> dict[str, tuple[int, float]]:
        """By rater, how many verdicts they gave and when the last: where it has not changed, nothing else has."""
        wanted = select(raters.c.name, func.count(), func.max(verdicts.c.at)).join(
            verdicts, verdicts.c.rater == raters.c.id
        )
        with self._db.reading() as db:
            return {name: (count, last) for name, count, last in db.execute(wanted.group_by(raters.c.name))}

    def of_rater(self, name: str, last: int) -> list[Said]:
        """A rater's last verdicts, in the order in which they were given."""
        wanted = (
            select(cases.c.seq, verdicts.c.body.label("said"), cases.c.body, golds.c.body.label("gold"), golds.c.twin)
            .select_from(verdicts)
            .join(raters, raters.c.id == verdicts.c.rater)
            .join(cases, cases.c.seq == verdicts.c.case)
            .outerjoin(golds, golds.c.case == cases.c.seq)
            .where(raters.c.name == name)
            .order_by(verdicts.c.at.desc())
            .limit(last)
        )
        with self._db.reading() as db:
            rows = db.execute(wanted).all()
        return [
            Said(name, r.seq, FEEDBACK.validate_json(r.said), Sheet.model_validate_json(r.body), r.gold, r.twin)
            for r in reversed(rows)
        ]

    def gold_of(self, name: str) -> list[tuple[str, Feedback]]:
        """All of a rater's verdicts on gold questions, each with the question as it is stored."""
        wanted = (
            select(golds.c.body, verdicts.c.body)
            .select_from(verdicts)
            .join(raters, raters.c.id == verdicts.c.rater)
            .join(golds, golds.c.case == verdicts.c.case)
            .where(raters.c.name == name)
        )
        with self._db.reading() as db:
            return [(gold, FEEDBACK.validate_json(said)) for gold, said in db.execute(wanted)]

    def several(self, *, last: int) -> list[Voice]:
        """What was said of the newest `last` cases that two raters or more judged."""
        many = select(cases.c.seq).where(cases.c.stream != GOLD, cases.c.said > 1)
        return self._voices(cases.c.seq.in_(many.order_by(cases.c.seq.desc()).limit(last)))

    def of_node(self, key: str) -> list[Voice]:
        """All that was said of the cases of a node whose verdicts its run has taken, in the order of the desk."""
        return self._voices(and_(cases.c.node_key == key, cases.c.stream != GOLD, cases.c.closed))

    def _voices(self, which: object) -> list[Voice]:
        wanted = (
            select(raters.c.name, cases.c.seq, cases.c.node_key, verdicts.c.body)
            .select_from(verdicts)
            .join(raters, raters.c.id == verdicts.c.rater)
            .join(cases, cases.c.seq == verdicts.c.case)
            .where(which, cases.c.said >= cases.c.wanted)  # type: ignore[arg-type]
            .order_by(cases.c.seq, raters.c.id)
        )
        with self._db.reading() as db:
            return [Voice(name, seq, key, FEEDBACK.validate_json(body)) for name, seq, key, body in db.execute(wanted)]

    # -- what each counts -----------------------------------------------------------------------------------------

    def weights(self, key: str) -> dict[str, dict[str, float]]:
        """By stream of a node, what each rater's verdicts were counted for when it was learnt from, in order."""
        with self._db.reading() as db:
            found = db.execute(select(meta.c.value).where(meta.c.key == f"weights:{key}")).scalar()
        return dict(json.loads(found)) if found else {}

    def weigh(self, key: str, stream: str, weights: Mapping[str, float]) -> None:
        """Keep what each rater's verdicts are counted for."""
        value = json.dumps({**self.weights(key), stream: dict(weights)})
        with self._db.writing() as db:
            place = f"weights:{key}"
            if db.execute(update(meta).where(meta.c.key == place).values(value=value)).rowcount == 0:
                db.execute(insert(meta).values(key=place, value=value))
