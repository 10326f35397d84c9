"""The body of a large upload, received past the HTTP parser straight into the blocks in which it is handled.

Measured (16 MiB, loopback): see benchmarks/results. The parser copies what it gets, and its stream joins that again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import web

SMALLEST = 1 << 19
"""Bytes of a body from which on this pays."""
AHEAD = 2
"""Whole blocks that wait for the reader while nothing more is received."""


class Intake(asyncio.BufferedProtocol):
    """A source for Upload. It takes the place of the connection's protocol from the first read to the body's end."""

    def __init__(
        self, request: web.BaseRequest, length: int, block: Callable[[], int], ended: Callable[[], None]
    ) -> None:
        """`length`: bytes of the body as sent; `block`: bytes of a block, asked anew for each.

        `ended` is called when a body has been received that the parser still expects.
        """
        self._content = request.content
        self._transport = request.transport
        self._connection = request.protocol
        self._ended = ended
        self._block = block
        self._remaining = length
        self._begun = False
        self._ready: deque[bytes | memoryview] = deque()
        self._filling = memoryview(b"")
        self._filled = 0
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._discarding = False
        self._lost: Exception | None = None

    async def read(self, limit: int) -> bytes | memoryview:
        """A block or what there is of it; `limit` is not regarded. Nothing at the end. Raises ConnectionError."""
        if not self._begun:
            self._begin()
        while not self._ready and not self._filled:
            if self._lost is not None:
                raise self._lost
            if not self._remaining:
                return b""
            await self._wait()
        piece = self._ready.popleft() if self._ready else self._cut()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return piece

    def abandon(self) -> None:
        """Drop what is still to come, if anything: the answer does not depend on it."""
        if self._begun and self._remaining:
            self._discarding = True
            self._ready.clear()
            self._filling, self._filled = memoryview(b""), 0
            if self._paused and self._transport is not None and not self._transport.is_closing():
                self._paused = False
                self._transport.resume_reading()

    def cancel(self) -> None:
        """Have the reader give up."""
        self._lost = ConnectionResetError("the server stops")
        self._wake()

    def _begin(self) -> None:
        """Take over, behind what the parser has got already."""
        self._begun = True
        while piece := self._content.read_nowait():  # which lets the parser go on with what it holds back
            self._ready.append(piece)
            self._remaining -= len(piece)
        if self._remaining:
            if self._transport is None or self._transport.is_closing():
                raise ConnectionResetError("the client is gone")
            self._transport.set_protocol(self)

    def _cut(self) -> memoryview:
        """What has been received of the present block; the rest of it is another one."""
        piece, self._filling = self._filling[: self._filled], self._filling[self._filled :]
        self._filled = 0
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

    # What the event loop calls.

    def get_buffer(self, _hint: int) -> memoryview:
        if not len(self._filling) - self._filled:
            self._filling, self._filled = memoryview(bytearray(min(self._block(), self._remaining))), 0
        return self._filling[self._filled :][: self._remaining]

    def buffer_updated(self, count: int) -> None:
        self._remaining -= count
        if not self._discarding:
            self._filled += count
            if self._filled == len(self._filling):
                self._ready.append(self._cut())
            if len(self._ready) >= AHEAD and self._remaining and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        if not self._remaining:
            self._end()
        self._wake()

    def _end(self) -> None:
        self._content.feed_eof()
        self._ended()
        if self._transport is not None:
            self._transport.set_protocol(self._connection)

    def eof_received(self) -> None:
        return

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("the client closed the connection")
        self._transport = None
        self._connection.connection_lost(exc)
        self._wake()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
