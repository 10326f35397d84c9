"""Carries one session's packets over TCP or UDP: the I/O around `haild.client.cld.machine`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Final, Literal, cast

from haild.backoff import retry
from haild.client.cld import machine
from haild.wire.cld import packet as cld_packet

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.3
"""Seconds between attempts to reconnect; the lease ends them."""


def clock() -> float:
    """Seconds, also counted while the machine sleeps: a lease does not stop for that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def randomness(size: int) -> bytes:
    """Random bytes for session, message and sequence ids."""
    return os.urandom(size)


_CONNECT: Final = 0.25
"""Part of the lease that one attempt to connect may take."""
_RECEIVE_SIZE: Final = 16 << 10
"""Bytes received at a time: room for them is made once, not for each of the small packets."""


class _Stream(asyncio.BufferedProtocol):
    def __init__(self, owner: Carrier) -> None:
        self.owner = owner
        self.reader = cld_packet.FrameReader(cld_packet.Direction.TO_CLIENT)
        self.arriving = memoryview(bytearray(_RECEIVE_SIZE))
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.arriving

    def buffer_updated(self, nbytes: int) -> None:
        try:
            packets = self.reader.feed(bytes(self.arriving[:nbytes]))
        except cld_packet.FrameError:
            if self.transport is not None:
                self.transport.abort()
            return
        self.owner.received(packets, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.stream_lost(self)

    def send(self, packets: list[bytes]) -> None:
        if self.transport is not None and not self.transport.is_closing():
            direction = cld_packet.Direction.TO_SERVER
            self.transport.write(b"".join(cld_packet.frame(packet, direction) for packet in packets))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, owner: Carrier) -> None:
        self.owner = owner
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class is not derived from the interface it documents.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.owner.received([data], self)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self.owner.refused()

    def send(self, packets: list[bytes]) -> None:
        if self.transport is not None:
            for packet in packets:
                self.transport.sendto(packet)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Lifeline(asyncio.DatagramProtocol):
    """The UDP port that is open as long as the session is believed in; see `haild.wire.cld.extension`."""

    def __init__(self, state: machine.Machine, host: str) -> None:
        self.host = host
        self._machine = state
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._machine.lifeline(data)
        if answer is not None and self.transport is not None:
            self.transport.sendto(answer, addr)

    @property
    def port(self) -> int:
        return 0 if self.transport is None else int(self.transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Carrier:
    """Moves packets between a machine and the network, calls its timer, makes new connections when it asks."""

    def __init__(self, state: machine.Machine, host: str, port: int, transport: Literal["tcp", "udp"]) -> None:
        self.deliver: Callable[[machine.Outcome], None] = lambda _outcome: None
        self._machine = state
        self._address = (host, port)
        self.transport = transport
        self._link: _Stream | _Datagrams | None = None
        self._previous: list[_Stream | _Datagrams] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._reconnecting: asyncio.Task[None] | None = None
        self._lifeline: _Lifeline | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._closed = False
        self.broken = asyncio.Event()
        """Set while the connection is known to be of no use and there is no other yet."""

    async def start(self) -> None:
        """Connect and ask for the session. Raises OSError."""
        self._link = await self._connect()
        self._machine.start(clock())
        self.flush()

    async def _connect(self) -> _Stream | _Datagrams:
        loop = asyncio.get_running_loop()
        host, port = self._address
        if self.transport == "tcp":
            _, stream = await loop.create_connection(lambda: _Stream(self), host, port)
            return stream
        _, datagrams = await loop.create_datagram_endpoint(lambda: _Datagrams(self), remote_addr=(host, port))
        return datagrams

    def received(self, packets: list[bytes], link: _Stream | _Datagrams) -> None:
        """Packets came."""
        if link is not self._link:
            # Of the connection before: what it answers there, a session that has moved, is asked again.
            return
        now = clock()
        for packet in packets:
            self._machine.receive(packet, now)
        self.flush()

    def refused(self) -> None:
        """The server's UDP port was found closed."""
        self._machine.disconnected(clock())
        self.flush()

    def stream_lost(self, stream: _Stream) -> None:
        """A TCP connection ended."""
        if stream is self._link and not self._closed:
            self._machine.disconnected(clock())
            self.flush()

    def flush(self) -> None:
        """Send and deliver what the machine has ready, and set the timer to its next deadline."""
        if self._machine.outbox:
            packets, self._machine.outbox = self._machine.outbox, []
            if self._link is not None:
                self._link.send(packets)
        while self._machine.outcomes:
            self._outcome(self._machine.outcomes.popleft())
        self._set_timer()

    def _outcome(self, outcome: machine.Outcome) -> None:
        if isinstance(outcome, machine.Reconnect):
            self.broken.set()
            if self._reconnecting is None or self._reconnecting.done():
                self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())
            return
        if isinstance(outcome, machine.BackAgain):
            self.broken.clear()
            self._close_previous()
        started = isinstance(outcome, machine.Answered) and outcome.xid == 0
        if isinstance(self._link, _Stream) and (started or isinstance(outcome, machine.BackAgain)):
            self._announcing = asyncio.get_running_loop().create_task(self._announce(self._link))
        self.deliver(outcome)

    async def _announce(self, stream: _Stream) -> None:
        """Open the lifeline on the address the connection comes from, or keep the one that is there."""
        if not self._machine.ours or stream.transport is None:
            return
        host = stream.transport.get_extra_info("sockname")[0]
        previous = self._lifeline
        if previous is None or previous.host != host:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                _, self._lifeline = await loop.create_datagram_endpoint(
                    lambda: _Lifeline(self._machine, host), local_addr=(host, 0)
                )
        lifeline = self._lifeline
        if lifeline is None:
            return
        if self._closed:
            lifeline.close()
            return
        self._machine.announce(lifeline.port, clock())
        if previous is not None and previous is not lifeline:
            previous.close()
        self.flush()

    async def _reconnect(self) -> None:
        """Connect again until it works; the end of the lease closes this carrier and thus cancels it."""
        link = await retry(self._connect_in_time, on=OSError, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        # The old connection is closed only when the session has moved: to the server its end is our death.
        if self._link is not None:
            self._previous.append(self._link)
        self._link = link
        self._machine.connected(clock())
        self._reconnecting = None
        self.flush()

    async def _connect_in_time(self) -> _Stream | _Datagrams:
        # A process with a thousand sessions needs its time to connect them all.
        async with asyncio.timeout(max(1.0, _CONNECT * self._machine.lease)):
            return await self._connect()

    def _close_previous(self) -> None:
        for link in self._previous:
            link.close()
        self._previous.clear()

    def _set_timer(self) -> None:
        deadline = None if self._closed else self._machine.deadline()
        if deadline is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        if self._timer is None or deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            delay = max(0.0, deadline - clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._machine.tick(clock())
        self.flush()

    def close(self) -> None:
        """Close everything; nothing is sent or delivered any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reconnecting is not None and self._reconnecting is not _current_task():
            self._reconnecting.cancel()
        self._close_previous()
        for link in (self._link, self._lifeline):
            if link is not None:
                link.close()


def _current_task() -> asyncio.Task[None] | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.current_task()
    return None
