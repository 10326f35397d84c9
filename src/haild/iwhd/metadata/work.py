"""The replication queue: what is still to be done at which provider, in order.

An item that a newer one supersedes is removed when that is queued, so that the newest state is what counts
and a target that is away for long costs one item per object. An item that is being done while a newer one
takes its place is simply done again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from haild.iwhd.metadata.port import Connection

Action = Literal["create", "copy", "delete", "unset", "remove"]
"""Create a bucket, copy an object with its attributes, delete an object, unset an attribute, remove a bucket."""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work for one target. `attempts` counts those that the target refused."""

    identity: int
    target: str
    action: Action
    bucket: str
    key: str
    name: str
    attempts: int


_SUPERSEDED: Final[dict[Action, str]] = {
    "create": "action IN ('create', 'remove') AND key = ''",
    "copy": "action = 'copy' AND key = :key",
    "delete": "action IN ('copy', 'delete', 'unset') AND key = :key",
    "unset": "action = 'unset' AND key = :key AND name = :name",
    "remove": "action IN ('create', 'remove', 'copy', 'delete', 'unset')",
}


def enqueue(
    connection: Connection,
    targets: Collection[str],
    action: Action,
    bucket: str,
    key: str = "",
    name: str = "",
) -> None:
    """Queue an action for every one of `targets`."""
    for target in targets:
        values = {"target": target, "action": action, "bucket": bucket, "key": key, "name": name}
        connection.execute(
            f"DELETE FROM work WHERE target = :target AND bucket = :bucket AND {_SUPERSEDED[action]}",  # noqa: S608
            values,
        )
        connection.execute(
            "INSERT INTO work(target, action, bucket, key, name) VALUES (:target, :action, :bucket, :key, :name)",
            values,
        )


def following(connection: Connection, target: str, after: int, limit: int) -> list[Item]:
    """The items of a target after number `after`, in order, at most `limit`."""
    rows = connection.execute(
        "SELECT id, target, action, bucket, key, name, attempts FROM work"
        " WHERE target = ? AND id > ? ORDER BY id LIMIT ?",
        (target, after, limit),
    )
    return [Item(*row) for row in rows]


def done(connection: Connection, item: Item) -> None:
    """Remove an item."""
    connection.execute("DELETE FROM work WHERE id = ?", (item.identity,))


def refused(connection: Connection, item: Item) -> None:
    """Count an attempt that the target refused."""
    connection.execute("UPDATE work SET attempts = attempts + 1 WHERE id = ?", (item.identity,))


def forget(connection: Connection, target: str) -> None:
    """Remove all items of a target: it was deleted."""
    connection.execute("DELETE FROM work WHERE target = ?", (target,))


def count(connection: Connection, targets: Collection[str]) -> int:
    """How many items are queued or running for `targets`."""
    marks = ",".join("?" * len(targets))
    query = f"SELECT count(*) FROM work WHERE target IN ({marks})"  # noqa: S608 - only question marks are pasted
    (number,) = connection.execute(query, tuple(targets)).fetchone()
    return int(number)
