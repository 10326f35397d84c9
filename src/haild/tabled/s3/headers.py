"""The headers of a request as S3 understands them, and those that are kept with an object. Pure.

A header may come in several lines (RFC 9110 5.3: the same as one list), and SDKs that sign addresses put x-amz-*
headers into the query, where S3 takes them for headers.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final

from haild.tabled.s3.errors import S3Error

KEPT: Final = frozenset(
    (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-website-redirect-location",
    )
)
"""Headers kept with an object, beside x-amz-meta-*."""
METADATA: Final = "x-amz-meta-"
METADATA_LIMIT: Final = 2048
"""Bytes of all x-amz-meta-* names and values (tabled.md 17.3)."""
DEFAULT_TYPE: Final = "binary/octet-stream"
OF_SIGNATURES: Final = frozenset(
    (
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    )
)
"""Query parameters that are not headers but parts of the signature of an address."""

_ENCODED_WORD: Final = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case; the lines of one name joined by commas."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines: dict[str, tuple[str, str]] = {}
        for name, value in lines:
            lower = name.lower()
            known = self._lines.get(lower)
            self._lines[lower] = (name, value) if known is None else (known[0], f"{known[1]},{value}")

    def __getitem__(self, name: str) -> str:
        return self._lines[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._lines

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)


def effective(headers: Mapping[str, str], query: Mapping[str, str]) -> Mapping[str, str]:
    """The headers of a request: its lines, joined, and what stands for headers in the query.

    Raises InvalidRequest where header and query disagree.
    """
    hoisted = [(name, value) for name, value in query.items() if is_hoisted(name)] if query else []
    if not hoisted and len({name.lower() for name in headers}) == len(headers):
        return headers
    found = Headers(headers.items())
    new = []
    for name, value in hoisted:
        if name not in found:
            new.append((name, value))
        elif found[name] != value:
            raise S3Error("InvalidRequest", f"{name.lower()} is one thing in the headers and another in the query.")
    return Headers([*found.items(), *new]) if new else found


def is_hoisted(name: str) -> bool:
    """Whether a query parameter stands for a header."""
    lower = name.lower()
    return lower.startswith("x-amz-") and lower not in OF_SIGNATURES


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers to keep, names as received. Raises MetadataTooLarge.

    Metadata is decoded as RFC 2047 has it; `shown` encodes it again.
    """
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith(METADATA):
            value = _text(value)
            size += len(name) - len(METADATA) + len(value.encode())
        elif lower not in KEPT:
            continue
        if lower == "content-encoding":
            value = _without_aws_chunked(value)
            if not value:
                continue
        known = names.setdefault(lower, name)
        found[known] = f"{found[known]},{value}" if known in found else value
    if size > METADATA_LIMIT:
        raise S3Error("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
    if "content-type" not in names:
        found["Content-Type"] = DEFAULT_TYPE
    return found


def _without_aws_chunked(value: str) -> str:
    """Content-Encoding as it was given, but for aws-chunked, which only describes the transfer."""
    if "aws-chunked" not in value.lower():
        return value
    return ",".join(coding for coding in value.split(",") if coding.strip().lower() != "aws-chunked").strip()


def _text(value: str) -> str:
    """The text of a metadata value: UTF-8 or Latin-1 as it came, or encoded words of RFC 2047."""
    if not value.isascii():
        raw = value.encode("utf-8", "surrogateescape")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    if not _ENCODED_WORD.search(value):
        return value
    try:
        pieces = decode_header(value)
        text = "".join(p if isinstance(p, str) else p.decode(charset or "ascii") for p, charset in pieces)
    except (HeaderParseError, LookupError, UnicodeError, binascii.Error):
        return value
    return text if text and text.isprintable() else value


def shown(headers: Mapping[str, str]) -> dict[str, str]:
    """Kept headers as an answer has them: metadata beyond ASCII is encoded as RFC 2047 has it."""
    return {
        name: _encoded(value) if not value.isascii() and name.lower().startswith(METADATA) else value
        for name, value in headers.items()
    }


def _encoded(value: str) -> str:
    return f"=?UTF-8?B?{b64encode(value.encode()).decode('ascii')}?="
