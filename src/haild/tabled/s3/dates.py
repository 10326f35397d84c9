"""Dates of HTTP and of S3's documents, read and written. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache


def http_date(seconds: float) -> str:
    """A time as HTTP headers have it: `Sun, 28 Nov 2010 18:41:22 GMT`."""
    return _http_date(int(seconds))


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def parse_date(text: str) -> float | None:
    """Seconds since 1970 of any HTTP date form, of `+0000` forms and of ISO 8601; None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        moment = None
    if moment is None:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        return None
