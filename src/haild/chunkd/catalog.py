"""The catalog: which objects there are, in SQLite, with the bodies of small ones.

A write is a function that runs inside a transaction on the one writing thread. Writes that wait together
are committed together, so that many clients share one flush to disk (WAL, synchronous=FULL). Reads run on
a connection of their own and see what has been committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from haild.transfer.waiting import settled

SCHEMA_VERSION: Final = 1
MAXIMUM_BATCH: Final = 256
"""Writes in one transaction."""
CHECKPOINT_PAGES: Final = 4000
"""Pages in the write-ahead log (16 MB) at which SQLite copies them to the database."""

_SCHEMA: Final = """
CREATE TABLE tables (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, key BLOB NOT NULL, owner BLOB NOT NULL,
    size INTEGER NOT NULL, sha1 BLOB NOT NULL, mtime INTEGER NOT NULL, in_file INTEGER NOT NULL,
    UNIQUE (table_id, key)
);
-- The body of the object, or the checksums of its blocks if the body is a file.
CREATE TABLE content (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
-- Body files whose objects are gone.
CREATE TABLE garbage (id INTEGER PRIMARY KEY);
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, table_name BLOB NOT NULL, key BLOB NOT NULL, owner BLOB NOT NULL,
    size INTEGER NOT NULL, sha1 BLOB NOT NULL, mtime INTEGER NOT NULL, in_file INTEGER NOT NULL,
    found INTEGER NOT NULL
);
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]


class CatalogError(Exception):
    """The catalog cannot be read or written; the text says why."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A row of the catalog."""

    id: int
    table: int
    key: bytes
    owner: bytes
    size: int
    sha1: bytes
    mtime: int
    in_file: bool


COLUMNS: Final = "id, table_id, key, owner, size, sha1, mtime, in_file"


def stored_object(row: tuple[Any, ...]) -> StoredObject:
    """The object in a row of COLUMNS."""
    number, table, key, owner, size, sha1, mtime, in_file = row
    return StoredObject(number, table, key, owner, size, sha1, mtime, bool(in_file))


@dataclass(slots=True)
class _Submission:
    write: Write[Any]
    after: Callable[[], None] | None
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Catalog:
    """An open catalog, bound to the running event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self.reader = connect(path)
        self._queue: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._writer = connect(path, writing=True)
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)
        self._thread.start()

    async def write(self, write: Write[T], after: Callable[[], None] | None = None) -> T:
        """Run `write` in a transaction and return its result once that is on disk.

        What `write` raises undoes its own changes only, and is raised here. `after` runs on the writing thread
        between the commit and the return; OSError in it is raised here, too. Raises CatalogError if the commit
        fails. Cancelling takes effect when the write is done, and does not undo it.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Submission(write, after, future))
        return await settled(future)

    def close(self, last: Write[None]) -> None:
        """Commit what has been submitted, and `last`, and close the files."""
        self._queue.put(None)
        self._thread.join()
        self.reader.close()
        with contextlib.suppress(sqlite3.Error):
            last(self._writer)
        self._writer.close()

    def _run(self) -> None:
        while True:
            batch, last = self._next_batch()
            if batch:
                self._commit(batch)
                # The loop may be closed already, if the daemon is being cut off.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(_deliver, batch)
            if last:
                return

    def _next_batch(self) -> tuple[list[_Submission], bool]:
        batch: list[_Submission] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == MAXIMUM_BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Submission]) -> None:
        try:
            self._transact(batch)
        except Exception as error:
            for submission in batch:
                submission.error = CatalogError(str(error))
            return
        for submission in batch:
            if submission.after is not None and submission.error is None:
                try:
                    submission.after()
                except OSError as error:
                    submission.error = error

    def _transact(self, batch: list[_Submission]) -> None:
        database = self._writer
        for last in (False, True):
            try:
                database.execute("BEGIN IMMEDIATE")
                for submission in batch:
                    _apply(database, submission)
                database.execute("COMMIT")
                return
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                if last or getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                    raise
                # The disk is full: the log gives back its space once it has been copied to the database.
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _apply(database: sqlite3.Connection, submission: _Submission) -> None:
    submission.error = None
    database.execute("SAVEPOINT one")
    try:
        submission.result = submission.write(database)
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        submission.error = error
        database.execute("ROLLBACK TO one")
    database.execute("RELEASE one")


def _deliver(batch: list[_Submission]) -> None:
    for submission in batch:
        if submission.future.done():
            continue
        if submission.error is not None:
            submission.future.set_exception(submission.error)
        else:
            submission.future.set_result(submission.result)


def connect(path: Path, *, writing: bool = False) -> sqlite3.Connection:
    """A connection to the catalog at `path`; transactions are the caller's business. Raises CatalogError."""
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        database.execute("PRAGMA synchronous = FULL")
        if writing:
            database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            database.execute("PRAGMA journal_size_limit = 67108864")
        else:
            database.execute("PRAGMA query_only = ON")
            database.execute("PRAGMA cache_size = -8000")
    except sqlite3.Error as error:
        raise CatalogError(f"{path}: {error}") from error
    return database


def create_catalog(path: Path) -> None:
    """Create the catalog at `path` if there is none, and check its version. Raises CatalogError."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                raise CatalogError(f"{path}: made by another version of chunkd (schema {version})")
    except sqlite3.Error as error:
        raise CatalogError(f"{path}: {error}") from error


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection on which all reads see one state of the catalog. Raises CatalogError."""
    database = connect(path)
    try:
        # It is read from end to end once: keeping pages would only cost memory, in each thread that does it.
        database.execute("PRAGMA cache_size = -500")
        database.execute("BEGIN")
        yield database
    finally:
        database.close()
