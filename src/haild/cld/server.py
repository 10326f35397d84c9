"""Runs a `Machine` on the network: one port for UDP and TCP, one timer, one store."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from haild.cld import tcp, udp
from haild.cld.committer import Committer, Output
from haild.cld.machine import Machine
from haild.cld.reflection import Reflection
from haild.cld.session import Datagrams, Stream
from haild.cld.store import Store
from haild.daemon import listen
from haild.daemon.errors import StartError

_ATTEMPTS: Final = 50
_SID: Final = slice(8, 16)
_TURN: Final = 64
"""Packets that one connection may cause to be sent before others get their turn; the last answer may be longer."""
_CONGESTION: Final = 8192
"""Packets waiting to be sent from which on no connection gets a turn."""

logger = logging.getLogger(__name__)


class Server:
    """A running server. Made by `start`."""

    def __init__(self, service: Machine, store: Store) -> None:
        self.port = 0
        self.service = service
        self.arriving = memoryview(bytearray(tcp.RECEIVE_SIZE))
        self._store = store
        self._committer = Committer(service, store, self._release)
        self._connections: dict[Stream, tcp.Connection] = {}
        self._listener: asyncio.Server | None = None
        self._endpoint: udp.Endpoint | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._flushing = False
        self._closing = False
        self._reflection = Reflection()
        self._turns: list[Callable[[], None]] = []

    @classmethod
    async def start(cls, directory: Path, port: int, secrets: Mapping[bytes, bytes] | None) -> Server:
        """Open the store in `directory`, serve on `port` (0: any that is free). Raises StartError."""
        listen.allow_descriptors(tcp.MAXIMUM_CONNECTIONS + 64)
        store = Store(directory)
        service = Machine(secrets=secrets, rng=random.Random(), wall=time.time, load=store.content)  # noqa: S311
        try:
            listener, datagrams = _bind(port)
        except OSError as error:
            store.close()
            raise StartError(f"port {port or 'auto'}: {error.strerror or error}") from error
        server = cls(service, store)
        server.port = listener.getsockname()[1]
        service.restore(store.load(), time.monotonic())
        server._endpoint = udp.Endpoint(datagrams, server.received_datagrams, server.port_closed)
        loop = asyncio.get_running_loop()
        server._listener = await loop.create_server(lambda: tcp.Connection(server), sock=listener, backlog=1024)
        server.flush()
        return server

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what makes it impossible to go on."""
        stopping = asyncio.ensure_future(stop.wait())
        ends: set[asyncio.Future[Any]] = {stopping, self._committer.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._committer.failed.done():
            self._committer.failed.result()

    async def close(self) -> None:
        """Stop: sessions stay stored, so that their clients can go on with the next server."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        if not self._committer.failed.done():
            await self._committer.close()
        for connection in list(self._connections.values()):
            connection.close()
        if self._endpoint is not None:
            self._endpoint.close()
        # One turn of the loop, in which the connections are closed.
        await asyncio.sleep(0)
        self._store.close()

    def statistics(self) -> str:
        """One line on what is there."""
        locks = sum(1 for lock in self.service.operations.locks if lock.held)
        return (
            f"{len(self.service.registry.sessions)} sessions, {len(self._connections)} connections, "
            f"{len(self.service.tree)} files and directories, {locks} locks held"
        )

    # From the network.

    def opened(self, connection: tcp.Connection) -> None:
        """A connection came."""
        if self._closing or len(self._connections) >= tcp.MAXIMUM_CONNECTIONS:
            connection.abort()
        self._connections[connection.stream] = connection

    def slow(self, connection: tcp.Connection) -> None:
        """A client does not read; only so many may do that at once."""
        if sum(1 for other in self._connections.values() if other.is_slow) > tcp.MAXIMUM_SLOW:
            connection.abort()

    def after_release(self, turn: Callable[[], None]) -> None:
        """Call `turn` when packets were released the next time."""
        self._turns.append(turn)

    def received(self, stream: Stream, packets: deque[bytes]) -> None:
        """Packets came on a connection: take those from `packets` whose answers there is room for."""
        now = time.monotonic()
        output = self.service.registry.output
        limit = min(len(output) + _TURN, _CONGESTION - self._committer.held)
        while packets and len(output) < limit:
            self._receive(packets.popleft(), stream, now)
        if packets:
            # The caller asks for its next turn now; the release that brings it has to come after that.
            self._flush_soon()
        else:
            self.flush()

    def received_datagrams(self, datagrams: list[tuple[bytes, Datagrams]]) -> None:
        """Datagrams came."""
        now = time.monotonic()
        for data, peer in datagrams:
            self._reflection.received(peer, len(data))
            self._receive(data, peer, now)
        self.flush()

    def _receive(self, data: bytes, peer: Stream | Datagrams, now: float) -> None:
        try:
            self.service.receive(data, peer, now)
        except Exception:
            # One packet must not keep the others from being served.
            logger.exception("cannot handle a packet")

    def closed(self, connection: tcp.Connection, *, proof: bool) -> None:
        """A connection is gone; `proof`: by its client's doing."""
        self._connections.pop(connection.stream, None)
        if self._closing:
            return
        if proof:
            self.service.stream_closed(connection.stream, time.monotonic())
        else:
            self.service.stream_given_up(connection.stream)
        self.flush()

    def port_closed(self, data: bytes, peer: Datagrams) -> None:
        """A packet we sent met a closed port; `data` is its beginning."""
        self.service.port_closed(data[_SID], peer, time.monotonic())
        self.flush()

    # To the network.

    def flush(self) -> None:
        """Send what has gathered; if there is something to store, after everything that can be read now was read."""
        if self.service.changes or self._committer.busy:
            self._flush_soon()
        elif not self._flushing and not self._closing:
            self._flush()

    def _flush_soon(self) -> None:
        if not self._flushing and not self._closing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        registry = self.service.registry
        output, registry.output = registry.output, []
        if output or self.service.changes:
            self._committer.submit(output)
            if self._endpoint is not None and self._committer.overloaded:
                self._endpoint.pause()
        else:
            self._take_turns()
        if not self._closing:
            self._set_timer()

    def _release(self, output: Output) -> None:
        streams: dict[Stream, list[bytes]] = {}
        for peer, data in output:
            if isinstance(peer, Stream):
                streams.setdefault(peer, []).append(data)
            elif self._endpoint is not None and self._reflection.may_send(
                peer, len(data), proven=self.service.proven(data, peer)
            ):
                self._endpoint.send(data, peer)
        for stream, packets in streams.items():
            connection = self._connections.get(stream)
            if connection is not None:
                connection.send(packets)
        if self._endpoint is not None and not self._committer.overloaded:
            self._endpoint.go_on()
        self._take_turns()

    def _take_turns(self) -> None:
        if self._committer.overloaded:
            return
        turns, self._turns = self._turns, []
        for turn in turns:
            asyncio.get_running_loop().call_soon(turn)

    def _set_timer(self) -> None:
        deadline = self.service.deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.service.tick(time.monotonic())
        self.flush()


def _bind(port: int) -> tuple[socket.socket, socket.socket]:
    """A TCP and a UDP socket on the same port, of IPv6 and IPv4 where the host has both. Raises OSError."""
    return listen.dual_stack(lambda family: _bind_family(family, port))


def _bind_family(family: socket.AddressFamily, port: int) -> tuple[socket.socket, socket.socket]:
    for attempt in range(_ATTEMPTS):
        listener = listen.bind_wildcard(family, socket.SOCK_STREAM, port)
        try:
            return listener, udp.bind(family, listener.getsockname()[1])
        except OSError:
            listener.close()
            # A number that is free for TCP need not be free for UDP.
            if port or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError  # pragma: no cover - the loop returns or raises
