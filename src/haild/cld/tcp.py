"""TCP connections of the server: frames in and out, limits, and how a connection ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from haild.cld.session import Stream
from haild.wire.cld import packet as cld_packet

MAXIMUM_CONNECTIONS: Final = 10_000
SILENT: Final = 60.0
"""Seconds a connection may be without a session at first."""
LINGER: Final = 300.0
"""Seconds a connection is kept when its session has ended: a client of the reference does not survive a close by the
server before it has given up by itself, which it does after 120 s (cld.md 1.2)."""
MAXIMUM_BACKLOG: Final = 2 << 20
"""Bytes that may wait for a client that does not read."""
MAXIMUM_SLOW: Final = 32
"""Connections whose clients do not read what they asked for; beyond that the next one is given up at once."""
SLOW: Final = 30.0
"""Seconds such a client has until it is given up."""
_SEND_BUFFER: Final = 512 << 10
RECEIVE_SIZE: Final = 64 << 10
"""Bytes received at a time."""
_PROOFS: Final = (ConnectionResetError, BrokenPipeError)


class Owner(Protocol):
    """What a connection reports to. `arriving`: RECEIVE_SIZE bytes, through which all connections receive.

    The loop fills it and has it taken in one go. Without it each read makes room for 256 KiB and gives it back, two
    calls of the kernel for a packet of a hundred bytes.
    """

    arriving: memoryview

    def received(self, stream: Stream, packets: deque[bytes]) -> None: ...

    def closed(self, connection: Connection, *, proof: bool) -> None: ...

    def opened(self, connection: Connection) -> None: ...

    def slow(self, connection: Connection) -> None: ...

    def after_release(self, turn: Callable[[], None]) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """One TCP connection."""

    def __init__(self, owner: Owner) -> None:
        self.stream = Stream("", 0)
        self._owner = owner
        self._reader = cld_packet.FrameReader(cld_packet.Direction.TO_SERVER)
        self._transport: asyncio.Transport | None = None
        self._check: asyncio.TimerHandle | None = None
        self._lingering = False
        self._by_us = False
        self._packets: deque[bytes] = deque()
        self._slow: asyncio.TimerHandle | None = None
        self._turn_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.stream = Stream(peer[0], peer[1])
        # A whole GET reply has to fit, so that no frame header is torn: libhail cannot read that (cld.md 1.2).
        with contextlib.suppress(OSError):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        transport.set_write_buffer_limits(high=256 << 10)
        self._check = asyncio.get_running_loop().call_later(SILENT, self._silent)
        self._owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._owner.arriving

    def buffer_updated(self, nbytes: int) -> None:
        try:
            packets = self._reader.feed(bytes(self._owner.arriving[:nbytes]))
        except cld_packet.FrameError:
            self.abort()
            return
        self._packets += packets
        if not self._turn_due:
            self._turn()

    def _turn(self) -> None:
        """Handle what the owner takes; the others only when answers were sent, so that no answers pile up."""
        self._turn_due = False
        transport = self._transport
        if self._slow is not None or transport is None or transport.is_closing():
            return
        if self._packets:
            self._owner.received(self.stream, self._packets)
        if self._packets:
            transport.pause_reading()
            self._turn_due = True
            self._owner.after_release(self._turn)
        else:
            transport.resume_reading()

    @property
    def is_slow(self) -> bool:
        """Whether the client does not take what it asked for."""
        return self._slow is not None

    def pause_writing(self) -> None:
        self._slow = asyncio.get_running_loop().call_later(SLOW, self.abort)
        if self._transport is not None:
            self._transport.pause_reading()
        self._owner.slow(self)

    def resume_writing(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        if not self._turn_due:
            self._turn()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._check, self._slow):
            if timer is not None:
                timer.cancel()
        # A connection that timed out, or that we gave up, proves nothing about its client.
        self._owner.closed(self, proof=not self._by_us and (exc is None or isinstance(exc, _PROOFS)))

    def send(self, packets: list[bytes]) -> None:
        """Send packets, each framed and in a write of its own: see `connection_made`."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for packet in packets:
            transport.write(cld_packet.frame(packet, cld_packet.Direction.TO_CLIENT))
        if transport.get_write_buffer_size() > MAXIMUM_BACKLOG:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._by_us = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close when all is sent."""
        self._by_us = True
        if self._transport is not None:
            self._transport.close()

    def _silent(self) -> None:
        if self.stream.sids or (self.stream.used and not self._lingering):
            self._lingering = not self.stream.sids
            self._check = asyncio.get_running_loop().call_later(LINGER, self._silent)
        else:
            self.abort()
