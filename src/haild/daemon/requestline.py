"""Targets of requests with bytes that are not ASCII, as curl sends them: aiohttp's parser refuses them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ([^ \r\n]*) HTTP/1\.[01]\r\n")
"""RFC 9112, section 3; the target may hold any bytes but those that end it."""

_VISIBLE: Final = bytes(range(0x21, 0x7F)).decode("ascii")


def find(data: bytes) -> re.Match[bytes] | None:
    """The request line at the start of what a client sent; None if it does not start with one."""
    return _REQUEST_LINE.match(data)


def with_ascii_target(data: bytes, line: re.Match[bytes]) -> bytes:
    """What a client sent with the bytes of its target percent-encoded that are not ASCII."""
    target = line[1]
    if target.isascii():
        return data
    return data[: line.start(1)] + quote_from_bytes(target, _VISIBLE).encode() + data[line.end(1) :]
