"""A request as its handler sees it: its head, its body as it arrives, and the ways to answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Final

from haild.http.parser import Head
from haild.transfer import fastpath

if TYPE_CHECKING:
    from haild.http.server import Connection

READ_AHEAD: Final = 1 << 16
"""Bytes of a body that are received before the handler asks for them."""
BLOCKS_AHEAD: Final = 2
"""Whole blocks that wait for the handler while nothing more is received."""

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class ClientGoneError(ConnectionResetError):
    """The client has closed the connection, or broken it."""


class BadBodyError(ValueError):
    """The body of a request is not framed as HTTP demands."""


class Body:
    """The body of a request as it arrives. What waits for the handler is bounded: then nothing more is received."""

    __slots__ = (
        *("_block", "_connection", "_error", "_filled", "_filling", "_flows", "_pieces", "_size", "_waiter"),
        *("dropped", "ended", "left", "received"),
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: deque[bytes | memoryview] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._block: Callable[[], int] | None = None
        self._flows = False
        self._filling = memoryview(b"")
        self._filled = 0
        self.left = 0
        """Bytes still to come that pass by the parser."""
        self.received = 0
        self.ended = False
        """Whether the body has come whole (it need not have been read)."""
        self.dropped = False

    @property
    def ready(self) -> bool:
        """Whether `read` returns at once."""
        return self.ended or bool(self._pieces or self._filled) or self._error is not None

    @property
    def full(self) -> bool:
        """Whether no more of it should be received before some has been read."""
        if self._flows:
            return len(self._pieces) >= BLOCKS_AHEAD and self._size >= READ_AHEAD
        return self._size >= READ_AHEAD

    def in_blocks(self, block: Callable[[], int]) -> None:
        """From the first `read` on, receive straight into blocks of `block()` bytes each: nothing is copied again.

        HAILD_SLOW=blocks: the body comes in pieces that are copied, as a body of unknown length does.
        """
        if fastpath.enabled("blocks"):
            self._block = block

    async def read(self, _limit: int = 0) -> bytes | memoryview:
        """What has come since the last call; waits for some; nothing at the end. The bytes never change.

        Raises ClientGoneError and BadBodyError.
        """
        self._flows = self._block is not None
        while not self._pieces and not self._filled:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            await self._wait()
        if self._flows:
            piece = self._pieces.popleft() if self._pieces else self._cut()
        elif len(self._pieces) == 1:
            piece = self._pieces.pop()
        else:
            piece = b"".join(self._pieces)
            self._pieces.clear()
        self._size -= len(piece)
        self._connection.body_was_read()
        return piece

    async def _wait(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cut(self) -> memoryview:
        """What has been received of the current block; the rest of the block is filled next."""
        piece, self._filling = self._filling[: self._filled], self._filling[self._filled :]
        self._filled = 0
        return piece

    # What the connection calls.

    def feed(self, piece: bytes) -> None:
        """Take a piece that the parser has found."""
        self.received += len(piece)
        if not self.dropped:
            self._pieces.append(piece)
            self._size += len(piece)
            self._wake()

    def buffer(self, shared: memoryview) -> memoryview:
        """Where to receive the next bytes that pass by the parser."""
        if not self._flows or self._block is None or self.dropped:
            return shared[: self.left]
        if self._filled == len(self._filling):
            self._filling, self._filled = memoryview(bytearray(min(self._block(), self.left))), 0
        return self._filling[self._filled :][: self.left]

    def took(self, count: int, shared: memoryview) -> None:
        """`count` bytes have been received into what `buffer` returned."""
        self.left -= count
        self.received += count
        if self.dropped:
            return
        self._size += count
        if not self._flows:
            self._pieces.append(bytes(shared[:count]))
        else:
            self._filled += count
            if self._filled == len(self._filling):
                self._pieces.append(self._cut())
        self._wake()

    def end(self) -> None:
        """The body has come whole."""
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest will not come."""
        self._error = error
        self._wake()

    def drop(self) -> None:
        """The handler wants no more of it: receive the rest and throw it away."""
        self.dropped = True
        self._pieces.clear()
        self._size = self._filled = 0
        self._filling = memoryview(b"")

    async def wait_for_end(self) -> bool:
        """Wait for the end of a body that is dropped; whether it has come, and not the connection's end."""
        while not self.ended and self._error is None:
            await self._wait()
        return self.ended


