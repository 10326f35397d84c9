"""One client's TCP connection: bytes to requests, the body to the handler of the request, responses to bytes.

One request is handled at a time. While it is, further bytes wait in the decoder up to a limit and then in the
kernel. Memory is bounded by HELD_LIMIT for each connection and by the Budget for all content under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final, Protocol, TypeVar, cast

from haild.transfer import flow
from haild.transfer.waiting import settled
from haild.wire.chunk.messages import ProtocolError, Request, RequestDecoder

HELD_LIMIT: Final = 1 << 16
"""Bytes of later requests held while one is handled."""
UNSENT_LIMIT: Final = 1 << 16
"""Bytes of responses not yet taken by the client at which no further request is handled."""

LINGER: Final = 5.0
"""Seconds in which a client may finish sending after it was refused and before the connection is closed."""
LEAST_PROGRESS: Final = 1024
"""Bytes that must move between two calls of `give_up_if_stalled` when the client is waited for."""

logger = logging.getLogger(__name__)


class Budget:
    """Memory for content that has been received and not yet written, over all connections."""

    LIMIT: Final = 32 << 20
    """Bytes in all, before connections are kept short."""
    AMPLE: Final = 1 << 20
    SHORT: Final = 1 << 14

    def __init__(self) -> None:
        self.used = 0

    @property
    def allowance(self) -> int:
        """Bytes that one connection may hold at present."""
        return self.AMPLE if self.used < self.LIMIT else self.SHORT


RECEIVED: Final = 1 << 19
"""Bytes received at a time."""

T = TypeVar("T")
InThread = Callable[..., Awaitable[Any]]
"""Runs a function, given with its arguments, in a thread."""


class Handler(Protocol):
    """What the requests of one connection are handed to."""

    @property
    def logged_in(self) -> bool:
        """Before login no byte beyond the current request is received, because the request may be START_TLS."""

    def handle(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Handle a request at once, or return the coroutine that does."""


class ConnectionClosedError(Exception):
    """The client is gone, or has been given up."""


@dataclass(frozen=True)
class Shared:
    """What all connections of a server share."""

    handler_for: Callable[[Connection], Handler]
    opened: Callable[[Connection], None]
    closed: Callable[[Connection], None]
    timeout: float
    """Seconds for a TLS handshake, and for the client to take a window of a body."""
    budget: Budget = field(default_factory=Budget)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVED)))
    """Where all connections receive: what arrives is copied before the event loop goes on."""


