"""Objects and their attributes: functions of a connection, to be combined into transactions.

`_default` is a pseudo-object: its record stands for the bucket, its `_policy` is the bucket's (iwhd.md 6.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from haild.iwhd.metadata.port import Connection
from haild.wire.iwhd.listing import Listed
from haild.wire.iwhd.target import RESERVED_OBJECTS

DEFAULT_OBJECT: Final = "_default"
POLICY_ATTRIBUTE: Final = "_policy"

PAGE: Final = 500
"""Records read at a time."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an object. `etag` is None while it has no body; `locations` names the providers that
    hold the body.

    `date`: when the body was put, epoch seconds. `sums`: checksums of its blocks, where known. `upstream`: the etag
    that the master had for it, if it is a copy of the master's.
    """

    identity: int
    etag: str | None
    size: int
    locations: frozenset[str]
    date: float = 0.0
    sums: bytes | None = None
    upstream: str | None = None


class DamagedAttributeError(Exception):
    """The value of an attribute is not what was stored: the database file has been damaged."""

    def __init__(self, bucket: str, key: str, name: str) -> None:
        super().__init__(f"attribute {name} of {bucket}/{key} is damaged in the metadata; set it again")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a bucket's list. `position` is where the next one begins, None at the end.

    `found` counts what was selected, reserved names included; `listed` leaves those out.
    """

    listed: list[Listed]
    found: int
    position: int | None


def buckets(connection: Connection) -> list[str]:
    """The names of all buckets."""
    rows = connection.execute("SELECT bucket FROM object WHERE key = ? ORDER BY id", (DEFAULT_OBJECT,))
    return [name for (name,) in rows]


def is_bucket(connection: Connection, bucket: str) -> bool:
    """Whether there is any record in the bucket."""
    return connection.execute("SELECT 1 FROM object WHERE bucket = ? LIMIT 1", (bucket,)).fetchone() is not None


def has_objects(connection: Connection, bucket: str) -> bool:
    """Whether there is a record in the bucket besides its own."""
    query = "SELECT 1 FROM object WHERE bucket = ? AND key <> ? LIMIT 1"
    return connection.execute(query, (bucket, DEFAULT_OBJECT)).fetchone() is not None


def forget_bucket(connection: Connection, bucket: str) -> None:
    """Remove all records of a bucket."""
    connection.execute("DELETE FROM object WHERE bucket = ?", (bucket,))


def find(connection: Connection, bucket: str, key: str) -> Record | None:
    """The record of an object."""
    query = "SELECT id, etag, size, date, sums, upstream FROM object WHERE bucket = ? AND key = ?"
    row = connection.execute(query, (bucket, key)).fetchone()
    if row is None:
        return None
    names = connection.execute("SELECT name FROM location WHERE object = ?", (row[0],))
    locations = frozenset(name for (name,) in names)
    return Record(row[0], row[1], row[2] or 0, locations, row[3] or 0.0, row[4], row[5])


def _ensure(connection: Connection, bucket: str, key: str) -> int:
    connection.execute("INSERT INTO object(bucket, key) VALUES (?, ?) ON CONFLICT DO NOTHING", (bucket, key))
    (identity,) = connection.execute("SELECT id FROM object WHERE bucket = ? AND key = ?", (bucket, key)).fetchone()
    return int(identity)


def set_body(
    connection: Connection,
    bucket: str,
    key: str,
    *,
    etag: str,
    size: int,
    date: float,
    location: str,
    sums: bytes | None = None,
    upstream: str | None = None,
) -> None:
    """Note a new body, held at `location` only; the attributes stay."""
    identity = _ensure(connection, bucket, key)
    connection.execute(
        "UPDATE object SET etag = ?, size = ?, date = ?, sums = ?, upstream = ? WHERE id = ?",
        (etag, size, date, sums, upstream, identity),
    )
    connection.execute("DELETE FROM location WHERE object = ?", (identity,))
    connection.execute("INSERT INTO location(object, name) VALUES (?, ?)", (identity, location))


