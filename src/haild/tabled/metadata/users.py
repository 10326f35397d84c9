"""The users' file: `username<TAB>password` lines (tabled.md 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from haild.tabled.metadata import schema


def parse(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Users and passwords. Comments, blank lines and lines without user or password are skipped.

    The password is everything after the first TAB; trailing white space does not count.
    """
    found = []
    for line in lines:
        text = line.rstrip()
        user, tab, password = text.partition("\t")
        if not text.startswith("#") and tab and user:
            found.append((user, password))
    return found


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
