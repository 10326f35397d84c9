"""An HTTP/1 server: connections that hand requests to a handler, one after the other.

The parser is httptools' (haild.http.parser). Bodies of a known length pass by it: they are received straight into the
blocks in which they are handled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from multidict import CIMultiDict

from haild.http.parser import End, Head, Refusal, RequestParser
from haild.http.request import BadBodyError, Body, ClientGoneError, Request

BUFFER: Final = 1 << 18
"""Bytes that are received at a time."""
MOST_BLANK: Final = 4096
"""Bytes of empty lines before a connection's requests."""
MOST_WAITING: Final = 1
"""Requests that may wait for the one before them; then nothing more is received."""

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[None]]
Refuse = Callable[[Refusal, str], tuple[int, dict[str, str], bytes]]
"""Of a refusal and the client's address: the answer's status, headers and body."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take: seconds, and bytes of a line."""

    head: float = 30.0
    """Seconds in which the head of a request must arrive whole."""
    idle: float = 75.0
    """Seconds for which a connection is kept without a request."""
    linger: float = 5.0
    """Seconds in which the rest of a body that no handler wants is received, so that the client sees its answer."""
    linger_bytes: int = 1 << 20
    """Bytes that are received after a refusal, for the same reason; a client that sends more loses its answer."""
    stall: float = 60.0
    """Seconds that a client may leave an answer unread."""
    line: int = 1 << 14
    """Bytes of the request line, and of each header line."""


