"""The record of a run: everything said, durable before it is used, and the agents that were published."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from rrm.errors import MissingWeights, StoreError
from rrm.records import Record, address

R = TypeVar("R", bound=Record)

SCHEMA = 1
"""Version of the tables. A reader refuses a newer one, and brings an older one up to date through `MIGRATIONS`."""

MIGRATIONS: dict[int, Callable[[Connection], None]] = {}
"""Schema version to the step that makes the next one of it."""

_tables = MetaData()
_meta = Table("meta", _tables, Column("key", String, primary_key=True), Column("value", Text, nullable=False))
_records = Table(
    "records",
    _tables,
    Column("node", String, primary_key=True),
    Column("stream", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("id", String(16), nullable=False),
    Column("kind", String, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,  # one tree, in the order in which records are written and read
)
_timings = Table(
    "timings",
    _tables,
    Column("node", String, primary_key=True),
    Column("stage", String, primary_key=True),
    Column("seconds", Float, nullable=False),
)

# As plain SQL: what sqlalchemy would do for every row costs more than sqlite's writing it.
_WRITE = "INSERT INTO records (node, stream, seq, id, kind, body) VALUES (?, ?, ?, ?, ?, ?)"
_SPEND = """INSERT INTO timings (node, stage, seconds) VALUES (?, ?, ?)
    ON CONFLICT (node, stage) DO UPDATE SET seconds = seconds + excluded.seconds"""


class Store:
    """One run's folder: `record.sqlite` (streams of records, by node key) and `agents/<node key>/<moment>/`.

    A record's place is (node, stream, number); writing a place twice is refused, so nothing is ever counted twice.
    Several processes may write at once. What is not a record of rrm is refused as it is: not a byte of it changes; and
    with `create=False`, opening and reading a record of this schema writes nothing either. Raises StoreError, saying
    what to do, if the record cannot be used.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder
        path = folder / "record.sqlite"
        if not create and not path.is_file():
            raise StoreError(
                f"{folder}: there is no run here (no record.sqlite). `rrm run PLAN --out {folder}` makes one."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = "it is a file" if folder.is_file() else error.strerror or error
            raise StoreError(f"{folder}: cannot be used as a run's folder: {why}. Give another --out.") from error
        self._engine = _sqlite(path, writes=True)
        self._timer = _sqlite(path, writes=True, durable=False)
        self._reader = _sqlite(path, writes=False) if create else _onlooker(path)
        with self._explained():
            self._check_schema(create=create)

    # -- records ------------------------------------------------------------------------------------------------

    def append(self, node: str, stream: str, records: Iterable[Record], *, first: int | None = None) -> None:
        """Write records to the end of a stream (or from number `first` on): all of them or, on any failure, none."""
        self.write(node, stream, enumerate(records, self.length(node, stream) if first is None else first))

    def write(self, node: str, stream: str, numbered: Iterable[tuple[int, Record]]) -> None:
        """Write records, each to its own number of a stream, in one durable step."""
        rows = [(node, stream, seq, record.id, type(record).__name__, record.body) for seq, record in numbered]
        if rows:
            with self._explained(), self._engine.begin() as db:
                db.exec_driver_sql(_WRITE, rows)

    def read(self, node: str, stream: str, kind: type[R] | TypeAdapter[R]) -> dict[int, R]:
        """The records of a stream by number, in order. Raises StoreError if one was damaged."""
        wanted = select(_records.c.seq, _records.c.id, _records.c.kind, _records.c.body)
        wanted = wanted.where(_records.c.node == node, _records.c.stream == stream).order_by(_records.c.seq)
        with self._explained(), self._reader.connect() as db:
            rows = db.execute(wanted).all()
        return self._parsed(rows, node, stream, kind)

    def read_one(self, node: str, stream: str, number: int, kind: type[R] | TypeAdapter[R]) -> R | None:
        """One record of a stream, if it is there. Raises StoreError if it was damaged."""
        wanted = select(_records.c.seq, _records.c.id, _records.c.kind, _records.c.body)
        wanted = wanted.where(_records.c.node == node, _records.c.stream == stream, _records.c.seq == number)
        with self._explained(), self._reader.connect() as db:
            rows = db.execute(wanted).all()
        return self._parsed(rows, node, stream, kind).get(number)

    def scan(
        self, node: str, stream: str, kind: type[R] | TypeAdapter[R], *, many: int = 1000
    ) -> Iterator[tuple[int, R]]:
        """The same one after the other, with `many` of them in memory: for streams of any length."""
        wanted = select(_records.c.seq, _records.c.id, _records.c.kind, _records.c.body)
        wanted = wanted.where(_records.c.node == node, _records.c.stream == stream).order_by(_records.c.seq)
        last = -1
        while True:
            with self._explained(), self._reader.connect() as db:
                rows = db.execute(wanted.where(_records.c.seq > last).limit(many)).all()
            yield from self._parsed(rows, node, stream, kind).items()
            if len(rows) < many:
                return
            last = rows[-1].seq

    def _parsed(self, rows: Sequence[Any], node: str, stream: str, kind: type[R] | TypeAdapter[R]) -> dict[int, R]:
        parse = kind.validate_json if isinstance(kind, TypeAdapter) else kind.model_validate_json
        found: dict[int, R] = {}
        for seq, id, name, body in rows:
            try:
                if address(name, body) != id:
                    raise ValueError("its text does not match its id")
                found[seq] = parse(body)
            except (ValueError, ValidationError) as error:
                reason = str(error).splitlines()[0]
                where = f"{self.folder}: record {id} ({node} {stream} {seq})"
                raise StoreError(f"{where} is damaged: {reason}. Restore the folder from a copy.") from None
        return found

    def length(self, node: str, stream: str) -> int:
        """How many records a stream holds."""
        wanted = select(func.count()).where(_records.c.node == node, _records.c.stream == stream)
        with self._explained(), self._reader.connect() as db:
            return int(db.execute(wanted).scalar_one())

    def lengths(self, node: str, start: str = "") -> dict[str, int]:
        """How many records each stream holds whose name starts so: many streams in one look."""
        stream = _records.c.stream
        wanted = select(stream, func.count()).where(_records.c.node == node, stream >= start)
        if start:
            wanted = wanted.where(stream < start[:-1] + chr(ord(start[-1]) + 1))
        with self._explained(), self._reader.connect() as db:
            return {name: int(count) for name, count in db.execute(wanted.group_by(stream))}

    def find(self, id: str, *, ending: str = "") -> tuple[str, str, int] | None:
        """The place (node, stream, number) of the first record of that id, if there is one, in a stream whose name ends
        so."""
        for node, stream in self.places():
            if stream.endswith(ending):
                wanted = select(func.min(_records.c.seq)).where(
                    _records.c.node == node, _records.c.stream == stream, _records.c.id == id
                )
                with self._explained(), self._reader.connect() as db:
                    number = db.execute(wanted).scalar_one()
                if number is not None:
                    return node, stream, number
        return None

    def streams(self, node: str) -> list[str]:
        """The names of a node's streams, sorted."""
        return self._different(_records.c.stream, _records.c.node == node)

    def places(self) -> list[tuple[str, str]]:
        """Every (node, stream) that holds a record, sorted."""
        return [(node, stream) for node in self._different(_records.c.node) for stream in self.streams(node)]

    def _different(self, column: Column[str], *where: ColumnElement[bool]) -> list[str]:
        """The different values of a column, sorted: each is found from the one before, by the order of the table, with
        no look at what lies between."""
        found: list[str] = []
        with self._explained(), self._reader.connect() as db:
            while True:
                further = [column > found[-1]] if found else []
                value = db.execute(select(func.min(column)).where(*where, *further)).scalar_one()
                if value is None:
                    return found
                found.append(value)

    def export(self) -> Iterator[dict[str, Any]]:
        """Every record in canonical order, timings left out: equal runs export the same bytes."""
        c = _records.c
        with self._explained(), self._reader.connect() as db:
            for node, stream, seq, id, kind, body in db.execute(
                select(c.node, c.stream, c.seq, c.id, c.kind, c.body).order_by(c.node, c.stream, c.seq)
            ):
                yield {"node": node, "stream": stream, "seq": seq, "id": id, "type": kind, "record": json.loads(body)}

    # -- time ---------------------------------------------------------------------------------------------------

    def spend(self, node: str, seconds: dict[str, float]) -> None:
        """Add CPU-seconds to a node's stages: apart from the record, which holds nothing that varies by machine."""
        with self._explained(), self._timer.begin() as db:
            if seconds:
                db.exec_driver_sql(_SPEND, [(node, stage, amount) for stage, amount in seconds.items()])

    def spent(self, node: str) -> dict[str, float]:
        """CPU-seconds of a node by stage."""
        wanted = select(_timings.c.stage, _timings.c.seconds).where(_timings.c.node == node).order_by(_timings.c.stage)
        with self._explained(), self._reader.connect() as db:
            return {row.stage: row.seconds for row in db.execute(wanted)}

    # -- agents -------------------------------------------------------------------------------------------------

    def agent_folder(self, node: str, moment: str) -> Path:
        """Where a node's weights at that moment lie (or would lie). Raises StoreError if `node` is no node's key: a
        record from elsewhere may name any path in its place."""
        return self._agents(node) / moment

    def has_agent(self, node: str, moment: str) -> bool:
        return (self.agent_folder(node, moment) / "saved.json").is_file()

    def save_agent(self, node: str, moment: str, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, then put it in place in one step: no reader ever sees half of it."""
        final = self._own_agents(node) / moment
        part = final.with_name(f"{moment}.part-{os.getpid()}")
        with self._explained():
            shutil.rmtree(part, ignore_errors=True)
            try:
                part.mkdir(parents=True)
                write(part)
                sums = {p.relative_to(part).as_posix(): _sha256(p) for p in part.rglob("*") if p.is_file()}
                (part / "saved.json").write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")
                for path in [*part.rglob("*"), part]:
                    _sync(path)
                _remove(final)
                part.rename(final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            _sync(final.parent)
            _sync(final.parent.parent)

    def check_agent(self, node: str, moment: str) -> Path:
        """The folder of a saved agent. Raises MissingWeights if it, or a file of it, is gone or was altered."""
        folder = self.agent_folder(node, moment)
        advice = f"Delete {folder.parent} and run the plan again: only this node and what it helps is trained anew."
        if not self.has_agent(node, moment):
            raise MissingWeights(f"{folder}: these weights are missing. {advice}")
        try:
            sums = dict[str, str](json.loads((folder / "saved.json").read_text()))
        except (ValueError, TypeError):
            raise MissingWeights(f"{folder}/saved.json is damaged. {advice}") from None
        with self._explained():
            for name, digest in sums.items():
                if not (folder / name).is_file():
                    raise MissingWeights(f"{folder / name}: missing. {advice}")
                if _sha256(folder / name) != digest:
                    raise MissingWeights(f"{folder / name}: not as it was saved (cut off, or altered). {advice}")
        return folder

    def promote_agent(self, node: str, moment: str, final: str) -> None:
        """Publish a saved agent under another moment's name, less what only going on with its training needs (the
        files called `optimizer*`), and leave no other of the node behind."""
        if not self.has_agent(node, final):
            source = self.check_agent(node, moment)
            self.save_agent(node, final, lambda folder: _copy(source, folder))
        self.tidy_agents(node, final)

    def tidy_agents(self, node: str, final: str) -> None:
        """Remove what an interrupted run left beside a node's final agent."""
        folder = self._own_agents(node)
        with self._explained():
            _remove(_doomed(folder))
            for path in folder.iterdir():
                if path.name != final:
                    _remove(path)

    def drop_agent(self, node: str, moment: str) -> None:
        """Forget a checkpoint that a later one replaces."""
        with self._explained():
            _remove(self.agent_folder(node, moment))

    def has_agents(self, node: str) -> bool:
        """Whether any weights of a node are there, published or not, or half deleted."""
        folder = self._agents(node)
        return folder.is_dir() or _doomed(folder).is_dir()

    def forget(self, node: str, *, records: bool) -> None:
        """Delete a node's weights, and (with `records`) all that was recorded of it.

        The weights go first, in one step: cut off anywhere, no node counts as trained that has no record. Raises
        StoreError, and deletes nothing, if `node` is no node's key or a link leads out of the run's folder.
        """
        folder = self._own_agents(node)
        doomed = _doomed(folder)
        with self._explained():
            _remove(doomed)  # a deletion that was cut off
            if folder.exists():
                folder.rename(doomed)
                _sync(folder.parent)
                _remove(doomed)
            if records:
                with self._engine.begin() as db:
                    db.execute(_records.delete().where(_records.c.node == node))
                    db.execute(_timings.delete().where(_timings.c.node == node))

    def compact(self) -> None:
        """Give the room of what was deleted back to the disk."""
        with self._explained(), self._reader.connect() as db:  # its connections begin no transaction
            db.exec_driver_sql("VACUUM")
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _agents(self, node: str) -> Path:
        if not _KEY.fullmatch(node):
            raise StoreError(f"{self.folder}: {node!r} is not the key of a node (16 hex digits). {_ALTERED}")
        return self.folder / "agents" / node

    def _own_agents(self, node: str) -> Path:
        """The folder of all of a node's weights, which may be changed. Raises StoreError if a link leads elsewhere."""
        folder = self._agents(node)
        if folder.resolve() != self.folder.resolve() / "agents" / node:
            raise StoreError(
                f"{folder}: a link leads out of the run's folder, and nothing there is changed. Remove the link; to "
                "keep agents on another disk, give a whole folder there as --out."
            )
        return folder

    # -- the tables ---------------------------------------------------------------------------------------------

    def _check_schema(self, *, create: bool) -> None:
        """Make the tables, or bring older ones up to date, in one step: killed anywhere, the file is whole. Nothing is
        written before it is known to be a record of rrm that needs it."""
        path = self.folder / "record.sqlite"
        version = None
        if path.exists():
            onlooker = _onlooker(path)
            with onlooker.connect() as db:
                version = self._version(db)
        if version == SCHEMA:
            return
        if version is None:
            if not create or any((self.folder / "agents").glob("*/*")):
                raise StoreError(f"{path} is empty: nothing was recorded in it, or it was cut off. {_ELSEWHERE}")
            with self._reader.connect() as db:
                db.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays with the file
        with self._engine.begin() as db:
            version = self._version(db)  # again: another process may have been first
            if version is None:
                _tables.create_all(db)
                db.execute(insert(_meta).values(key="schema", value=str(SCHEMA)))
                return
            for step in range(version, SCHEMA):
                MIGRATIONS[step](db)
            db.execute(_meta.update().where(_meta.c.key == "schema").values(value=str(SCHEMA)))

    def _version(self, db: Connection) -> int | None:
        """The schema of the tables, None where there are none. Raises StoreError if this rrm cannot use them."""
        foreign = StoreError(f"{self.folder / 'record.sqlite'} is not a record of rrm, or it is damaged. {_ELSEWHERE}")
        tables = set(inspect(db).get_table_names())
        if not tables:
            return None
        if not tables >= {"meta", "records"} or {c["name"] for c in inspect(db).get_columns("meta")} != {
            "key",
            "value",
        }:
            raise foreign
        found = db.execute(select(_meta.c.value).where(_meta.c.key == "schema")).scalar_one_or_none()
        if found is None or not str(found).isdecimal():
            raise foreign
        version = int(found)
        if version > SCHEMA:
            raise StoreError(f"{self.folder}: made by a newer rrm (schema {version}, not {SCHEMA}). Upgrade rrm.")
        for step in range(version, SCHEMA):
            if step not in MIGRATIONS:
                raise StoreError(f"{self.folder}: schema {step} is too old for this rrm. Read it with an older rrm.")
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise StoreError(
                f"{self.folder}: something was about to be recorded twice. Is another `rrm run` using this folder?"
            ) from error
        except DBAPIError as error:
            reason = str(error.orig)
            raise StoreError(f"{self.folder / 'record.sqlite'}: {reason}. {_advice(reason)}") from error
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror or error}. {_advice(str(error))}") from error


