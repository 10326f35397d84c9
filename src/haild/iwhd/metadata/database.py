"""A SQLite database under asyncio: one writing thread with group commit, a few reading ones.

Every change is a function of a connection. Changes that are waiting when the writer is free become one
transaction with a savepoint each: one fsync for all, and one that fails takes no other with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from haild.daemon.errors import StartError, refusal
from haild.iwhd.metadata.schema import SCHEMA, VERSION

MAXIMUM_GROUP: Final = 128
"""Changes in one transaction."""

READERS: Final = 2

_T = TypeVar("_T")


class DatabaseError(Exception):
    """The database cannot be read or written: full or broken disk, or it is closed."""


@dataclass(slots=True)
class _Change:
    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Database:
    """The metadata of one daemon. Opened once; only one process can have it open."""

    def __init__(self, directory: Path) -> None:
        """Open the database in `directory`, created if need be. Raises StartError with a text for the user."""
        self._path = directory / "iwhd.db"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory)
            self._writer = _connect(self._path)
            _prepare(self._writer)
        except (OSError, sqlite3.Error) as error:
            raise refusal(f"cannot keep metadata in {directory} (option -d names another)", error) from error
        self._loop = asyncio.get_running_loop()
        self._changes: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._closed = False
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "metadata-reader")
        self._thread = threading.Thread(target=self._write_forever, name="metadata-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish what is waiting, then release the files."""
        if self._closed:
            return
        self._closed = True
        self._changes.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in [*self._reading, self._writer]:
            connection.close()
        os.close(self._lock)

    async def write(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `function` in a transaction; returns its result once that is durable.

        What `function` raises undoes its changes and is raised here; DatabaseError where SQLite fails.
        """
        if self._closed:
            raise DatabaseError("the database is closed")
        change = _Change(function, self._loop.create_future())
        self._changes.put(change)
        result: _T = await change.future
        return result

    async def read(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `function` on a connection that sees everything committed. Raises DatabaseError where SQLite fails."""
        if self._closed:
            raise DatabaseError("the database is closed")
        try:
            return await self._loop.run_in_executor(self._readers, self._read, function)
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from error

    def _read(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _connect(self._path)
            self._reading.append(connection)
        # One snapshot for all the statements of a function.
        connection.execute("BEGIN")
        try:
            return function(connection)
        finally:
            if connection.in_transaction:  # SQLite itself ends one that met a broken database
                connection.execute("ROLLBACK")

    def _write_forever(self) -> None:
        ending = False
        while not ending:
            group: list[_Change] = []
            change = self._changes.get()
            while change is not None:
                group.append(change)
                if len(group) == MAXIMUM_GROUP:
                    break
                try:
                    change = self._changes.get_nowait()
                except queue.Empty:
                    break
            ending = change is None
            if group:
                self._write_group(group)
                with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                    self._loop.call_soon_threadsafe(_report, group)

    def _write_group(self, group: list[_Change]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change in group:
                self._writer.execute("SAVEPOINT change")
                try:
                    change.result = change.function(self._writer)
                except BaseException as error:
                    change.error = error
                    self._writer.execute("ROLLBACK TO change")
                self._writer.execute("RELEASE change")
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            for change in group:
                change.error = error


def _report(group: list[_Change]) -> None:
    for change in group:
        if change.future.done():
            continue
        if change.error is None:
            change.future.set_result(change.result)
        elif isinstance(change.error, sqlite3.Error):
            failure = DatabaseError(str(change.error))
            failure.__cause__ = change.error
            change.future.set_exception(failure)
        else:
            change.future.set_exception(change.error)


def _lock(directory: Path) -> int:
    """Keep a second process out: it would take our uploads for leftovers. Held until closed or killed."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StartError(f"another iwhd keeps its metadata in {directory}") from error
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StartError(f"the metadata are of version {version}; this iwhd knows {VERSION} and earlier")
    if version < VERSION:
        connection.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
