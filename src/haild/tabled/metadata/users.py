"""Users in the database (tabled.md 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from haild.tabled.metadata import schema


def replace(path: Path, users: Sequence[tuple[str, str]]) -> None:
    """Add users, or give them their new password, in the database at `path`. Raises sqlite3.Error."""
    connection = schema.connect(path)
    try:
        schema.create(connection)
        known = dict(connection.execute("SELECT name, password FROM users"))
        fresh = [(user, password) for user, password in users if known.get(user) != password]
        if fresh:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO users (name, password) VALUES (?, ?)", fresh)
            connection.execute("COMMIT")
    finally:
        connection.close()


def insert(path: Path, users: Sequence[tuple[str, str]]) -> None:
    """Add users to the database at `path` in one transaction.

    Raises sqlite3.IntegrityError, and adds none, where one exists already.
    """
    connection = schema.connect(path)
    try:
        schema.create(connection)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO users (name, password) VALUES (?, ?)", users)
        connection.execute("COMMIT")
    finally:
        connection.close()
