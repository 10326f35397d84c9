"""A SQLite database under asyncio: one writing thread (`haild.daemon.groupcommit`), a few reading ones."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from haild.daemon.datadir import hold
from haild.daemon.errors import DamagedDataError, StartError, refusal
from haild.daemon.groupcommit import GroupCommit
from haild.iwhd.metadata.port import DatabaseError
from haild.iwhd.metadata.schema import SCHEMA, UPGRADES, VERSION

READERS: Final = 2

WITNESS: Final = "witness"
"""An empty file beside the database: it was made, and must be there."""

_T = TypeVar("_T")


class SqliteDatabase:
    """Implements `metadata.port.Database` in a file. Opened once; only one process can have it open."""

    def __init__(self, directory: Path) -> None:
        """Open the database in `directory`, created if need be. Raises StartError with a text for the user."""
        self._path = directory / "iwhd.db"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = hold(directory, "iwhd")
            _check_presence(directory, self._path)
            writer = _connect(self._path)
            _prepare(writer)
            (directory / WITNESS).touch(mode=0o600)
        except (OSError, sqlite3.Error) as error:
            raise refusal(f"cannot keep metadata in {directory} (option -d names another)", error) from error
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "metadata-reader")
        self._searcher = ThreadPoolExecutor(1, "metadata-search")
        self._writer = GroupCommit(writer, failure=lambda error: DatabaseError(str(error)))

    async def close(self) -> None:
        """Finish what is waiting, then release the files."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.close)
        for executor in (self._readers, self._searcher):
            await asyncio.to_thread(executor.shutdown)
        for connection in self._reading:
            connection.close()
        os.close(self._lock)

    async def write(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `function` in a transaction; returns its result once that is durable.

        What `function` raises undoes its changes and is raised here; DatabaseError where SQLite fails. Cancelling
        takes effect when the transaction is over, and does not undo it.
        """
        return await self._writer.run(function)

    async def read(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `function` on a connection that sees everything committed. Raises DatabaseError where SQLite fails."""
        return await self._run(self._readers, function)

    async def search(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """As read(), for what may take long: one at a time, so that reads never wait for it."""
        return await self._run(self._searcher, function)

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._closed:
            raise DatabaseError("the database is closed")
        try:
            return await self._loop.run_in_executor(executor, self._read, function)
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


def _check_presence(directory: Path, path: Path) -> None:
    """Raises DamagedDataError if there was a database in the directory and it is gone: we would start empty."""
    if (directory / WITNESS).exists() and not (path.exists() and path.stat().st_size):
        raise DamagedDataError(
            f"the database {path} is gone, and with it all attributes and the list of what is stored; restore it. "
            f"To begin without it, remove {directory / WITNESS}"
        )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StartError(
            f"a newer release made the metadata (their version is {version}, this release knows 1 to {VERSION}); "
            "nothing is damaged: run that release, or a later one"
        )
    if version < VERSION:
        steps = "".join(UPGRADES[each] for each in range(version, VERSION)) if version else SCHEMA
        connection.executescript(f"BEGIN;{steps}PRAGMA user_version={VERSION};COMMIT;")
