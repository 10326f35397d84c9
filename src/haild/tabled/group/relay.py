"""What a stand-by does with its clients: it passes their connections on to the master, byte by byte.

So every member of a group can be asked for everything, whichever is master. The bytes stay as they were signed.
A connection that comes while there is no master is kept for a while: it is served here if this member becomes the
master, and answered 503 (clients retry) if there is none. What was passed on to a master that is no longer
one is cut off, so that its client asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from haild.backoff import Backoff
from haild.http.server import HttpServer

PATIENCE: Final = 10.0
"""Seconds that a connection waits for a master: more than a fail-over takes whose master has died."""
CONNECT: Final = 1.0
"""Seconds for the connection to the master."""
BLOCK: Final = 1 << 16
BACKLOG: Final = 1024
PAUSE: Final = 0.5
"""Seconds until another connection is accepted when there was no descriptor for one."""
LIMIT: Final = 512
"""Connections passed on at the same time; more are answered 503."""

logger = logging.getLogger(__name__)

Address = tuple[str, int]


class Relay:
    """One term as a stand-by, from `start` to `stop`."""

    def __init__(
        self, sockets: Sequence[socket.socket], master: Callable[[], Address | None], own: HttpServer
    ) -> None:
        """`sockets`: bound, not yet listening; `master`: where the master is, if known; `own`: serves what stays."""
        self._sockets = sockets
        self._master = master
        self._own = own
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: set[socket.socket] = set()
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Task[None], socket.socket] = {}

    def start(self) -> None:
        """Listen."""
        for sock in self._sockets:
            sock.listen(BACKLOG)
            self._loop.add_reader(sock, self._accept, sock)
            self._accepting.add(sock)

    def stop_accepting(self) -> None:
        """Leave the sockets, which listen on, to another owner."""
        for sock in self._accepting:
            self._loop.remove_reader(sock)
        self._accepting.clear()

    async def stop(self, server: HttpServer | None) -> None:
        """Accept no more, cut off what was passed on, and hand what still waits to `server` (None: close it)."""
        self.stop_accepting()
        waiting = list(self._waiting.values())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in waiting:
            if server is None:
                connection.close()
            else:
                await _hand_over(connection, server)

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accept(self, sock: socket.socket) -> None:
        """Take one connection. Not by a task, which may be cancelled when it has just got one."""
        try:
            connection, _ = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors left: those who hold them will end
            logger.warning("cannot accept a connection: %s", error)
            self._loop.remove_reader(sock)
            self._loop.call_later(PAUSE, self._accept_again, sock)
            return
        connection.setblocking(False)
        if len(self._tasks) > LIMIT:
            self._spawn(_hand_over(connection, self._own))
            return
        self._waiting[self._spawn(self._pass_on(connection))] = connection

    def _accept_again(self, sock: socket.socket) -> None:
        if sock in self._accepting:
            self._loop.add_reader(sock, self._accept, sock)

    async def _pass_on(self, connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        try:
            onward = await self._reach_master()
        finally:
            self._waiting.pop(task, None)
        if onward is None:
            await _hand_over(connection, self._own)
            return
        await _join(connection, onward)

    async def _reach_master(self) -> socket.socket | None:
        """A connection to the master; None if there is none for too long."""
        loop = asyncio.get_running_loop()
        end, backoff = loop.time() + PATIENCE, Backoff(0.02, 0.25, factor=1.5)
        while loop.time() < end:
            address = self._master()
            if address is not None:
                # Not wait_for: that of Python 3.11 forgets that it was cancelled where its job ends at that moment.
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(CONNECT):
                        return await _connect(address)
            await backoff.rest()
        return None


async def _connect(address: Address) -> socket.socket:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    error = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, where in await loop.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, where)
        except OSError as refused:
            error = refused
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


async def _hand_over(connection: socket.socket, server: HttpServer) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(server, sock=connection)
    except OSError:
        connection.close()


async def _join(client: socket.socket, master: socket.socket) -> None:
    """Pass bytes both ways until both sides have ended or one has failed."""
    streams = [await asyncio.open_connection(sock=sock) for sock in (client, master)]
    (from_client, to_client), (from_master, to_master) = streams
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(from_client, to_master))
            tasks.create_task(_copy(from_master, to_client))
    except* (OSError, RuntimeError):
        pass
    finally:
        for _, writer in streams:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while block := await source.read(BLOCK):
        sink.write(block)
        await sink.drain()
    sink.write_eof()