_ELSEWHERE = "Give another --out, or restore it from a copy."
_ALTERED = "The record was not made by rrm, or it was altered."
_KEY = re.compile("[0-9a-f]{16}")


def _advice(reason: str) -> str:
    if "not a database" in reason or "malformed" in reason:
        return f"It is not a record of rrm, or it is damaged. {_ELSEWHERE}"
    if any(words in reason for words in ("full", "No space", "File too large", "disk I/O error")):
        return "Free some space and run the plan again: it goes on from what was recorded."
    if "locked" in reason:
        return "Another process holds it; wait for it to end."
    return "Check the folder's permissions and free space, or give another --out."


def _sqlite(path: Path, *, writes: bool, durable: bool = True) -> Engine:
    """An engine whose transactions take the write lock at once (deferred ones fail when several processes write), or
    one that only reads, and takes none. What need not be durable (timings) waits for no disk."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": 60, "isolation_level": None}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    if writes:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _onlooker(path: Path) -> Engine:
    """An engine that cannot write. Even a reader brings a left-over log into the file, or puts files beside it: so a
    file that nobody has open is read as one that never changes, looked at anew for each question."""

    def connect() -> sqlite3.Connection:
        is_open = any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))
        mode = "mode=ro" if is_open else "immutable=1"
        return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=60, isolation_level=None)

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    """A folder with all in it, or a file (a file manager may have left one), if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _doomed(folder: Path) -> Path:
    """What a node's folder is called while it is deleted."""
    return folder.with_name(f"{folder.name}.part")


def _copy(source: Path, folder: Path) -> None:
    needless = shutil.ignore_patterns("saved.json", "optimizer*")
    shutil.copytree(source, folder, ignore=needless, dirs_exist_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
