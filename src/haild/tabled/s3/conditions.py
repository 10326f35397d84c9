"""Conditional requests and byte ranges (RFC 9110; tabled.md 17.7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from haild.tabled.s3.dates import parse_date
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE)
_ETAG: Final = re.compile(r'\s*(\*|(?:W/)?"[^"]*"|[^",\s]+)\s*(?:,|$)')


def etag_matches(header: str, etag: str) -> bool:
    """True if the list in an If-Match or If-None-Match value names `etag` (bare, without quotes) or is `*`.

    The tags may be without quotes, as 2010's clients write them. Weak tags never match (strong comparison).
    """
    position = 0
    while position < len(header):
        match = _ETAG.match(header, position)
        if not match:
            return False
        tag = match[1]
        if tag == "*" or tag.strip('"') == etag:
            return True
        position = match.end()
    return False


def check_read(headers: Mapping[str, str], etag: str, modified: float, prefix: str = "") -> None:
    """Raise PreconditionFailed or NotModified where the conditions in `headers` ask for it.

    `prefix` is `x-amz-copy-source-` for the conditions of a copy's source, which never answer NotModified.
    """
    modified = int(modified)
    wanted = headers.get(f"{prefix}If-Match")
    if wanted is not None:
        if not etag_matches(wanted, etag):
            raise _failed()
    else:
        since = _date(headers.get(f"{prefix}If-Unmodified-Since"))
        if since is not None and modified > since:
            raise _failed()
    unwanted = headers.get(f"{prefix}If-None-Match")
    if unwanted is not None:
        unchanged = etag_matches(unwanted, etag)
    else:
        since = _date(headers.get(f"{prefix}If-Modified-Since"))
        unchanged = since is not None and modified <= since
    if unchanged:
        raise _failed() if prefix else S3Error("NotModified")


def _failed() -> S3Error:
    return S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")


def _date(text: str | None) -> float | None:
    # RFC 9110 13.1.3: a date that cannot be read is ignored.
    return None if text is None else parse_date(text)


def check_write(headers: Mapping[str, str], etag: str | None) -> None:
    """Raise PreconditionFailed or NoSuchKey where a write's conditions do not hold for the present object.

    `etag` is the bare tag of what is there now, None if nothing is.
    """
    wanted, unwanted = headers.get("If-Match"), headers.get("If-None-Match")
    if wanted is not None:
        if etag is None:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        if not etag_matches(wanted, etag):
            raise S3Error("PreconditionFailed", "If-Match does not hold.", fields={"Condition": "If-Match"})
    if unwanted is not None and etag is not None and etag_matches(unwanted, etag):
        raise S3Error("PreconditionFailed", "The object exists.", fields={"Condition": "If-None-Match"})


@dataclass(frozen=True, slots=True)
class Deletion:
    """The conditions of a deletion (S3 API, DeleteObject and ObjectIdentifier); None is no condition."""

    etag: str | None = None
    size: int | None = None
    modified: float | None = None
    """Seconds since 1970, whole ones."""

    @classmethod
    def of(cls, etag: str | None, size: str | None, modified: str | None) -> Deletion | None:
        """From the texts of a request; None without any. Raises InvalidArgument."""
        if etag is None and size is None and modified is None:
            return None
        number = None if size is None else decimal(size.strip(), 0, 1 << 62)
        moment = None if modified is None else parse_date(modified.strip())
        if (size is not None and number is None) or (modified is not None and moment is None):
            raise S3Error("InvalidArgument", "A size is a number, and a time one of HTTP or ISO 8601.")
        return cls(etag, number, None if moment is None else float(int(moment)))

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Deletion | None:
        """From the headers of a DELETE; None without any. Raises InvalidArgument."""
        names = ("If-Match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time")
        return cls.of(*(headers.get(name) for name in names))

    def check(self, etag: str, size: int, modified: float) -> None:
        """Raise PreconditionFailed unless what is there fits."""
        fits = self.etag is None or etag_matches(self.etag, etag)
        fits = fits and self.size in (None, size) and self.modified in (None, float(int(modified)))
        if not fits:
            raise _failed()


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header; None where it is to be ignored (several ranges, nonsense).

    Raises InvalidRange where nothing of it is in an object of `size` bytes.
    """
    match = _RANGE.fullmatch(header) if header and len(header) < 100 else None
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        first, last = max(0, size - length), size - 1
        satisfiable = length > 0 and size > 0
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
        satisfiable = first < size
    if not satisfiable:
        raise S3Error(
            "InvalidRange",
            "The requested range is not satisfiable.",
            fields={"RangeRequested": header or "", "ActualObjectSize": str(size)},
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last
