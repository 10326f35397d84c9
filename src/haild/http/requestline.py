"""Targets of requests with bytes that are not ASCII, as curl sends them: llhttp refuses them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]* HTTP/1\.[01]\r\n")
"""RFC 9112, section 3; the target may hold any bytes but those that end it."""

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
"""What a request begins with; not so a header."""

_ASCII: Final = bytes(range(0x80)).decode("ascii")


def speaks_http(data: bytes) -> bool:
    """Whether what a client sent begins with the line of an HTTP/1 request."""
    return _REQUEST_LINE.match(data) is not None


class TargetEncoder:
    """Percent-encodes the bytes that are not ASCII in the request lines of one connection, as they come."""

    def __init__(self) -> None:
        self._within = False

    def feed(self, data: bytes, *, begins: bool) -> bytes:
        """What a client sent, for the parser. `begins` tells that a request begins with it, if it is one."""
        if begins:
            self._within = _METHOD.match(data) is not None
        if not self._within:
            return data
        line, end, rest = data.partition(b"\n")
        self._within = not end
        return data if line.isascii() else quote_from_bytes(line, _ASCII).encode() + end + rest
