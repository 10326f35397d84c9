"""Whether a database is still the one that was here, and whole: a file without which SQLite starts empty is noticed.

SQLite makes a database that is missing, takes an empty file for a new one, and takes a database without its
write-ahead log for one without the latest changes. So a mark lies beside the database, `NAME.mark`: the identity and
generation that the database has inside, too, and whether a process has it open, for then there is a log. The
generation grows with each start.

The mark is written in place: on a full disk there is no room for a second one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from haild.daemon.errors import DamagedDataError

_SIZE: Final = 128
"""Bytes of a mark."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS continuity (identity INTEGER NOT NULL, generation INTEGER NOT NULL)"


@dataclass(frozen=True, slots=True)
class _Mark:
    identity: int
    generation: int
    open: bool


class Continuity:
    """The mark of one database. `check`, `begin` with a connection that stays open until `end`."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.mark")
        self._mark = self._read()

    @property
    def marked(self) -> bool:
        """Whether a database was here before."""
        return self._mark is not None

    def check(self) -> None:
        """Before the database is opened: raise DamagedDataError if it, or the log that it must have, is missing."""
        mark = self._mark
        if mark is None:
            return
        if not self._database.exists() or not self._database.stat().st_size:
            raise DamagedDataError(
                f"{self._database} is gone or empty, and what it listed cannot be found without it:"
                " put the file back, or restore a snapshot"
            )
        log = self._database.with_name(f"{self._database.name}-wal")
        if mark.open and not log.exists():
            raise DamagedDataError(
                f"{log} is gone, and with it the latest changes: put the file back, or restore a snapshot"
            )

    def begin(self, connection: sqlite3.Connection) -> None:
        """With the database open and whole: compare it with the mark, and mark it as open.

        Raises DamagedDataError if it is another database, or an older state of this one; sqlite3.Error; OSError.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_TABLE)
            row = connection.execute("SELECT identity, generation FROM continuity").fetchone()
            self._compare(row)
            identity, generation = row or (secrets.randbits(62), 0)
            connection.execute("DELETE FROM continuity")
            connection.execute("INSERT INTO continuity VALUES (?, ?)", (identity, generation + 1))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self._write(_Mark(identity, generation + 1, open=True))

    def _compare(self, row: tuple[int, int] | None) -> None:
        mark = self._mark
        if mark is None:
            return
        if row is None or row[0] != mark.identity:
            raise DamagedDataError(f"{self._database} is another database than the one that was here")
        # A kill may come between the commit and the mark: one ahead is whole.
        if row[1] < mark.generation:
            raise DamagedDataError(
                f"{self._database} is an older state (generation {row[1]}) than the last one here"
                f" (generation {mark.generation}): what was stored since then is missing"
            )

    def end(self, connection: sqlite3.Connection) -> None:
        """Before the last connection is closed, which removes the log: mark the database as closed."""
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self._mark is not None:
            with contextlib.suppress(OSError):
                self._write(_Mark(self._mark.identity, self._mark.generation, open=False))

    def _read(self) -> _Mark | None:
        try:
            fields = json.loads(self._path.read_bytes())
            return _Mark(int(fields["identity"]), int(fields["generation"]), bool(fields["open"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, mark: _Mark) -> None:
        fields = {"identity": mark.identity, "generation": mark.generation, "open": mark.open}
        text = json.dumps(fields).ljust(_SIZE - 1) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, text.encode("ascii"), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._mark = mark
