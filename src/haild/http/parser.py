"""From bytes to requests, without I/O: llhttp's parser (package httptools) with the limits and checks of a server.

Bytes go in by `feed`; a head, pieces of its body and the body's end come out, in the order in which they were sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from httptools.parser.errors import HttpParserInvalidMethodError
from multidict import CIMultiDict

from haild.http.requestline import TargetEncoder, speaks_http

MOST_LINES: Final = 128
"""Header lines of a request."""
MOST_WITHOUT_EVENT: Final = 1 << 17
"""Bytes of a head, of trailers or of a chunk's extensions."""
_ONCE: Final = ("Host", "Content-Length", "Transfer-Encoding")
"""Headers that decide where a request goes and where it ends: two of them are refused (RFC 9112, 3.2 and 6.3)."""


@dataclass(slots=True)
class Head:
    """The head of a request. `length`: bytes of its body; None where the body is chunked."""

    method: str
    target: str
    version: tuple[int, int]
    headers: CIMultiDict[str]
    keep_alive: bool
    length: int | None


@dataclass(slots=True)
class End:
    """The body of the last head has come whole."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What came is no request. Nothing comes after this event."""

    reason: str
    unknown_method: bool = False
    """Whether it would be a request of HTTP/1 if there were such a method."""


Event = Head | bytes | End | Refusal
_END: Final = End()
_CHUNKED: Final = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
"""After this a parser expects chunks."""


class _RefusedError(Exception):
    """Raised in the parser's callbacks, which it wraps."""


class RequestParser:
    """The parser of one connection."""

    def __init__(self, line_limit: int) -> None:
        """`line_limit`: bytes of the request line, and of each header line."""
        self._line_limit = line_limit
        self._targets: Final = TargetEncoder()
        self._parser = HttpRequestParser(self)
        self._events: list[Event] = []
        self._since_event = 0
        self._refused = False
        self._within_head = False
        self._chunked = self._upgrades = self._resuming = False
        self._url = b""
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._lines = 0
        self.between_requests = True
        """Whether the next byte begins a request."""
        self.body_left = 0
        """Bytes of the current body that have not been fed; 0 as well where it is chunked."""

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as they came; returns what they complete."""
        events = self._events = []
        if self._refused:
            return events
        self._since_event += len(data)
        begins = self.between_requests
        try:
            self._feed(self._targets.feed(data, begins=begins))
        except HttpParserError as error:
            self._refused = True
            cause = error.__context__
            reason = str(cause if isinstance(cause, _RefusedError) else error) or type(error).__name__
            unknown = isinstance(error, HttpParserInvalidMethodError) and begins and speaks_http(data)
            events.append(Refusal(reason, unknown))
            return events
        if events:
            self._since_event = 0
        elif self._since_event > MOST_WITHOUT_EVENT:
            self._refused = True
            events.append(Refusal("The head of the request is too long."))
        if self.between_requests and data.strip(b"\r\n") and not events:
            self.between_requests = False
        return events

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                # No other protocol is spoken here (RFC 9110, 7.8): what follows is the body, or another request.
                data = self._take_body(data[upgrade.args[0] :])
            else:
                return

    def _take_body(self, data: bytes) -> bytes:
        """Take what the parser leaves of a body after a wish for another protocol; returns what follows it."""
        self._parser = HttpRequestParser(self)
        if self._chunked:
            self._resuming = True
            self._parser.feed_data(_CHUNKED)
            self._resuming = False
            return data
        piece, rest = data[: self.body_left], data[self.body_left :]
        if piece:
            self.on_body(piece)
        if not self.body_left:
            self.on_message_complete()
        return rest

    def skip_body(self) -> None:
        """The caller has received the rest of the body (`body_left` bytes) itself: a new head follows."""
        self._parser = HttpRequestParser(self)
        self.body_left = 0
        self.between_requests = True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request line begins."""
        self.between_requests = False
        self._within_head = True
        self._url, self._headers, self._lines = b"", CIMultiDict(), 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url
        if len(self._url) > self._line_limit:
            raise _RefusedError("The target of the request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a line of the trailers."""
        self._lines += 1
        if self._lines > MOST_LINES or len(name) + len(value) > self._line_limit:
            raise _RefusedError("The headers are too many or too long.")
        if self._within_head:
            self._headers.add(name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        """The head is there."""
        headers, parser = self._headers, self._parser
        self._within_head = False
        if self._resuming:
            return
        for name in _ONCE:
            if len(headers.getall(name, ())) > 1:
                raise _RefusedError(f"There is more than one {name}.")
        coding = headers.get("Transfer-Encoding")
        if coding is not None and coding.lower() != "chunked":
            raise _RefusedError("The only transfer coding here is chunked.")
        length = None if coding is not None else int(headers.get("Content-Length") or 0)
        self.body_left = length or 0
        self._chunked, self._upgrades = length is None, parser.should_upgrade()
        method = parser.get_method().decode("ascii")
        major, _, minor = parser.get_http_version().partition(".")
        keep_alive = parser.should_keep_alive() and method != "CONNECT"
        target = self._url.decode("utf-8", "surrogateescape")
        self._events.append(Head(method, target, (int(major), int(minor)), headers, keep_alive, length))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.body_left:
            self.body_left -= len(body)
        self._events.append(body)

    def on_message_complete(self) -> None:
        """The body has come whole; the parser says so too early where a client wishes for another protocol."""
        if self._upgrades:
            self._upgrades = False
            return
        self.between_requests = True
        self._events.append(_END)
