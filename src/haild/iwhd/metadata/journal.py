"""The journal that keeps bodies and metadata in agreement: it notes a change at the provider before it is made.

An entry is committed before a body becomes visible or disappears, and removed in the transaction that changes
the record. An entry found at start was cut off in between; the provider is asked what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from haild.iwhd.metadata.port import Connection


@dataclass(frozen=True, slots=True)
class Intent:
    """A body about to become visible (`put`) or to disappear (`delete`). `size` in bytes, `date` in epoch seconds.

    `sums` are the checksums of the body's blocks where they are known; `upstream` is the master's etag of a copy.
    """

    identity: int
    action: Literal["put", "delete"]
    provider: str
    bucket: str
    key: str
    etag: str = ""
    size: int = 0
    date: float = 0.0
    token: str = ""
    sums: bytes | None = None
    upstream: str | None = None


def begin_put(
    connection: Connection,
    *,
    provider: str,
    bucket: str,
    key: str,
    etag: str,
    size: int,
    date: float,
    token: str,
    sums: bytes | None = None,
    upstream: str | None = None,
) -> Intent:
    """Note that the body `etag` is about to become visible."""
    (identity,) = connection.execute(
        "INSERT INTO intent(action, provider, bucket, key, etag, size, date, token, sums, upstream)"
        " VALUES ('put', ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (provider, bucket, key, etag, size, date, token, sums, upstream),
    ).fetchone()
    return Intent(identity, "put", provider, bucket, key, etag, size, date, token, sums, upstream)


def begin_delete(connection: Connection, *, provider: str, bucket: str, key: str) -> Intent:
    """Note that a body is about to disappear."""
    (identity,) = connection.execute(
        "INSERT INTO intent(action, provider, bucket, key) VALUES ('delete', ?, ?, ?) RETURNING id",
        (provider, bucket, key),
    ).fetchone()
    return Intent(identity, "delete", provider, bucket, key)


def end(connection: Connection, intent: Intent) -> None:
    """Remove an entry: it is done, or known never to have happened."""
    connection.execute("DELETE FROM intent WHERE id = ?", (intent.identity,))


def pending(connection: Connection) -> list[Intent]:
    """All entries, in order."""
    rows = connection.execute(
        "SELECT id, action, provider, bucket, key, etag, size, date, token, sums, upstream FROM intent ORDER BY id"
    )
    return [Intent(*row) for row in rows]
