"""The desk's tables, on SQLite or PostgreSQL, and how each is opened so that what was acknowledged is never lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from rrm.errors import StoreError

SCHEMA = 2
"""Version of the tables; a desk of another is refused."""

GOLD = "gold"
"""The stream of questions whose answers are known: a run lays them down, and never takes what is said of them."""

tables = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER counts by itself there

meta = Table("meta", tables, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

cases = Table(
    "cases",
    tables,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("node_key", String(16), nullable=False),
    Column("node", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("stream", Text, nullable=False),
    Column("only", _Number),  # the number of the one rater to whom it may be handed; none: to anybody
    Column("wanted", Integer, nullable=False),  # by how many raters it is judged
    Column("said", Integer, nullable=False, default=0),  # how many have
    Column("room", Integer, nullable=False),  # to how many more it may be handed now
    Column("closed", Boolean, nullable=False, default=False),  # the run has taken what was said
    Column("body", Text, nullable=False),
)
raters = Table(
    "raters",
    tables,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("after", BigInteger, nullable=False, default=0),  # cases up to here were looked through for this rater
)
leases = Table(
    "leases",
    tables,
    Column("rater", ForeignKey("raters.id"), primary_key=True),
    Column("case", ForeignKey("cases.seq"), primary_key=True),
    Column("began", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("lapsed", Boolean, nullable=False, default=False),  # it expired, and its room was given back
)
verdicts = Table(
    "verdicts",
    tables,
    Column("case", ForeignKey("cases.seq"), primary_key=True),
    Column("rater", ForeignKey("raters.id"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),
)
events = Table(
    "events",
    tables,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("case", ForeignKey("cases.seq"), nullable=False),
    Column("rater", ForeignKey("raters.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("what", Text, nullable=False),
)
golds = Table(
    "golds",
    tables,
    Column("case", ForeignKey("cases.seq"), primary_key=True),  # whose stream is GOLD, that no run collects
    Column("node_key", String(16), nullable=False),
    Column("stream", Text, nullable=False),  # in whose work it is mixed
    Column("twin", ForeignKey("cases.seq")),  # the case that it repeats; none: it repeats none
    Column("rate", Float, nullable=False),
    Column("tell", Boolean, nullable=False),  # whether who gets it wrong is told so
    Column("body", Text, nullable=False),
)
# The next case is found at the front of those that there is room for, however many wait or are done.
Index("cases_waiting", cases.c.seq, sqlite_where=cases.c.room > 0, postgresql_where=cases.c.room > 0)
Index("cases_of_node", cases.c.node_key, cases.c.closed)
Index(
    "leases_expiring",
    leases.c.expires,
    sqlite_where=leases.c.lapsed.is_(False),
    postgresql_where=leases.c.lapsed.is_(False),
)
Index("golds_of_node", golds.c.node_key, golds.c.stream)
Index("leases_of_case", leases.c.case)
Index("verdicts_of_rater", verdicts.c.rater, verdicts.c.at)
Index("events_of_case", events.c.case, events.c.rater)


class Database:
    """A desk's database. Writers on SQLite queue up here, in order: left to SQLite, they would sleep and try again."""

    def __init__(self, url: str | Path) -> None:
        """Open it, with its tables made where there are none. Raises StoreError, saying what to do, if it cannot."""
        self.place = str(url) if isinstance(url, Path) else _hidden(url)
        self._turn = threading.Lock()
        with self.explained():
            self._engine = _engine(url)
            self._sqlite = self._engine.dialect.name == "sqlite"
            self._prepare()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is durable when it ends."""
        with self.explained():
            if self._sqlite:
                with self._turn, self._engine.begin() as db:
                    yield db
            else:
                with self._engine.begin() as db:
                    yield db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only looks, and waits for nobody."""
        with self.explained(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            yield db

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What a database says is told in one line, with the place and what to do."""
        try:
            yield
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise StoreError(f"{self.place}: {reason}. Check that the database is there and may be written.") from error
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(
                f"{self.place}: this desk cannot be opened ({error}). Write a URL such as "
                "postgresql+psycopg://user@host/name (it needs the extra `postgres`)."
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        if self._sqlite:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                db.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays with the file
        with self.writing() as db:
            if not self._sqlite:  # of several processes that open a new desk at once, one makes it
                db.exec_driver_sql("SELECT pg_advisory_xact_lock(7277)")
            tables.create_all(db)
            found = db.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar_one_or_none()
            if found is None:
                db.execute(insert(meta).values(key="schema", value=str(SCHEMA)))
            elif found != str(SCHEMA):
                raise StoreError(f"{self.place}: a desk of schema {found}, and this rrm keeps schema {SCHEMA}.")


def _engine(url: str | Path) -> Engine:
    if isinstance(url, str) and make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=20, max_overflow=40, pool_pre_ping=True)
    where = URL.create("sqlite", database=str(url)) if isinstance(url, Path) else make_url(url)
    if (file := _file(where)) is not None:
        _keep_private(file)
    engine = create_engine(where, connect_args={"timeout": 60, "isolation_level": None}, pool_size=20, max_overflow=40)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _file(url: URL) -> Path | None:
    """Where SQLite keeps it; None: in memory."""
    name, uri = url.database or "", bool(url.query.get("uri"))
    if uri and url.query.get("mode") == "memory":
        return None
    name = unquote(urlsplit(name).path) if uri else name
    return Path(name) if name not in ("", ":memory:") else None


def _keep_private(file: Path) -> None:
    """Make the file its owner's before there is anything in it: it holds the key that signs the links, and so do the
    files beside it, to which SQLite gives the same mode."""
    try:
        if not file.exists():
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass  # another process was first; an open file is not opened here, since closing it would undo our locks on it
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}. Check that the folder is there and may be written.") from error
    for found in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        with suppress(FileNotFoundError):
            if found.stat().st_mode & 0o077:
                _close_to_others(found)


def _close_to_others(file: Path) -> None:
    try:
        file.chmod(0o600)
    except OSError as error:
        raise StoreError(
            f"{file}: others may read it, who would learn the key that signs the links, and its mode cannot be changed "
            f"({error.strerror}). Say `chmod 600` as its owner."
        ) from error


def _hidden(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the desk's URL"