class HttpServer:
    """The protocol factory to listen with; it knows its connections. The event loop must run."""

    def __init__(self, handler: Handler, refuse: Refuse, limits: Limits | None = None) -> None:
        self.handler: Final = handler
        self.refuse: Final = refuse
        self.limits: Final = limits or Limits()
        self.connections: set[Connection] = set()
        # One for all: what is received is copied out of it before anything else is received.
        self.buffer: Final = memoryview(bytearray(BUFFER))
        self.stopping = False

    def __call__(self) -> Connection:
        return Connection(self)

    def stop_keeping(self) -> None:
        """Close idle connections, and each other one after its answer."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()

    async def cut_off_others(self, kept: Connection | None) -> None:
        """Break all connections but `kept`; returns when none of their requests runs any more."""
        others = [connection for connection in self.connections if connection is not kept]
        tasks = {connection.task for connection in others if connection.task is not None}
        for connection in others:
            connection.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def shutdown(self, grace: float) -> None:
        """End all connections; requests under way get `grace` seconds."""
        self.stop_keeping()
        tasks = {connection.task for connection in self.connections if connection.task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for connection in list(self.connections):
            connection.abort()


def simple_refusal(refusal: Refusal, _client: str) -> tuple[int, dict[str, str], bytes]:
    """400 and the reason as text."""
    return 400, {"Content-Type": "text/plain"}, f"{refusal.reason}\n".encode()


class Connection(asyncio.BufferedProtocol):
    """One connection of a client."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(server.limits.line)
        self._waiting: deque[Request] = deque()
        self._refusal: Refusal | None = None
        self._receiving: Body | None = None
        self._past_parser = False
        self._reading_paused = False
        self._blank = 0
        self._ended = self._lingering = False
        self._head_expected = True
        self._more_to_ignore = 0
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.remote = self.own_address = ""
        self.writing_paused = self.at_end = False

    @property
    def stopping(self) -> bool:
        """Whether the connection ends with the current answer."""
        return self._server.stopping or self._ended

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self.transport = transport
        peer = transport.get_extra_info("peername")
        own = transport.get_extra_info("sockname")
        self.remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self.own_address = str(own[0]) if isinstance(own, tuple) else ""
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            # asyncio leaves Nagle's algorithm on for a socket that was made without naming TCP.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._server.connections.add(self)
        self._expect_within(self._server.limits.head)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gone = ClientGoneError(str(exc) if exc else "the client has closed the connection")
        if self._receiving is not None:
            self._receiving.fail(gone)
        self._waiting.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def get_buffer(self, _hint: int) -> memoryview:
        if self._past_parser and self._receiving is not None:
            return self._receiving.buffer(self._server.buffer)
        return self._server.buffer

    def buffer_updated(self, count: int) -> None:
        if self._lingering:
            self._more_to_ignore -= count
            if self._more_to_ignore < 0:
                self._close()
            return
        if self._past_parser and (body := self._receiving) is not None:
            body.took(count, self._server.buffer)
            if not body.left:
                self._past_parser, self._receiving = False, None
                self._parser.skip_body()
                body.end()
        else:
            self._parse(bytes(self._server.buffer[:count]))
        self._pause_or_resume()

    def eof_received(self) -> bool:
        # A client that has shut its side down still gets the answers to what it has sent.
        self.at_end = True
        if self._receiving is not None:
            self._receiving.fail(ClientGoneError("the client has closed the connection"))
        if not self._waiting:
            self._ended = True
        return self.task is not None

    # Requests.

    def _parse(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            if isinstance(event, Head):
                request = Request(event, self)
                self._receiving = request.body
                self._waiting.append(request)
            elif isinstance(event, bytes):
                assert self._receiving is not None  # noqa: S101 - a head comes before its body
                self._receiving.feed(event)
            elif isinstance(event, End):
                assert self._receiving is not None  # noqa: S101 - a head comes before its end
                self._receiving.end()
                self._receiving = None
            elif self._receiving is not None:
                self._receiving.fail(BadBodyError(event.reason))
                self._receiving = None
                self._ended = True
            else:
                self._refusal = event
        if self._parser.body_left and self._receiving is not None:
            self._receiving.left = self._parser.body_left
            self._past_parser = True
        if self.task is None:
            if self._waiting or self._refusal is not None:
                self._deadline = None
                self._start()
            elif data.strip(b"\r\n"):
                if not self._head_expected:
                    self._head_expected = True
                    self._expect_within(self._server.limits.head)
            else:  # the parser skips empty lines before a request, however many come
                self._blank += len(data)
                if self._blank > MOST_BLANK:
                    self.abort()

    def _start(self) -> None:
        job: Coroutine[Any, Any, None] = self._serve()
        if sys.version_info >= (3, 12):
            # At once, without another turn of the event loop.
            self.task = asyncio.Task(job, loop=self._loop, eager_start=True)
            if self.task.done():
                self.task = None
        else:
            self.task = self._loop.create_task(job)

    async def _serve(self) -> None:
        """Answer what waits."""
        try:
            while self._waiting:
                request = self._waiting.popleft()
                await self._server.handler(request)
                if not request.answered:
                    raise RuntimeError("a handler has not answered its request")
                if not request.body.ended:
                    request.keep_alive &= await self._leave(request)
                if not request.keep_alive or self._server.stopping or (self._ended and not self._waiting):
                    self._close()
                    return
                self._pause_or_resume()
            if self._refusal is not None:
                self._refuse(self._refusal)
                return
            self._head_expected = not self._parser.between_requests
            self._expect_within(self._server.limits.head if self._head_expected else self._server.limits.idle)
        except (ConnectionError, TimeoutError):
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception:
            logger.exception("a request failed")
            self.abort()
        finally:
            self.task = None

    async def _leave(self, request: Request) -> bool:
        """Receive and drop the rest of a body; whether another request can follow."""
        unasked = request.waits_for_continue
        request.body.drop()
        self._pause_or_resume()
        if unasked:  # it does not come, or cannot be told from the next request
            return False
        try:
            async with asyncio.timeout(self._server.limits.linger):
                return await request.body.wait_for_end()
        except TimeoutError:
            return False

    def _refuse(self, refusal: Refusal) -> None:
        status, headers, body = self._server.refuse(refusal, self.remote)
        head = Head("GET", "", (1, 1), CIMultiDict(), keep_alive=False, length=0)
        with contextlib.suppress(ClientGoneError):
            Request(head, self).respond(status, headers, body)
        self._linger()

    def body_was_read(self) -> None:
        """There may be room for more of a body."""
        if self._reading_paused:
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        body, transport = self._receiving, self.transport
        pause = len(self._waiting) > MOST_WAITING or (body is not None and body.full)
        if pause != self._reading_paused and transport is not None and not transport.is_closing():
            self._reading_paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # Answers.

    def write(self, *pieces: bytes) -> None:
        """Send bytes, where possible by one system call. Raises ClientGoneError."""
        if self.transport is None or self.transport.is_closing():
            raise ClientGoneError("the client has closed the connection")
        self.transport.writelines(pieces)

    async def drain(self) -> None:
        """Wait until more can be sent. Raises ClientGoneError, and TimeoutError if the client takes nothing."""
        if self.writing_paused and self.transport is not None:
            self._drained = self._loop.create_future()
            async with asyncio.timeout(self._server.limits.stall):
                await self._drained
        if self.transport is None:
            raise ClientGoneError("the client has closed the connection")

    async def send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        """Let the system copy a part of a file to the connection. Raises as `drain` does."""
        if self.transport is None or self.transport.is_closing():
            raise ClientGoneError("the client has closed the connection")
        async with asyncio.timeout(self._server.limits.stall):
            await self._loop.sendfile(self.transport, file, offset, count)

    # The end.

    def stop(self) -> None:
        """Close the connection if it is idle."""
        if self.task is None:
            self._close()

    def abort(self, *, reset: bool = False) -> None:
        """Break the connection. `reset`: in a way that no client can take for an orderly end."""
        if self.transport is not None:
            if reset:
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _linger(self) -> None:
        """Close the connection when the client does, which loses an answer if it is closed while data arrives."""
        if self.transport is None or self.at_end or self._server.stopping:
            self._close()
            return
        self._lingering = True
        self._more_to_ignore = self._server.limits.linger_bytes
        self._waiting.clear()
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
        except OSError:  # the client has reset the connection
            self.abort()
            return
        self._pause_or_resume()
        self._expect_within(self._server.limits.linger)

    def _close(self) -> None:
        self._waiting.clear()
        if self.transport is not None:
            self.transport.close()

    def _expect_within(self, seconds: float) -> None:
        """Close the connection unless something comes in time."""
        self._deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and self.transport is not None:
            self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() >= self._deadline:
            self._close()
        else:
            self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)
