"""Bodies, their copies on nodes, and what nodes still have to delete: the statements.

A body has as many users as segments of objects and parts name it. When the last one goes, its copies become
garbage in the same transaction, so nothing is forgotten however the process ends.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from haild.tabled.metadata.port import BodyMissingError
from haild.tabled.metadata.records import Segment, StoredBody


def retain(db: sqlite3.Connection, segments: Iterable[Segment], stored: Sequence[StoredBody]) -> None:
    """Count the segments as users of their bodies; enter the bodies that were just stored.

    Raises BodyMissingError where a shared body is gone.
    """
    users = Counter(segment.body for segment in segments)
    for body in stored:
        count = users.pop(body.body, 0)
        db.execute("INSERT INTO bodies (body, size, users) VALUES (?, ?, ?)", (body.body, body.size, count))
        for node in body.nodes:
            db.execute("INSERT INTO copies (body, node) VALUES (?, ?)", (body.body, node))
    for number, count in users.items():
        if not db.execute("UPDATE bodies SET users = users + ? WHERE body = ?", (count, number)).rowcount:
            raise BodyMissingError(number)


def release(db: sqlite3.Connection, segments: Iterable[Segment]) -> None:
    """The segments no longer use their bodies; bodies without a user become garbage."""
    for number, count in Counter(segment.body for segment in segments).items():
        row = db.execute(
            "UPDATE bodies SET users = users - ? WHERE body = ? RETURNING users", (count, number)
        ).fetchone()
        if row is None or row[0] > 0:
            continue
        db.execute(
            "INSERT OR IGNORE INTO garbage (node, body) SELECT node, body FROM copies WHERE body = ?", (number,)
        )
        db.execute("DELETE FROM copies WHERE body = ?", (number,))
        db.execute("DELETE FROM bodies WHERE body = ?", (number,))


def add_copy(db: sqlite3.Connection, body: int, node: int) -> bool:
    """Note a copy; if the body is gone the copy is garbage and the answer False."""
    if db.execute("SELECT 1 FROM bodies WHERE body = ?", (body,)).fetchone() is None:
        db.execute("INSERT OR IGNORE INTO garbage (node, body) VALUES (?, ?)", (node, body))
        return False
    db.execute("INSERT OR IGNORE INTO copies (body, node) VALUES (?, ?)", (body, node))
    db.execute("DELETE FROM garbage WHERE node = ? AND body = ?", (node, body))
    return True


def drop_copies(db: sqlite3.Connection, node: int, bodies: Sequence[int], collect: bool) -> None:
    """Forget copies on a node, and queue their deletion there if `collect`."""
    pairs = [(body, node) for body in bodies]
    db.executemany("DELETE FROM copies WHERE body = ? AND node = ?", pairs)
    if collect:
        db.executemany("INSERT OR IGNORE INTO garbage (body, node) VALUES (?, ?)", pairs)


def short_of(db: sqlite3.Connection, copies: int, nodes: Sequence[int], after: int, limit: int) -> list[int]:
    """Bodies above `after` with fewer than `copies` copies on `nodes`, ascending."""
    marks = ",".join("?" * len(nodes))
    present = f"SELECT count(*) FROM copies c WHERE c.body = b.body AND c.node IN ({marks})"  # noqa: S608
    statement = f"SELECT body FROM bodies b WHERE body > ? AND ({present}) < ? ORDER BY body LIMIT ?"  # noqa: S608
    rows = db.execute(statement, (after, *nodes, copies, limit))
    return [body for (body,) in rows]


def over(db: sqlite3.Connection, copies: int, after: int, limit: int) -> list[int]:
    """Bodies above `after` with more than `copies` copies, ascending."""
    rows = db.execute(
        "SELECT body FROM copies WHERE body > ? GROUP BY body HAVING count(*) > ? ORDER BY body LIMIT ?",
        (after, copies, limit),
    )
    return [body for (body,) in rows]