def add_location(
    connection: Connection, bucket: str, key: str, etag: str, name: str, sums: bytes | None = None
) -> None:
    """Note that `name` holds the body `etag` too, and its checksums, unless the body is another one by now."""
    connection.execute(
        "UPDATE object SET sums = coalesce(sums, ?) WHERE bucket = ? AND key = ? AND etag = ?",
        (sums, bucket, key, etag),
    )
    connection.execute(
        "INSERT INTO location(object, name)"
        " SELECT id, ? FROM object WHERE bucket = ? AND key = ? AND etag = ? ON CONFLICT DO NOTHING",
        (name, bucket, key, etag),
    )


def drop_location(connection: Connection, bucket: str, key: str, name: str) -> None:
    """Note that `name` may not hold the body any more."""
    connection.execute(
        "DELETE FROM location WHERE name = ? AND object = (SELECT id FROM object WHERE bucket = ? AND key = ?)",
        (name, bucket, key),
    )


def forget(connection: Connection, bucket: str, key: str) -> bool:
    """Remove the record of an object with its attributes; False if there is none."""
    return connection.execute("DELETE FROM object WHERE bucket = ? AND key = ?", (bucket, key)).rowcount > 0


def set_attributes(connection: Connection, bucket: str, key: str, attributes: Iterable[tuple[str, bytes]]) -> None:
    """Set attributes of an object, whose record is made if need be."""
    identity = _ensure(connection, bucket, key)
    connection.executemany(
        "INSERT INTO attribute(object, name, value, sum) VALUES (?, ?, ?, ?)"
        " ON CONFLICT(object, name) DO UPDATE SET value = excluded.value, sum = excluded.sum",
        [(identity, name, value, _sum(name, value)) for name, value in attributes],
    )


def _sum(name: str, value: bytes) -> int:
    """The checksum of an attribute; the name is in it, so that no value can pass for another's."""
    return zlib.crc32(value, zlib.crc32(name.encode() + b"\0"))


def checked(bucket: str, key: str, name: str, value: bytes, checksum: int | None) -> bytes:
    """A stored value. Raises DamagedAttributeError if it is not what was stored."""
    if checksum is not None and (not isinstance(value, bytes) or _sum(name, value) != checksum):
        raise DamagedAttributeError(bucket, key, name)
    return bytes(value)


def unset_attribute(connection: Connection, bucket: str, key: str, name: str) -> bool:
    """Remove an attribute; False if there is none."""
    query = "DELETE FROM attribute WHERE name = ? AND object = (SELECT id FROM object WHERE bucket = ? AND key = ?)"
    return connection.execute(query, (name, bucket, key)).rowcount > 0


def attribute(connection: Connection, bucket: str, key: str, name: str) -> bytes | None:
    """The value of one attribute. Of what iwhd keeps itself only the texts can be read (iwhd.md 7.5).

    Raises DamagedAttributeError.
    """
    if name in ("_bucket", "_key", "_etag"):
        record = find(connection, bucket, key)
        if record is None:
            return None
        text = {"_bucket": bucket, "_key": key}.get(name, record.etag)
        return None if text is None else text.encode()
    row = connection.execute(
        "SELECT value, sum FROM attribute JOIN object ON object.id = object"
        " WHERE bucket = ? AND key = ? AND name = ?",
        (bucket, key, name),
    ).fetchone()
    return None if row is None else checked(bucket, key, name, *row)


def attribute_names(connection: Connection, bucket: str, key: str) -> list[str] | None:
    """The names of all attributes of an object in order of storage; None if it has no record."""
    record = find(connection, bucket, key)
    if record is None:
        return None
    rows = connection.execute("SELECT name FROM attribute WHERE object = ? ORDER BY id", (record.identity,))
    return [name for (name,) in rows]


def page(connection: Connection, bucket: str, position: int = 0) -> Page:
    """The part of a bucket's list after `position`."""
    rows = connection.execute(
        "SELECT id, key FROM object WHERE bucket = ? AND id > ? ORDER BY id LIMIT ?", (bucket, position, PAGE)
    ).fetchall()
    listed = [Listed(bucket, key) for _, key in rows if key not in RESERVED_OBJECTS]
    return Page(listed, len(rows), rows[-1][0] if len(rows) == PAGE else None)