class Connection(asyncio.BufferedProtocol):
    """The server's side of a connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._decoder = RequestDecoder()
        self._transport: asyncio.Transport | None = None
        self._handler: Handler = shared.handler_for(self)
        self._task: asyncio.Task[None] | None = None
        self._content_remaining = 0
        self._flowing = False
        self._lent: socket.socket | None = None
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._discarding = False
        self._waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._unsent = False
        self._input_ended = False
        self._closed = False
        self._lingering = False
        self._moved = 0
        self._mark: int | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._closed

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other event loops have transports of their own, which are not derived from the interface they keep.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shared.opened(self)

    def get_buffer(self, _hint: int) -> memoryview:
        if self._lingering:
            limit = RECEIVED
        elif self._content_remaining:
            limit = min(self._content_remaining, self._shared.budget.allowance)
        elif self._handler.logged_in:
            limit = RECEIVED
        else:
            limit = self._decoder.wanted or 1
        return self._shared.buffer[:limit]

    def buffer_updated(self, count: int) -> None:
        self._moved += count
        if self._lingering:
            return
        if not self._content_remaining:
            self._decoder.receive(self._shared.buffer[:count])
            self._advance()
            return
        self._content_remaining -= count
        if not self._discarding:
            self._hold(bytes(self._shared.buffer[:count]))
        if self._pieces or not self._content_remaining:
            self._wake()

    def eof_received(self) -> bool:
        self._input_ended = True
        self._wake()
        return self._task is not None and not self._lingering

    def connection_lost(self, _error: Exception | None) -> None:
        self._closed = self._input_ended = True
        self._release_pieces()
        self._unsent = False
        self._shared.closed(self)
        self._wake()

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False
        self._wake()
        if self._task is None:
            self._advance()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Requests.

    def _advance(self) -> None:
        """Handle what has been received, as far as possible now."""
        while self._task is None and not self._unsent and not self._closed:
            try:
                request = self._decoder.next_request()
            except ProtocolError:
                self.abort()
                return
            if request is None:
                break
            self._begin_content(request)
            coroutine = self._handler.handle(request)
            if coroutine is not None:
                self._task = asyncio.create_task(self._run(coroutine))
        if self._input_ended and self._task is None and not self._unsent and not self._closed:
            # What is left is no whole request, and never will be.
            self.close()
        self._balance()

    def _begin_content(self, request: Request) -> None:
        if not request.well_formed:
            return
        self._discarding = False
        self._flowing = True
        length = request.content_length
        if length:
            present = self._decoder.take(length)
            self._content_remaining = length - len(present)
            if present:
                self._hold(present)

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except ConnectionClosedError:
            self.abort()
        except Exception:
            logger.exception("a request failed unexpectedly")
            self.abort()
        finally:
            self._task = None
        if self._closed:
            return
        if self._content_remaining or self._pieces:
            # The request's handler left content: the stream cannot be followed any further.
            self.abort()
        else:
            self._advance()

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._pieces_size += len(piece)
        self._shared.budget.used += len(piece)
        self._balance()

    def _release_pieces(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        self._shared.budget.used -= self._pieces_size
        self._pieces_size = 0
        return pieces

    def _balance(self) -> None:
        """Receive or do not receive, as memory allows."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._content_remaining:
            full = self._pieces_size >= self._shared.budget.allowance
        else:
            full = len(self._decoder) >= HELD_LIMIT
        if full != self._reading_paused:
            self._reading_paused = full
            if full:
                transport.pause_reading()
            else:
                transport.resume_reading()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The request under way, if it was not handled at once."""
        return self._task

    # What handlers use.

    @property
    def peer(self) -> str:
        """The client's address; empty once it is gone."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) and name else ""

    @property
    def transport(self) -> asyncio.Transport:
        """The transport. Raises ConnectionClosedError if there is none any more."""
        if self._transport is None or self._closed or self._transport.is_closing():
            raise ConnectionClosedError
        return self._transport

    async def content(self) -> tuple[list[bytes], bool]:
        """The part of the current PUT's body that has arrived (at least one byte), and whether the body is complete.

        Raises ConnectionClosedError if the client goes before the end.
        """
        while not self._pieces and self._content_remaining:
            await self._wait()
        pieces = self._release_pieces()
        self._balance()
        return pieces, not self._content_remaining

    async def pass_content(self, in_thread: InThread, take: Callable[[Sequence[bytes | memoryview], bool], T]) -> T:
        """Run `take` in a thread on the body of the current PUT: first on what has arrived (at least one byte), then
        on the rest for as long as it keeps arriving.

        `take` is told whether the body is complete; the result of its last call is returned.
        Raises what `take` raises, and ConnectionClosedError if the client goes before the end.
        """
        pieces, last = await self.content()
        flows = self._flowing or sum(map(len, pieces)) >= flow.BLOCK // 2
        if last or not (flows and self._can_lend()):
            result: T = await in_thread(take, pieces, last)
            return result
        received, result = await self._lending(_take_flow, self._content_remaining, pieces, take)
        self._flowing = received >= flow.BLOCK
        self._moved += received
        self._content_remaining -= received
        self._balance()
        return result

    def _can_lend(self) -> bool:
        """Whether the plain socket can be lent to a thread, and a thread is free."""
        transport = self.transport
        plain = transport.get_extra_info("sslcontext") is None
        return plain and not transport.get_write_buffer_size() and flow.threads().free

    async def _lending(self, function: Callable[..., T], *arguments: object) -> T:
        """Call `function` in a thread with the socket as its first argument; only that thread uses it meanwhile."""
        transport = self.transport
        self._reading_paused = True  # until _balance
        transport.pause_reading()
        # A duplicate, which stays what it is if the connection is aborted meanwhile.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as self._lent:
            try:
                return await flow.threads().run(function, self._lent, *arguments)
            finally:
                self._lent = None

    async def discard_content(self) -> None:
        """Receive the rest of the current PUT's body and drop it. Raises ConnectionClosedError."""
        self._discarding = True
        self._release_pieces()
        self._balance()
        while self._content_remaining:
            await self._wait()

    async def _wait(self) -> None:
        """Wait until something has changed. Raises ConnectionClosedError."""
        if self._closed or (self._input_ended and self._content_remaining):
            raise ConnectionClosedError
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def send(self, data: bytes) -> None:
        """Send `data`, unless the client is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._moved += len(data)
            self._transport.write(data)

    async def sent(self) -> None:
        """Wait until the client has taken most of what was sent. Raises ConnectionClosedError."""
        while self._unsent:
            await self._wait()

    async def send_file(self, file: IO[bytes], offset: int, count: int) -> None:
        """Send a range of `file`, without copying it where the platform can. Raises ConnectionClosedError."""
        loop = asyncio.get_running_loop()
        transport = self.transport
        try:
            async with asyncio.timeout(self._shared.timeout):
                if transport.get_extra_info("sslcontext") is not None:
                    await self._send_copy(file, offset, count)
                    return
                try:
                    if await loop.sendfile(transport, file, offset, count, fallback=False) != count:
                        raise ConnectionClosedError
                except (NotImplementedError, asyncio.SendfileNotAvailableError):
                    # A loop without it, or a file system; nothing has been sent yet.
                    await self._send_copy(file, offset, count)
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError
            raise ConnectionClosedError from error

    async def _send_copy(self, file: IO[bytes], offset: int, count: int) -> None:
        """Send the file through memory: for TLS, and for loops and file systems without sendfile."""
        loop = asyncio.get_running_loop()
        while count:
            size = min(count, UNSENT_LIMIT)
            data = await settled(loop.run_in_executor(None, os.pread, file.fileno(), size, offset))
            if not data:
                raise ConnectionClosedError
            self.transport.write(data)
            self._moved += len(data)
            await self.sent()
            offset += len(data)
            count -= len(data)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Become the server's side of a TLS connection; nothing may have been received beyond the request.

        Raises OSError if the handshake fails.
        """
        transport = self.transport
        self._transport = None
        loop = asyncio.get_running_loop()
        try:
            upgraded = await loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=self._shared.timeout
            )
            if upgraded is None:
                raise ConnectionResetError("closed during the handshake")
        except BaseException:
            # asyncio does not tell of a connection that is reset in the midst of its handshake.
            self.connection_lost(None)
            raise
        self._transport = upgraded
        upgraded.set_write_buffer_limits(high=UNSENT_LIMIT)

    def close(self) -> None:
        """Close once what was sent is on its way; no further request is handled.

        What the client still sends is received and forgotten for a while: closing with unread bytes would
        reset the connection, and the client would lose the response.
        """
        self._closed = True
        self._release_pieces()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._input_ended or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = True
        self._content_remaining = 0
        try:
            transport.write_eof()
        except OSError:
            # The client has reset the connection, which the event loop has not noticed yet.
            self.abort()
            return
        if self._reading_paused:
            transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER, self.abort)

    def abort(self) -> None:
        """Close at once."""
        self._closed = True
        if self._lent is not None:
            with contextlib.suppress(OSError):
                self._lent.shutdown(socket.SHUT_RDWR)
        if self._transport is not None:
            self._transport.abort()

    def give_up_if_stalled(self) -> None:
        """Called at intervals: close if the client was waited for since the last call and too little moved."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        unsent = transport.get_write_buffer_size()
        awaited = (
            unsent > 0
            or not self._handler.logged_in
            or (self._content_remaining > 0 and not self._reading_paused)
            or (self._task is None and len(self._decoder) > 0)
        )
        moved = self._moved - unsent
        if awaited and self._mark is not None and moved - self._mark < LEAST_PROGRESS:
            self.abort()
        self._mark = moved if awaited else None


def _take_flow(
    sock: socket.socket, count: int, pieces: Sequence[bytes], take: Callable[[Sequence[bytes | memoryview], bool], T]
) -> tuple[int, T]:
    """Have `take` called with `pieces`, and then with what flows from `sock`; returns how many bytes that was."""
    result = take(pieces, False)

    def take_next(block: memoryview, last: bool) -> None:
        nonlocal result
        result = take([block], last)

    return flow.receive(sock, count, take_next), result
