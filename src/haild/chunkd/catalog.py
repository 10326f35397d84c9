"""The catalog: which objects there are, in SQLite, with the bodies of small ones.

A write is a function that runs inside a transaction (`haild.daemon.groupcommit`; WAL, synchronous=FULL). Reads run on
a connection of their own and see what has been committed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from haild.daemon import emptying
from haild.daemon.groupcommit import Change, GroupCommit

SCHEMA_VERSION: Final = 1
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


class Catalog:
    """An open catalog, bound to the running event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = connect(path)
        self._writing = connect(path, writing=True)
        self._writer = GroupCommit(self._writing, failure=lambda error: CatalogError(str(error)))

    async def write(self, write: Change[T], after: Callable[[], None] | None = None) -> T:
        """Run `write` in a transaction and return its result once that is on disk.

        What `write` raises undoes its own changes only, and is raised here. `after` runs on the writing thread
        between the commit and the return; OSError in it is raised here, too. Raises CatalogError where SQLite fails.
        Cancelling takes effect when the write is done, and does not undo it.
        """
        return await self._writer.run(write, after=after)

    async def empty(self, write: Change[T]) -> T:
        """As `write`, and what it deletes is in none of the files any more when this returns."""
        return await self._writer.run(write, after=lambda: emptying.purge(self._writing))

    def close(self, last: Change[None]) -> None:
        """Commit what has been submitted, and `last`, and close the files."""
        self.reader.close()
        self._writer.close(last)


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
