"""What was asked of servers in a run, what came back, and what it cost: on the disk before it is used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from rrm.errors import StoreError
from rrm.models.served.settings import FORMS, Form, ServedSettings

FILE = "chat.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, refusal TEXT NOT NULL, finish TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, began REAL NOT NULL, state TEXT NOT NULL,
    tokens INTEGER NOT NULL, money REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_began ON calls (began);
CREATE TABLE IF NOT EXISTS servers (server TEXT PRIMARY KEY, form TEXT NOT NULL) WITHOUT ROWID;
"""

State = Literal["open", "done", "lost", "free"]
"""Of a call: under way, answered, failed after it may have been charged for, or failed for nothing."""


class Reply(NamedTuple):
    """What a model said."""

    text: str
    refusal: str = ""
    """Why it said nothing, where it would not."""
    finish: str = ""
    """Why it stopped: "stop", or "length"."""


class Wait(NamedTuple):
    """A limit of the rate is reached."""

    seconds: float


class Full(NamedTuple):
    """The budget does not allow one more call."""

    words: str


class Spent(NamedTuple):
    """What all calls of a run come to; of those whose end is not known, the most that they may have cost."""

    calls: int
    tokens: int
    money: float


class Ledger:
    """One run's file, which several processes may write: the replies by request, and a row for each call.

    A call is written down with the most that it may cost before it is made; where there is a budget, it is on the disk
    by then, so that not even a power cut lets it be passed. Replies are on the disk when `flush` returns: one wait for
    many of them.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @classmethod
    @contextmanager
    def open(cls, folder: Path | None) -> Iterator[Ledger]:
        """That of a run's folder, or of nowhere (None): then nothing is kept."""
        place = ":memory:" if folder is None else str(folder / FILE)
        try:
            with closing(sqlite3.connect(place, timeout=60, isolation_level=None, check_same_thread=False)) as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_TABLES)
                yield cls(db)
        except sqlite3.Error as error:
            raise StoreError(f"{place}: what was asked of the server cannot be read or written: {error}") from error

    @contextmanager
    def _together(self, *, flushed: bool = False) -> Iterator[None]:
        self._db.execute(f"PRAGMA synchronous={'FULL' if flushed else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def reply(self, key: str) -> Reply | None:
        """What was said to a request, if it was ever made."""
        row = self._db.execute("SELECT text, refusal, finish FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply(*row) if row else None

    def reserve(self, key: str, settings: ServedSettings, now: float, tokens: int, money: float) -> int | Wait | Full:
        """The number of a call that may be made now, and may cost so much; or why it may not."""
        with self._together(flushed=settings.budget_money is not None or settings.budget_tokens is not None):
            spent = self._spent()
            if settings.budget_money is not None and spent.money + money > settings.budget_money:
                return Full(
                    f"budget_money = {settings.budget_money:g} does not allow one more request: {spent.money:.6g} is "
                    f"spent on {spent.calls} requests, and the next may cost {money:.6g}"
                )
            if settings.budget_tokens is not None and spent.tokens + tokens > settings.budget_tokens:
                return Full(
                    f"budget_tokens = {settings.budget_tokens} does not allow one more request: {spent.tokens} are "
                    f"spent on {spent.calls} requests, and the next may take {tokens}"
                )
            if (pause := self._pause(settings, now, tokens)) > 0:
                return Wait(pause)
            cursor = self._db.execute(
                "INSERT INTO calls (key, began, state, tokens, money) VALUES (?, ?, 'open', ?, ?)",
                (key, now, tokens, money),
            )
            return int(cursor.lastrowid or 0)

    def _pause(self, settings: ServedSettings, now: float, tokens: int) -> float:
        """Seconds until the last minute has room for one more."""
        if settings.requests_per_minute is None and settings.tokens_per_minute is None:
            return 0.0
        rows = self._db.execute(
            "SELECT began, tokens FROM calls WHERE began > ? AND began <= ? ORDER BY began", (now - 60, now)
        ).fetchall()
        requests, used = settings.requests_per_minute or len(rows) + 1, sum(row[1] for row in rows)
        most = max(settings.tokens_per_minute or used + tokens, tokens)  # one that is larger goes alone
        left = len(rows)
        for began, size in rows:
            if left < requests and used + tokens <= most:
                return 0.0
            left, used = left - 1, used - size
            if left < requests and used + tokens <= most:
                return float(began + 60 - now) + 0.001
        return 0.0

    def settle(self, call: int, state: State, *, tokens: int | None = None, money: float | None = None) -> None:
        """What became of a call. Without figures it counts with the most that it may have cost; free, with nothing."""
        with self._together():
            self._settle(call, state, tokens, money)

    def keep(self, call: int, key: str, request: str, reply: Reply, tokens: int | None, money: float | None) -> None:
        """A reply, with what it cost: both or neither."""
        with self._together():
            self._settle(call, "done", tokens, money)
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", (key, request, *reply))

    def _settle(self, call: int, state: State, tokens: int | None, money: float | None) -> None:
        if state == "free":
            tokens, money = 0, 0.0
        self._db.execute(
            "UPDATE calls SET state = ?, tokens = coalesce(?, tokens), money = coalesce(?, money) WHERE id = ?",
            (state, tokens, money, call),
        )

    def flush(self) -> None:
        """Whatever was kept until now is on the disk afterwards."""
        with self._together(flushed=True):
            self._db.execute("INSERT OR REPLACE INTO servers VALUES ('', 'flushed')")

    def spent(self) -> Spent:
        """What the run has spent."""
        return self._spent()

    def _spent(self) -> Spent:
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(tokens), 0), coalesce(sum(money), 0) FROM calls WHERE state != 'free'"
        ).fetchone()
        return Spent(*row)

    def form(self, server: str) -> Form | None:
        """How a server is known to take requests for JSON."""
        row = self._db.execute("SELECT form FROM servers WHERE server = ?", (server,)).fetchone()
        return next((form for form in FORMS if row and row[0] == form), None)

    def learn(self, server: str, form: Form) -> None:
        """Remember that, so that it is not tried out again."""
        self._db.execute("INSERT OR REPLACE INTO servers VALUES (?, ?)", (server, form))
