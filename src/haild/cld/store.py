"""Rows of cld on disk: SQLite with a write-ahead log; every batch is one transaction, synced before it counts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Final

from haild.cld.changes import Changes, Row, Table
from haild.cld.files import Inode
from haild.cld.locks import Lock
from haild.cld.machine import Stored
from haild.cld.session import Handle
from haild.daemon import emptying
from haild.daemon.datadir import hold
from haild.daemon.errors import refusal
from haild.daemon.groupcommit import make_room

NAME: Final = "cld.sqlite"
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE inodes (inum INTEGER PRIMARY KEY, version INTEGER, created INTEGER, modified INTEGER, flags INTEGER,
    path BLOB);
CREATE TABLE contents (inum INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE sessions (sid BLOB PRIMARY KEY, user BLOB, transport TEXT, host TEXT, port INTEGER, began INTEGER,
    client_sequence BLOB, server_sequence BLOB, next_handle INTEGER, answers BLOB, lifeline INTEGER) WITHOUT ROWID;
CREATE TABLE handles (sid BLOB, handle INTEGER, inum INTEGER, mode INTEGER, events INTEGER,
    PRIMARY KEY (sid, handle)) WITHOUT ROWID;
CREATE TABLE locks (number INTEGER PRIMARY KEY, inum INTEGER, sid BLOB, handle INTEGER, shared INTEGER, held INTEGER,
    since INTEGER);
"""


_GROUPS: Final = (64, 16, 4, 1)
"""Rows in one statement. Python hands the interpreter over at every statement: a row each would let a commit wait for
the loop as often as it has rows."""


def _put(table: Table, count: int) -> str:
    # Names come from the enumeration, never from outside.
    columns = (*table.key, *table.columns)
    rows = ", ".join([f"({', '.join('?' * len(columns))})"] * count)
    return f"INSERT OR REPLACE INTO {table.label} ({', '.join(columns)}) VALUES {rows}"  # noqa: S608


def _delete(table: Table, count: int) -> str:
    keys = ", ".join([f"({', '.join('?' * len(table.key))})"] * count)
    return f"DELETE FROM {table.label} WHERE ({', '.join(table.key)}) IN (VALUES {keys})"  # noqa: S608


_PUT: Final = {(table, count): _put(table, count) for table in Table for count in _GROUPS}
_DELETE: Final = {(table, count): _delete(table, count) for table in Table for count in _GROUPS}


def _execute(
    database: sqlite3.Connection, statements: Mapping[tuple[Table, int], str], table: Table, rows: list[Row]
) -> None:
    start = 0
    for count in _GROUPS:
        while len(rows) - start >= count:
            database.execute(statements[table, count], list(chain.from_iterable(rows[start : start + count])))
            start += count


class Store:
    """The database of one server. `commit` is called from one thread at a time, `content` from any one other."""

    def __init__(self, directory: Path) -> None:
        """Open the database in `directory`, which must exist. Raises StartError."""
        path = directory / NAME
        self._lock = hold(directory, "cld")
        try:
            self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
            self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._reader.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            os.close(self._lock)
            raise refusal(str(path), error) from error

    def _prepare(self) -> None:
        writer = self._writer
        writer.execute("PRAGMA locking_mode = NORMAL")
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"made by another version of cld (schema {version})")

    def load(self) -> Stored:
        """Everything but contents."""
        read = self._reader.execute
        inodes = [Inode(*row) for row in read("SELECT * FROM inodes")]
        written = {inum for (inum,) in read("SELECT inum FROM contents")}
        for inode in inodes:
            inode.written = inode.inum in written
        sessions = [(row[0], tuple(row[1:])) for row in read("SELECT * FROM sessions")]
        handles = [Handle(*row) for row in read("SELECT * FROM handles ORDER BY sid, handle")]
        locks = [
            Lock(number, inum, (sid, handle), bool(shared), bool(held), since)
            for number, inum, sid, handle, shared, held, since in read("SELECT * FROM locks ORDER BY number")
        ]
        return Stored(inodes, sessions, handles, locks)

    def content(self, inum: int) -> bytes:
        """Stored content of a file or directory."""
        row = self._reader.execute("SELECT data FROM contents WHERE inum = ?", (inum,)).fetchone()
        return bytes(row[0]) if row is not None else b""

    def commit(self, batch: Changes) -> None:
        """Store a batch; on return it is on disk. Raises sqlite3.Error, with nothing stored."""
        try:
            self._transact(batch)
        except sqlite3.Error as error:
            if not make_room(self._writer, error):
                raise
            self._transact(batch)
        if batch.purge:
            emptying.purge(self._writer)

    def _transact(self, batch: Changes) -> None:
        writer = self._writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            for table, rows in batch.tables.items():
                if not rows:
                    continue
                _execute(writer, _PUT, table, [(*key, *row) for key, row in rows.items() if row is not None])
                _execute(writer, _DELETE, table, [key for key, row in rows.items() if row is None])
            writer.execute("COMMIT")
        except sqlite3.Error:
            writer.rollback()
            raise

    def close(self) -> None:
        """Close the database; its log is folded into it."""
        self._reader.close()
        self._writer.close()
        os.close(self._lock)
