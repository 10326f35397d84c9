"""Bodies, the nodes that hold copies of them, and what nodes still have to delete: the statements.

A body has as many users as segments of objects and parts name it. When the last one goes, its copies become
garbage in the same transaction, so nothing is forgotten however the process ends. The nodes stand in the body's
own row: a PUT touches few pages, and the rare searches by node walk the table.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from haild.tabled.metadata.port import BodyMissingError
from haild.tabled.metadata.records import Segment, StoredBody

STRIDE: Final = 10_000
"""Rows looked at before a search gives back what it has found so far."""


def dump_nodes(nodes: Iterable[int]) -> str:
    """Node ids, ascending, joined by commas."""
    return ",".join(map(str, sorted(nodes)))


def load_nodes(text: str) -> tuple[int, ...]:
    """The node ids that `dump_nodes` wrote."""
    return tuple(map(int, text.split(","))) if text else ()


def retain(db: sqlite3.Connection, segments: Iterable[Segment], stored: Sequence[StoredBody]) -> None:
    """Count the segments as users of their bodies; enter the bodies that were just stored.

    Raises BodyMissingError where a shared body is gone.
    """
    users: dict[int, int] = {}
    for segment in segments:
        users[segment.body] = users.get(segment.body, 0) + 1
    for body in stored:
        count = users.pop(body.body, 0)
        db.execute(
            "INSERT INTO bodies (body, size, users, nodes, cipher) VALUES (?, ?, ?, ?, ?)",
            (body.body, body.size, count, dump_nodes(body.nodes), body.cipher),
        )
    for number, count in users.items():
        if not db.execute("UPDATE bodies SET users = users + ? WHERE body = ?", (count, number)).rowcount:
            raise BodyMissingError(number)


def release(db: sqlite3.Connection, segments: Iterable[Segment]) -> None:
    """The segments no longer use their bodies; bodies without a user become garbage."""
    for number, count in Counter(segment.body for segment in segments).items():
        row = db.execute(
            "UPDATE bodies SET users = users - ? WHERE body = ? RETURNING users, nodes", (count, number)
        ).fetchone()
        if row is None or row[0] > 0:
            continue
        add_garbage(db, [(number, node) for node in load_nodes(row[1])])
        db.execute("DELETE FROM bodies WHERE body = ?", (number,))


def find(db: sqlite3.Connection, body: int) -> StoredBody | None:
    """Size and places of a body."""
    row = db.execute("SELECT size, nodes, cipher FROM bodies WHERE body = ?", (body,)).fetchone()
    return StoredBody(body, int(row[0]), load_nodes(row[1]), str(row[2])) if row else None


def _place(db: sqlite3.Connection, body: int, nodes: Iterable[int]) -> None:
    db.execute("UPDATE bodies SET nodes = ? WHERE body = ?", (dump_nodes(nodes), body))


def add_copy(db: sqlite3.Connection, body: int, node: int) -> bool:
    """Note a copy; if the body is gone the copy is garbage and the answer False."""
    stored = find(db, body)
    if stored is None:
        add_garbage(db, [(body, node)])
        return False
    _place(db, body, {*stored.nodes, node})
    db.execute("DELETE FROM garbage WHERE node = ? AND body = ?", (node, body))
    return True


def drop_copies(db: sqlite3.Connection, node: int, bodies: Sequence[int], collect: bool) -> None:
    """Forget copies on a node, and queue their deletion there if `collect`."""
    for body in bodies:
        stored = find(db, body)
        if stored is not None and node in stored.nodes:
            _place(db, body, set(stored.nodes) - {node})
            if collect:
                add_garbage(db, [(body, node)])


def add_garbage(db: sqlite3.Connection, copies: Sequence[tuple[int, int]]) -> int:
    """Queue (body, node) pairs for deletion; returns how many were not queued already."""
    return db.executemany("INSERT OR IGNORE INTO garbage (body, node) VALUES (?, ?)", copies).rowcount


def search(
    db: sqlite3.Connection, after: int, limit: int, wanted: Callable[[tuple[int, ...]], bool]
) -> tuple[list[int], int | None]:
    """At most `limit` bodies above `after` whose nodes are `wanted`, and where to go on (None: at the end)."""
    found: list[int] = []
    rows = db.execute(
        "SELECT body, nodes FROM bodies WHERE body > ? ORDER BY body LIMIT ?", (after, STRIDE)
    ).fetchall()
    for body, nodes in rows:
        if wanted(load_nodes(nodes)):
            found.append(body)
            if len(found) >= limit:
                return found, body
    return found, rows[-1][0] if len(rows) == STRIDE else None
