"""A byte channel to a chunkd node over TCP: bounded in memory both ways, every wait with a deadline."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from typing import Final, cast

HIGH_WATER: Final = 1 << 18
"""Bytes received and not yet read at which the socket is no longer read."""
LOW_WATER: Final = 1 << 17


class Channel(asyncio.Protocol):
    """One TCP connection. Reads return what the socket brought without joining or copying it."""

    def __init__(self, stall: float) -> None:
        """`stall`: seconds that one read or write may wait for the peer before it raises TimeoutError."""
        self.stall = stall
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received: deque[bytes] = deque()
        self._size = 0
        self._reading_paused = False
        self._writing_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._poll: select.poll | None = None

    @classmethod
    async def connect(cls, host: str, port: int, *, deadline: float, stall: float) -> Channel:
        """Connect within `deadline` seconds. Raises OSError (TimeoutError included)."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(deadline):
            _, channel = await loop.create_connection(lambda: cls(stall), host, port)
        return channel

    @property
    def alive(self) -> bool:
        """Whether the connection still stands, as far as is known."""
        return self._lost is None and self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether nothing has arrived, not even the end of the connection; asks the socket itself.

        The event loop may not have seen yet what a node did while no request was waiting.
        """
        if not self.alive or self._size or self._transport is None:
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    async def start_tls(self, context: ssl.SSLContext, host: str, deadline: float) -> None:
        """Become the client side of a TLS connection. Raises OSError (ssl.SSLError included)."""
        transport = self._open_transport()
        self._transport = await self._loop.start_tls(
            transport, self, context, server_hostname=host, ssl_handshake_timeout=deadline
        )

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other event loops have transports of their own, which are not derived from the interface they keep.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._lost = ConnectionResetError("the node closed the connection")
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = error or self._lost or ConnectionResetError("the connection was closed")
        self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        # Every request waits here several times: a plain timer costs half of what asyncio.timeout does.
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(self.stall, self._give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _give_up(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_exception(TimeoutError(f"the node has been silent for {self.stall:g} s"))

    def _open_transport(self) -> asyncio.Transport:
        if self._lost is not None:
            raise self._lost
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        return self._transport

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`; returns when the channel will take more. Raises OSError."""
        self._open_transport().write(data)
        while self._writing_paused:
            self._open_transport()
            await self._wait()

    def unread(self, data: bytes) -> None:
        """Put `data` back in front of what is to be read."""
        if data:
            self._received.appendleft(data)
            self._size += len(data)

    async def read_some(self, limit: int) -> bytes:
        """At least one and at most `limit` bytes. Raises OSError if the connection ends first."""
        while not self._received:
            if self._lost is not None:
                raise self._lost
            await self._wait()
        data = self._received.popleft()
        self._size -= len(data)
        if len(data) > limit:
            self.unread(data[limit:])
            data = data[:limit]
        if self._size < LOW_WATER:
            self.resume()
        return data

    async def read_exactly(self, count: int) -> bytes:
        """`count` bytes. Raises OSError if the connection ends first."""
        pieces = []
        while count:
            piece = await self.read_some(count)
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def lend(self) -> int | None:
        """The socket, to be read from by the caller alone until `resume`; None if it cannot be had as it is.

        What has been received already must be read first.
        """
        transport = self._transport
        if self._received or not self.alive or transport is None or transport.get_extra_info("sslcontext"):
            return None
        if not self._reading_paused:
            self._reading_paused = True
            transport.pause_reading()
        descriptor: int = transport.get_extra_info("socket").fileno()
        return descriptor

    def resume(self) -> None:
        """Read from the socket again."""
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what has not been sent is discarded."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close in order, at most `stall` seconds. Never raises OSError."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            while self._lost is None:
                await self._wait()
        except TimeoutError:
            self._transport.abort()
