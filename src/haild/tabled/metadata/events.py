"""The queue of events that webhooks still have to be told of: the statements.

An event is entered in the transaction of the change that it tells of, so none is lost or told of without its change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `target`: the ARN of its destination; `attempts`: how often it was tried in vain."""

    sequence: int
    attempts: int
    target: str
    text: str


def add(db: sqlite3.Connection, events: Iterable[tuple[str, str]], now: float) -> None:
    """Queue (target, text) pairs. `now`: seconds since 1970."""
    rows = [(now, 0, target, text) for target, text in events]
    db.executemany("INSERT INTO events (due, attempts, target, text) VALUES (?, ?, ?, ?)", rows)


def due(db: sqlite3.Connection, now: float, limit: int) -> list[Event]:
    """The oldest events that are due, at most `limit`."""
    rows = db.execute(
        "SELECT sequence, attempts, target, text FROM events WHERE due <= ? ORDER BY sequence LIMIT ?", (now, limit)
    )
    return [Event(*row) for row in rows]


def next_due(db: sqlite3.Connection) -> float | None:
    """When the next event is due; None where there is none."""
    (moment,) = db.execute("SELECT min(due) FROM events").fetchone()
    return None if moment is None else float(moment)


def settle(db: sqlite3.Connection, done: Iterable[int], failed: Iterable[tuple[int, float]]) -> None:
    """Forget what was delivered or given up; what failed (number, next attempt in seconds since 1970) waits."""
    db.executemany("DELETE FROM events WHERE sequence = ?", [(sequence,) for sequence in done])
    db.executemany(
        "UPDATE events SET due = ?, attempts = attempts + 1 WHERE sequence = ?", [(when, n) for n, when in failed]
    )
