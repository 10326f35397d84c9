"""The store: tables of immutable objects, kept in the catalog and in body files.

What is acknowledged is on disk. Objects are visible to readers from the commit of their row.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from haild.chunkd.bodies import Bodies, BodyWriter, FinishedBody
from haild.chunkd.catalog import (
    COLUMNS,
    Catalog,
    CatalogError,
    StoredObject,
    connect,
    create_catalog,
    stored_object,
)
from haild.chunkd.reading import BodyFile, DamagedError, Verified, stamp_of
from haild.daemon.continuity import Continuity
from haild.daemon.datadir import hold
from haild.daemon.errors import DamagedDataError, StartError, refusal
from haild.transfer.waiting import settled
from haild.wire.chunk.messages import ResponseCode

INLINE_SIZE: Final = 32768
"""Bytes of the largest body that is kept in the catalog itself."""
THREADS: Final = 8
LARGEST_RESERVE: Final = 64 << 20
RESERVED_SHARE: Final = 0.05
"""Of the disk, up to LARGEST_RESERVE bytes, bodies do not get: a full store must still be able to delete."""
ORDINARY: Final = 16 << 20
"""Bytes of a body that a disk must have room for not to be called full."""
CATALOG: Final = "catalog.sqlite"

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RefusedError(Exception):
    """The protocol's answer to a request that cannot be granted."""

    def __init__(self, code: ResponseCode) -> None:
        self.code = code
        super().__init__(code.name)


