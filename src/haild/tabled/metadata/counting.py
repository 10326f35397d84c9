"""How many rows the tables have, for the status page, without walking them each time.

Temporary triggers of the writing connection keep the numbers, in the transactions that change them and in memory:
nothing of it is in the database, and a process that is never asked does not count.
"""

from __future__ import annotations

import sqlite3
from typing import Final

TABLES: Final = ("buckets", "objects", "uploads", "bodies", "garbage")


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """Rows by table. `db` is the one connection that writes; the first call walks the tables."""
    if not db.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'counts'").fetchone():
        _begin(db)
    return dict(db.execute("SELECT name, number FROM temp.counts"))


def _begin(db: sqlite3.Connection) -> None:
    db.execute("CREATE TEMP TABLE counts (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
    for table in TABLES:
        db.execute(f"INSERT INTO temp.counts SELECT '{table}', count(*) FROM main.{table}")  # noqa: S608
        for event, change in (("INSERT", "+ 1"), ("DELETE", "- 1")):
            db.execute(
                f"CREATE TEMP TRIGGER count_{table}_{event} AFTER {event} ON main.{table} BEGIN"  # noqa: S608
                f" UPDATE counts SET number = number {change} WHERE name = '{table}'; END"
            )
