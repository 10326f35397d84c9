"""Expressions on stored objects, within a budget of time and memory (iwhd.md section 9).

Only the attributes that an expression names are read, each when its value is needed. What an evaluation reads is
counted, so that no expression and no attribute, however large, can stop the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from haild.iwhd.metadata.port import Connection
from haild.iwhd.metadata.records import PAGE, Page, checked
from haild.wire.iwhd.listing import Listed
from haild.wire.iwhd.query import Expression
from haild.wire.iwhd.queryvalue import Attribute, Context, selects
from haild.wire.iwhd.target import RESERVED_OBJECTS

QUERY_SECONDS: Final = 10.0
"""Time that the evaluation of one query may take, without the pauses in which others work."""

POLICY_SECONDS: Final = 0.25
"""Time that the evaluation of one policy may take: writers wait for it."""

MEMORY: Final = 32 << 20
"""Bytes of attributes that the evaluation for one object may read."""

SLICE: Final = 0.02
"""Seconds after which a query lets others work."""


class BudgetError(Exception):
    """An expression costs more than it may; the text says what and how much."""


class Meter:
    """What one evaluation has used of its budget."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._used = 0.0
        self._begun = clock()
        self._read = 0

    def resume(self) -> None:
        """A slice begins."""
        self._begun = self._clock()

    def pause(self) -> None:
        """A slice ends: time does not count until resume()."""
        self._used += self._clock() - self._begun

    @property
    def slice_is_over(self) -> bool:
        """Whether this slice has had its time."""
        return self._clock() - self._begun > SLICE

    def next_object(self) -> None:
        """The values read so far are forgotten. Raises BudgetError."""
        self._read = 0
        self.check()

    def check(self) -> None:
        """Raises BudgetError if the time is used up."""
        if self._used + self._clock() - self._begun > self._seconds:
            raise BudgetError(f"the expression takes more than {self._seconds:g} s; make it simpler")

    def take(self, size: int) -> None:
        """Count `size` bytes that are about to be read. Raises BudgetError."""
        self._read += size
        if self._read > MEMORY:
            raise BudgetError(
                f"the attributes that the expression compares for one object have more than {MEMORY >> 20} MiB"
            )


class Values:
    """The values of attributes as an expression sees them: read once, counted, forgotten with the object."""

    def __init__(self, connection: Connection, meter: Meter) -> None:
        self._connection = connection
        self._meter = meter
        self._kept: dict[tuple[str, str, str], bytes | None] = {}

    def forget(self) -> None:
        """Begin with the next object."""
        self._kept.clear()
        self._meter.next_object()

    def preset(self, bucket: str, key: str, etag: str | None) -> None:
        """Give an object the attributes that are not stored as such: its address and its etag."""
        for name, value in (("_bucket", bucket), ("_key", key), ("_etag", etag)):
            self._kept[bucket, key, name] = None if value is None else value.encode()

    def linked(self, bucket: str, key: str, name: str) -> bytes | None:
        """An attribute of any object; None if there is none. Raises BudgetError."""
        address = (bucket, key, name)
        if address not in self._kept:
            self._meter.check()
            self._kept[address] = self._value(address)
        return self._kept[address]

    def of(self, bucket: str, key: str) -> Attribute:
        """The attributes of an object as the `$name` of an expression."""
        return lambda name: self.linked(bucket, key, name)

    def _value(self, address: tuple[str, str, str]) -> bytes | None:
        query = (
            "SELECT attribute.id, length(value) FROM attribute JOIN object ON object.id = attribute.object"
            " WHERE bucket = ? AND key = ? AND name = ?"
        )
        try:
            row = self._connection.execute(query, address).fetchone()
        except UnicodeEncodeError:
            return None  # no object has an address that is not UTF-8
        if row is None:
            return None
        self._meter.take(row[1])
        stored = self._connection.execute("SELECT value, sum FROM attribute WHERE id = ?", (row[0],)).fetchone()
        return checked(*address, *stored)


def matching(connection: Connection, *, bucket: str, position: int, expression: Expression, meter: Meter) -> Page:
    """The objects after `position` that `expression` selects, among as many as one slice of time allows.

    Raises BudgetError.
    """
    rows = connection.execute(
        "SELECT id, key, etag FROM object WHERE bucket = ? AND id > ? ORDER BY id LIMIT ?", (bucket, position, PAGE)
    ).fetchall()
    values = Values(connection, meter)
    found: list[str] = []
    meter.resume()
    try:
        for identity, key, etag in rows:
            values.forget()
            values.preset(bucket, key, etag)
            if selects(expression, Context(values.of(bucket, key), linked=values.linked)):
                found.append(key)
            position = identity
            if meter.slice_is_over:
                break
    finally:
        meter.pause()
    listed = [Listed(bucket, key) for key in found if key not in RESERVED_OBJECTS]
    at_end = len(rows) < PAGE and (not rows or position == rows[-1][0])
    return Page(listed, len(found), None if at_end else position)
