"""Conditional requests and ranges (RFC 9110, sections 13 and 14): pure rules on the values of headers.

A resource here has a strong etag without quotes and a time of last change in whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.ASCII)
_TAG: Final = re.compile(r'\s*(?:(W/)?"([^"]*)"|([^",\s]+))\s*(?:,|\Z)')
"""One entity tag of a list; clients of 2011 send theirs without quotes."""


@dataclass(frozen=True, slots=True)
class Part:
    """`length` bytes of a body from `offset` on."""

    offset: int
    length: int


def content_range(part: Part, size: int) -> str:
    """The Content-Range header of a part of a body of `size` bytes (RFC 9110, 14.4)."""
    return f"bytes {part.offset}-{part.offset + part.length - 1}/{size}"


class UnsatisfiableError(Exception):
    """The range begins after the end of the body: status 416."""


def date_of(seconds: float) -> str:
    """The HTTP date of a time of the epoch, its fraction cut off."""
    return formatdate(int(seconds), usegmt=True)


def parse_date(text: str) -> int | None:
    """The time of the epoch, in seconds, that an HTTP date tells (RFC 9110, 5.6.7); None if it is no date."""
    try:
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def precondition(headers: Mapping[str, str], etag: str, changed: float) -> int | None:
    """The status that answers a GET or HEAD in place of the resource: 304 or 412; None if it is to be sent."""
    if (wanted := headers.get("If-Match")) is not None:
        if not _lists(wanted, etag, weak=False):
            return 412
    elif (since := _date(headers, "If-Unmodified-Since")) is not None and int(changed) > since:
        return 412
    if (known := headers.get("If-None-Match")) is not None:
        return 304 if _lists(known, etag, weak=True) else None
    since = _date(headers, "If-Modified-Since")
    return 304 if since is not None and int(changed) <= since else None


def part_of(headers: Mapping[str, str], size: int, etag: str, changed: float) -> Part | None:
    """The part of a body of `size` bytes that a GET asks for; None if all of it is to be sent.

    A list of several ranges is answered by the whole, which RFC 9110, 14.2 allows. Raises UnsatisfiableError.
    """
    asked = _RANGE.fullmatch(headers.get("Range", "").strip())
    if asked is None or not _if_range(headers.get("If-Range"), etag, changed):
        return None
    first, last = asked[1], asked[2]
    if not first:
        if not last:
            return None
        offset = max(0, size - int(last))
        if not int(last) or not size:
            raise UnsatisfiableError
        return Part(offset, size - offset)
    offset = int(first)
    if last and int(last) < offset:
        return None  # not a range at all: the header is ignored
    if offset >= size:
        raise UnsatisfiableError
    end = min(size, int(last) + 1) if last else size
    return Part(offset, end - offset)


def _lists(text: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags, or `*`, has `etag`."""
    if text.strip() == "*":
        return True
    position = 0
    while match := _TAG.match(text, position):
        tag = match[2] if match[2] is not None else match[3]
        if tag == etag and (weak or not match[1]):
            return True
        position = match.end()
    return False


def _if_range(text: str | None, etag: str, changed: float) -> bool:
    """Whether the range is wanted of what is there now (RFC 9110, 13.1.5): a strong tag, or the very date."""
    if text is None:
        return True
    text = text.strip()
    if text.startswith("W/"):
        return False
    moment = parse_date(text)
    return text.strip('"') == etag if moment is None else moment == int(changed)


def _date(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    return None if text is None else parse_date(text)