class Store:
    """An open store, bound to the running event loop. Made by `Store.open`."""

    def __init__(self, root: Path, catalog: Catalog, bodies: Bodies, lock: int, opened: contextlib.ExitStack) -> None:
        self.root = root
        self.catalog = catalog
        self.bodies = bodies
        self._lock = lock
        self._opened = opened
        self._reserved: set[tuple[int, bytes]] = set()
        self._removed: list[int] = []
        self._verified = Verified()
        self._full = False
        self._next_number = _highest_number(catalog.reader) + 1
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open the store in the directory `root`, and finish what a crash interrupted. Raises StartError."""
        lock = hold(root, "chunkd")
        bodies = Bodies(root)
        opened = contextlib.ExitStack()
        try:
            opened.enter_context(_continued(root / CATALOG, bodies))
            bodies.create()
            _recover(root, bodies)
            catalog = Catalog(root / CATALOG)
        except BaseException as error:
            opened.close()
            os.close(lock)
            raise _start_error(root, error) from error
        return cls(root, catalog, bodies, lock, opened)

    def close(self) -> None:
        """Finish what has been submitted and close all files."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.catalog.close(self._forget_garbage)
        self._opened.close()
        os.close(self._lock)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that blocks on the file system in a thread of the store."""
        loop = asyncio.get_running_loop()
        return await settled(loop.run_in_executor(self._executor, function, *arguments))

    # Tables.

    def find_table(self, name: bytes) -> int | None:
        """The number of the table called `name`, None if there is none."""
        row = self.catalog.reader.execute("SELECT id FROM tables WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    async def create_table(self, name: bytes) -> tuple[int, bool]:
        """Create the table called `name`. Returns its number, and whether it is new."""

        def write(database: sqlite3.Connection) -> tuple[int, bool]:
            insert = "INSERT INTO tables (name) VALUES (?) ON CONFLICT DO NOTHING"
            created = database.execute(insert, (name,)).rowcount > 0
            row = database.execute("SELECT id FROM tables WHERE name = ?", (name,)).fetchone()
            return int(row[0]), created

        return await self.catalog.write(write)

    # Reading.

    def find(self, table: int, key: bytes) -> StoredObject | None:
        """The object under `key`, None if there is none."""
        row = self.catalog.reader.execute(_SELECT, (table, key)).fetchone()
        return None if row is None else stored_object(row)

    def owned(self, table: int, key: bytes, user: bytes) -> StoredObject:
        """The object under `key` that belongs to `user`. Raises RefusedError."""
        if not key:
            raise RefusedError(ResponseCode.INVALID_KEY)
        found = self.find(table, key)
        if found is None:
            raise RefusedError(ResponseCode.NO_SUCH_KEY)
        if found.owner != user:
            raise RefusedError(ResponseCode.ACCESS_DENIED)
        return found

    def inline_body(self, stored: StoredObject) -> bytes:
        """The body of an object that is kept in the catalog, verified. Raises DamagedError."""
        body = self._content(stored)
        if hashlib.sha1(body, usedforsecurity=False).digest() != stored.sha1:
            raise DamagedError(stored)
        return body

    def _content(self, stored: StoredObject) -> bytes:
        row = self.catalog.reader.execute("SELECT data FROM content WHERE id = ?", (stored.id,)).fetchone()
        return b"" if row is None else bytes(row[0])

    async def open_body(self, stored: StoredObject) -> BodyFile:
        """The body of an object that is kept in a file. Raises DamagedError if the file is missing."""
        checksums = self._content(stored)

        def opened() -> BodyFile:
            return BodyFile(stored, self.bodies.open(stored.id), checksums, self._verified)

        try:
            return await self.in_thread(opened)
        except FileNotFoundError as error:
            raise DamagedError(stored) from error

    # Writing.

    def reserve(self, table: int, key: bytes) -> None:
        """Keep `key` for a PUT or CP under way, until `release`. Raises RefusedError if it is taken."""
        if not key:
            raise RefusedError(ResponseCode.INVALID_KEY)
        if (table, key) in self._reserved or self.find(table, key) is not None:
            raise RefusedError(ResponseCode.KEY_EXISTS)
        self._reserved.add((table, key))

    def release(self, table: int, key: bytes) -> None:
        """End a reservation: the object has been stored, or will not be."""
        self._reserved.discard((table, key))

    def require_room(self, size: int) -> None:
        """Raise RefusedError if a body of `size` bytes would use up what deleting and listing need of the disk."""
        status = os.statvfs(self.root)
        reserve = min(LARGEST_RESERVE, int(status.f_blocks * status.f_frsize * RESERVED_SHARE))
        room = status.f_bavail * status.f_frsize - reserve
        # A request for a terabyte is refused, but says nothing about the disk, and may come a thousand times.
        full = room < min(size, ORDINARY)
        if full != self._full:
            self._full = full
            logger.warning("the disk is full: nothing more is stored" if full else "there is room on the disk again")
        if room < size:
            raise RefusedError(ResponseCode.INTERNAL_ERROR)

    def writer(self) -> BodyWriter:
        """A writer for a new body file."""
        return BodyWriter(self.bodies, self._new_number())

    async def add_inline(self, table: int, key: bytes, owner: bytes, body: bytes) -> StoredObject:
        """Store a body of at most INLINE_SIZE bytes under a reserved key."""
        sha1 = hashlib.sha1(body, usedforsecurity=False).digest()
        stored = StoredObject(self._new_number(), table, key, owner, len(body), sha1, int(time.time()), in_file=False)
        await self.catalog.write(lambda database: _insert(database, stored, body))
        return stored

    async def add_file(self, table: int, key: bytes, owner: bytes, body: FinishedBody) -> StoredObject:
        """Store a finished body file under a reserved key. If that fails the file is removed."""
        stored = StoredObject(body.number, table, key, owner, body.size, body.sha1, int(time.time()), in_file=True)
        committed = False

        def place() -> None:
            nonlocal committed
            committed = True
            placed, written = stamp_of(self.bodies.place(body.number)), body.written
            # The move changes the last of it.
            if written is not None and placed[:-1] == stamp_of(written)[:-1]:
                self._verified.add(body.number, placed)

        try:
            await self.catalog.write(lambda database: _insert(database, stored, body.checksums), place)
        finally:
            if not committed:
                await self.in_thread(self.bodies.discard, body.number)
        return stored

    async def delete(self, table: int, key: bytes, user: bytes) -> None:
        """Remove the object of `user` under `key`. Raises RefusedError."""
        if not key:
            raise RefusedError(ResponseCode.INVALID_KEY)

        def write(database: sqlite3.Connection) -> StoredObject:
            stored = _owned(database, table, key, user)
            _forget(database, stored)
            self._forget_garbage(database)
            return stored

        await self._remove_body(await self.catalog.write(write))

    async def set_aside(self, stored: StoredObject) -> bool:
        """Take a damaged object out of its table and keep what is left of it for inspection.

        Returns whether it was still there.
        """

        def write(database: sqlite3.Connection) -> bool:
            # It may have been deleted, or found damaged, by another request meanwhile.
            copied = database.execute(_QUARANTINE, (int(time.time()), stored.id)).rowcount
            # Its row in content stays: the body, or the checksums by which to see what is damaged.
            database.execute("DELETE FROM objects WHERE id = ?", (stored.id,))
            return copied > 0

        if not await self.catalog.write(write):
            return False
        logger.warning("object %x is damaged: set aside", stored.id)
        if stored.in_file:
            await self.in_thread(self.bodies.set_aside, stored.id)
        return True

    async def copy(self, table: int, source: bytes, key: bytes, user: bytes) -> None:
        """Store the object under `source` under the reserved `key` as well, with a new mtime. Raises RefusedError."""
        found = self.owned(table, source, user)
        if not found.in_file:
            await self.add_inline(table, key, user, self.inline_body(found))
            return
        checksums = self._content(found)
        number = self._new_number()
        try:
            await self.in_thread(self.bodies.copy, found.id, number)
        except FileNotFoundError as error:
            raise DamagedError(found) from error
        await self.add_file(table, key, user, FinishedBody(number, found.size, found.sha1, checksums))

    async def empty(self, tables: Collection[int]) -> None:
        """Discard all objects, and all tables but `tables`; no byte of them is left on disk. Raises OSError.

        A crash leaves everything, or no object: their bodies are garbage from the commit on.
        """

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR IGNORE INTO garbage SELECT id FROM objects WHERE in_file")
            for table in ("objects", "content", "quarantine", "state"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
            known = [number for (number,) in database.execute("SELECT id FROM tables")]
            database.executemany("DELETE FROM tables WHERE id = ?", [(n,) for n in known if n not in tables])

        last = self._next_number
        await self.catalog.write(write)
        await self.in_thread(self.bodies.remove_all, last)
        self._removed.clear()
        await self.catalog.empty(lambda database: database.execute("DELETE FROM garbage").close())

    def _new_number(self) -> int:
        """A number that no object has or had since the start."""
        number, self._next_number = self._next_number, self._next_number + 1
        return number

    async def _remove_body(self, stored: StoredObject) -> None:
        if stored.in_file:
            await self.in_thread(self.bodies.remove, stored.id)
            self._removed.append(stored.id)

    def _forget_garbage(self, database: sqlite3.Connection) -> None:
        """Forget the garbage whose files are gone. If the commit fails, the next start does it."""
        while self._removed:
            database.execute("DELETE FROM garbage WHERE id = ?", (self._removed.pop(),))


_SELECT: Final = f"SELECT {COLUMNS} FROM objects WHERE table_id = ? AND key = ?"  # noqa: S608 - constants
_QUARANTINE: Final = """
INSERT INTO quarantine (id, table_name, key, owner, size, sha1, mtime, in_file, found)
SELECT objects.id, tables.name, key, owner, size, sha1, mtime, in_file, ?
FROM objects JOIN tables ON tables.id = objects.table_id WHERE objects.id = ?
"""


def _owned(database: sqlite3.Connection, table: int, key: bytes, user: bytes) -> StoredObject:
    row = database.execute(_SELECT, (table, key)).fetchone()
    if row is None:
        raise RefusedError(ResponseCode.NO_SUCH_KEY)
    stored = stored_object(row)
    if stored.owner != user:
        raise RefusedError(ResponseCode.ACCESS_DENIED)
    return stored


def _insert(database: sqlite3.Connection, stored: StoredObject, content: bytes) -> None:
    database.execute(
        f"INSERT INTO objects ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
        (
            stored.id,
            stored.table,
            stored.key,
            stored.owner,
            stored.size,
            stored.sha1,
            stored.mtime,
            stored.in_file,
        ),
    )
    database.execute("INSERT INTO content (id, data) VALUES (?, ?)", (stored.id, content))


def _forget(database: sqlite3.Connection, stored: StoredObject) -> None:
    database.execute("DELETE FROM objects WHERE id = ?", (stored.id,))
    database.execute("DELETE FROM content WHERE id = ?", (stored.id,))
    if stored.in_file:
        database.execute("INSERT INTO garbage (id) VALUES (?)", (stored.id,))


def _highest_number(database: sqlite3.Connection) -> int:
    numbers = [0]
    for table in ("objects", "content", "garbage", "quarantine"):
        (highest,) = database.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608 - constants
        numbers.append(highest or 0)
    return max(numbers)


@contextlib.contextmanager
def _continued(path: Path, bodies: Bodies) -> Iterator[None]:
    """Make sure that the catalog is the one that was here, and mark it as open meanwhile. Raises DamagedDataError."""
    continuity = Continuity(path)
    continuity.check()
    if not path.exists() and bodies.any():
        raise DamagedDataError(
            f"{path} is gone, but there are bodies that it listed: put the file back, or restore a snapshot"
        )
    with contextlib.closing(connect(path, writing=True)) as guard:
        # Read first: the log of a killed process must not be folded in, and removed, by another connection's end.
        guard.execute("SELECT count(*) FROM sqlite_master").fetchone()
        create_catalog(path)
        continuity.begin(guard)
        try:
            yield
        finally:
            continuity.end(guard)


def _start_error(root: Path, error: BaseException) -> BaseException:
    """What to raise for an error while the store is opened."""
    if isinstance(error, OSError):
        return refusal(str(error.filename or root), error)
    cause = error.__cause__ if isinstance(error, CatalogError) else error
    if isinstance(cause, sqlite3.Error):
        return refusal(str(root), cause)
    return StartError(str(error)) if isinstance(error, CatalogError) else error


def _recover(root: Path, bodies: Bodies) -> None:
    """Finish what a crash interrupted. Raises OSError, CatalogError and sqlite3.Error."""
    with contextlib.closing(connect(root / CATALOG, writing=True)) as database:

        def in_file(number: int) -> bool:
            query = "SELECT 1 FROM objects WHERE id = ? AND in_file"
            return database.execute(query, (number,)).fetchone() is not None

        garbage = [number for (number,) in database.execute("SELECT id FROM garbage")]
        damaged = [number for (number,) in database.execute("SELECT id FROM quarantine WHERE in_file")]
        handled = bodies.recover(in_file, garbage, damaged)
        database.execute("DELETE FROM garbage")
    if handled:
        logger.info("cleared up after %d interrupted requests", handled)
