"""The pages of a bucket's listings: the statements, and records out of their rows.

A page has a thousand rows, so that a column that nobody asked for, or a Python call for each row, is felt: what is
stored stays as it is stored (`Listed`) until an element of the answer needs it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from heapq import merge
from itertools import starmap
from typing import Any, Final

from haild.tabled.metadata import listing, objects
from haild.tabled.metadata.records import Listed, ListedVersion, ListQuery, Page

_LISTED: Final = (
    "key, size, etag, modified, acl, checksum,"
    " CASE WHEN instr(headers, 'x-amz-storage-class') THEN headers ELSE '' END"
)
"""The columns of a Listed."""
_VERSION: Final = f"{_LISTED}, version, marker, current, sequence"
_WIDTH: Final = len(Listed._fields)

_OBJECTS: Final = f"SELECT {_LISTED} FROM objects WHERE bucket = ? AND current = 1 AND marker = 0"  # noqa: S608

_listed: Final = partial(tuple.__new__, Listed)
"""What `Listed._make` does, in a third of its time."""

_Row = tuple[Any, ...]


def current(db: sqlite3.Connection, query: ListQuery) -> Page[Listed]:
    """A page of current objects, without delete markers."""
    if not query.delimiter:
        return _flat(db, query)

    def seek(start: str, inclusive: bool) -> Iterator[tuple[str, _Row]]:
        rows = db.execute(f"{_OBJECTS} AND key {_comparison(inclusive)} ? ORDER BY key", (query.bucket, start))
        return ((row[0], row) for row in rows)

    page = listing.collect(seek, query.prefix, query.delimiter, query.after, query.limit)
    return Page(list(map(_listed, page.rows)), page.prefixes, page.truncated, page.last)


def _flat(db: sqlite3.Connection, query: ListQuery) -> Page[Listed]:
    """A page without common prefixes is one stretch of the index, so that SQLite can tell where it ends."""
    if query.limit <= 0:
        return Page([], [], False)
    start, inclusive = listing.start(query.prefix, "", query.after)
    statement, values = f"{_OBJECTS} AND key {_comparison(inclusive)} ?", [query.bucket, start]
    if (end := listing.successor(query.prefix)) is not None:
        statement += " AND key < ?"
        values.append(end)
    rows = db.execute(f"{statement} ORDER BY key LIMIT ?", (*values, query.limit + 1)).fetchall()
    truncated = len(rows) > query.limit
    entries = list(map(_listed, rows[: query.limit]))
    return Page(entries, [], truncated, entries[-1].key if entries else "")


def versions(db: sqlite3.Connection, query: ListQuery) -> Page[ListedVersion]:
    """A page of all versions and markers, newest first within a key."""
    resume = -1
    if query.after_version:
        record = objects.version(db, query.bucket, query.after, query.after_version)
        # A version that was deleted meanwhile still tells its place. Else the key is listed from its start.
        resume = record.sequence if record else objects.place_of(query.after_version)

    def seek(start: str, inclusive: bool) -> Iterator[tuple[str, _Row]]:
        again = not inclusive and resume >= 0 and start == query.after
        for row in _versions_from(db, query.bucket, start, inclusive or again):
            if not (again and row[0] == start and int(row[-1]) >= resume):
                yield str(row[0]), row

    page = listing.collect(seek, query.prefix, query.delimiter, query.after, query.limit)
    entries = list(starmap(_version, page.rows))
    last_version = entries[-1].version if entries and entries[-1].key == page.last else ""
    return Page(entries, page.prefixes, page.truncated, page.last, last_version)


def _versions_from(db: sqlite3.Connection, bucket: str, start: str, inclusive: bool) -> Iterator[_Row]:
    comparison = _comparison(inclusive)
    statement = f"SELECT {_VERSION} FROM objects WHERE bucket = ? AND key {comparison} ?"  # noqa: S608
    new = db.execute(f"{statement} AND current = 1 ORDER BY key", (bucket, start))
    old = db.execute(f"{statement} AND current = 0 ORDER BY key, sequence DESC", (bucket, start))
    return merge(new, old, key=_newest_first)


def _version(*row: Any) -> ListedVersion:
    version, marker, current, _ = row[_WIDTH:]
    return ListedVersion(_listed(row[:_WIDTH]), version, bool(marker), bool(current))


def _newest_first(row: _Row) -> tuple[str, int, int]:
    return row[0], -row[-2], -row[-1]


def _comparison(inclusive: bool) -> str:
    return ">=" if inclusive else ">"
