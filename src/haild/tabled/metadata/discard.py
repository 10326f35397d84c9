"""Discarding all that is stored, while nothing has the database open for work."""

from __future__ import annotations

import contextlib
from pathlib import Path

from haild.daemon import emptying
from haild.tabled.metadata import schema


def discard(path: Path) -> None:
    """Delete every row of the database at `path` but its facts, and leave no byte of them. Raises sqlite3.Error.

    The facts stay: ids of bodies go on, so that none is given twice. Users are taken from their file again.
    """
    with contextlib.closing(schema.connect(path)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'facts'"
        ).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for (name,) in names:
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - our own tables
        connection.execute("COMMIT")
        emptying.purge(connection)
