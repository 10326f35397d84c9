"""How a page of a listing is put together from sorted keys (tabled.md 17.4). Pure.

The marker is exclusive, common prefixes roll up always, count towards the limit and never repeat across pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")
Seek = Callable[[str, bool], Iterator[tuple[str, Row]]]
"""Sorted (key, row) pairs from a key on; the flag says whether that key itself is wanted."""


@dataclass
class Collected(Generic[Row]):
    """What one page holds: rows, common prefixes, whether more follows, and where it goes on."""

    rows: list[Row] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""


def successor(text: str) -> str | None:
    """The smallest string greater than every string that starts with `text`; None if there is none."""
    while text:
        point = ord(text[-1])
        if point < 0x10FFFF:
            following = 0xE000 if point == 0xD7FF else point + 1
            return text[:-1] + chr(following)
        text = text[:-1]
    return None


def rolled(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that `key` rolls up into; empty if it is listed by itself."""
    if not delimiter:
        return ""
    end = key.find(delimiter, len(prefix))
    return key[: end + len(delimiter)] if end >= 0 else ""


def start(prefix: str, delimiter: str, after: str) -> tuple[str | None, bool]:
    """Where a page begins, and whether that key itself is wanted; None where nothing can follow."""
    if after and after >= prefix:
        if after.startswith(prefix) and rolled(after, prefix, delimiter) == after:
            return successor(after), True
        return after, False
    return prefix, True


def collect(seek: Seek[Row], prefix: str, delimiter: str, after: str, limit: int) -> Collected[Row]:
    """Gather one page of at most `limit` rows and common prefixes after the key or prefix `after`."""
    page: Collected[Row] = Collected()
    if limit <= 0:
        return page
    position, inclusive = start(prefix, delimiter, after)
    while position is not None:
        position = _run(seek(position, inclusive), page, prefix, delimiter, limit)
        inclusive = True
    return page


def _run(
    rows: Iterator[tuple[str, Row]], page: Collected[Row], prefix: str, delimiter: str, limit: int
) -> str | None:
    """Take rows up to the next common prefix; returns where to seek then, None at the end of the page."""
    for key, row in rows:
        if not key.startswith(prefix):
            return None
        if len(page.rows) + len(page.prefixes) >= limit:
            page.truncated = True
            return None
        common = rolled(key, prefix, delimiter)
        if common:
            page.prefixes.append(common)
            page.last = common
            return successor(common)
        page.rows.append(row)
        page.last = key
    return None