class Request:
    """One request. A handler answers it by one `respond`, or by `start`, any number of `write` and `finish`."""

    __slots__ = (
        *("_chunked", "_connection", "_head", "_silent", "_until_close", "answered", "body", "continued", "headers"),
        *("keep_alive", "length", "method", "own_address", "remote", "sent", "status", "target", "version"),
    )

    def __init__(self, head: Head, connection: Connection) -> None:
        self._connection = connection
        self.method: Final = head.method
        self.target: Final = head.target
        self.version: Final = head.version
        self.headers: Final = head.headers
        """Names in any case; bytes that are no UTF-8 are surrogates (PEP 383)."""
        self.length: Final = head.length
        """Bytes of the body; None where it is chunked."""
        self.body = Body(connection)
        self.keep_alive = head.keep_alive
        """Whether the connection is kept after the answer."""
        self.remote: Final = connection.remote
        """The client's address."""
        self.own_address: Final = connection.own_address
        """The address at which the connection arrived."""
        self.status = 0
        """Of the answer, once it has begun."""
        self.sent = 0
        """Bytes of the answer's body, as far as it has begun."""
        self.answered = False
        self.continued = False
        """Whether the client has been asked for the body."""
        self._head = b""
        self._chunked = self._silent = self._until_close = False

    @property
    def connection(self) -> Connection:
        """The connection that it came on."""
        return self._connection

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's; None once it is lost."""
        return self._connection.transport

    @property
    def client_has_left(self) -> bool:
        """Whether the client sends no more: it has closed the connection, or at least its side of it.

        It may still read an answer. Work that takes long and changes nothing should end.
        """
        transport = self.transport
        return transport is None or transport.is_closing() or self._connection.at_end

    @property
    def chunked(self) -> bool:
        """Whether the body of the answer, which has begun, goes out in chunks (RFC 9112, 7.1)."""
        return self._chunked

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client sends its body only when asked for it (RFC 9110, 10.1.1)."""
        waits = self.headers.get("Expect", "").lower() == "100-continue" and self.version >= (1, 1)
        return waits and not self.continued and not self.body.received and not self.body.ended

    def ask_for_body(self) -> None:
        """Send the interim response if the client waits for it."""
        if self.waits_for_continue:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.continued = True

    def respond(
        self, status: int, headers: Mapping[str, str], body: bytes = b"", *, length: int | None = None
    ) -> None:
        """Send a whole answer. `length`: of the body that a HEAD does not get. Raises ClientGoneError."""
        empty = status in (204, 304)
        head = self._begin(status, headers, None if empty else len(body) if length is None else length, chunked=False)
        self.answered = True
        if self._silent or not body:
            self._connection.write(head)
        else:
            self._connection.write(head, body)

    def start(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Begin an answer. `length`: bytes of its body; None where that is not known: it is chunked then."""
        chunked = length is None and self.version >= (1, 1)
        if length is None and not chunked:
            self.keep_alive, self._until_close = False, True
        self._head = self._begin(status, headers, length, chunked=chunked)
        self._chunked = chunked

    async def write(self, piece: bytes) -> None:
        """Send a piece of the body. Raises ClientGoneError, and TimeoutError if the client takes nothing."""
        if self._silent or not piece:
            return
        head, self._head = self._head, b""
        connection = self._connection
        self.count(len(piece))
        if self._chunked:
            connection.write(head, b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            connection.write(head, piece)
        if connection.writing_paused:
            await connection.drain()

    def send_head(self) -> None:
        """Send the head alone: the body is written to the socket by other means."""
        head, self._head = self._head, b""
        if head:
            self._connection.write(head)

    async def send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        """Let the system copy `count` bytes of `file`, at least one, to the connection: a piece of the body.

        Raises ClientGoneError, and TimeoutError if the client does not take them in time.
        """
        if self._silent:
            return
        self._head += b"%x\r\n" % count if self._chunked else b""
        self.send_head()
        await self._connection.send_file(file, offset, count)
        self.count(count)
        self._head = b"\r\n" if self._chunked else b""  # sent with what follows

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent. Raises as `write` does."""
        await self._connection.drain()

    def count(self, sent: int) -> None:
        """Count bytes of the body that were sent, also by other means, where the answer does not tell its length."""
        if self._chunked or self._until_close:
            self.sent += sent

    def finish(self) -> None:
        """End the answer."""
        head, self._head = self._head, b""
        end = b"0\r\n\r\n" if self._chunked and not self._silent else b""
        self.answered = True
        if head or end:
            self._connection.write(head + end)

    def abort(self) -> None:
        """Break the connection: the client cannot take a part of an answer for the whole."""
        self.answered = True
        # A client takes an orderly end of the connection for the end of an answer that tells no length.
        self._connection.abort(reset=self._until_close)

    def _begin(self, status: int, headers: Mapping[str, str], length: int | None, *, chunked: bool) -> bytes:
        if self.status:
            raise RuntimeError("the request has been answered already")
        more = f"\r\nDate: {_date(int(time.time()))}"
        if length is not None:
            more += f"\r\nContent-Length: {length}"
        elif chunked:
            more += "\r\nTransfer-Encoding: chunked"
        if self._connection.stopping:
            self.keep_alive = False
        if self.version >= (1, 1):
            if not self.keep_alive:
                more += "\r\nConnection: close"
        elif self.keep_alive:
            more += "\r\nConnection: keep-alive"
        lines = [f"HTTP/{'1.1' if self.version >= (1, 1) else '1.0'} {status} {_REASONS.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        text = "\r\n".join(lines)
        if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1 or "\0" in text:
            raise ValueError("a header of the answer has a line break or a NUL")
        self.status = status
        self._silent = self.method == "HEAD" or status in (204, 304)
        if length and not self._silent:
            self.sent = length
        return f"{text}{more}\r\n\r\n".encode("utf-8", "surrogateescape")


@lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
