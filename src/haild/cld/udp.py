"""The UDP socket of the server: datagrams with the address they were sent to, and what ICMP says about those we sent.

Replies leave from the address the request was sent to (cld.md 1.1). Errors come from the socket's error queue
(Linux: IP_RECVERR), which tells which packet met them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from haild.cld.session import Datagrams
from haild.daemon import listen

MAXIMUM_DATAGRAM: Final = 4096
_BURST: Final = 256
"""Datagrams read before others get their turn."""
_RECEIVE_BUFFER: Final = 4 << 20
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_IP_PKTINFO: Final = 8
_IN_PKTINFO: Final = struct.Struct("@I4s4s")
_IN6_PKTINFO: Final = struct.Struct("@16sI")
_EXTENDED_ERROR: Final = struct.Struct("@IBBBBII")
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3
_PORT_UNREACHABLE: Final = {(_ORIGIN_ICMP, 3, 3), (_ORIGIN_ICMP6, 1, 4)}

logger = logging.getLogger(__name__)


def bind(family: socket.AddressFamily, port: int) -> socket.socket:
    """A UDP socket on the wildcard address; of IPv6 one that also takes IPv4. Raises OSError."""

    def prepare(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    return listen.bind_wildcard(family, socket.SOCK_DGRAM, port, prepare)


class Endpoint:
    """Reads and writes one UDP socket in the running event loop."""

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[list[tuple[bytes, Datagrams]]], None],
        port_closed: Callable[[bytes, Datagrams], None],
    ) -> None:
        """`received` gets datagrams in bursts; `port_closed` the beginning of a packet that met a closed port."""
        self._socket = sock
        self._received = received
        self._port_closed = port_closed
        self._reading = True
        self._failed = False
        asyncio.get_running_loop().add_reader(sock.fileno(), self._ready)

    def _ready(self) -> None:
        datagrams: list[tuple[bytes, Datagrams]] = []
        failed, self._failed = self._failed, False
        for _ in range(_BURST):
            try:
                data, ancillary, _flags, address = self._socket.recvmsg(MAXIMUM_DATAGRAM, 128)
            except BlockingIOError:
                break
            except OSError:
                # The pending error of a packet we sent; its details are in the queue.
                failed = True
                continue
            datagrams.append((data, Datagrams(address[0], address[1], _local(ancillary))))
        if datagrams:
            self._received(datagrams)
        # After the datagrams: what was sent to us before the port closed still counts. Errors in the queue make the
        # socket ready, too.
        if failed or not datagrams:
            self._read_errors()

    def _read_errors(self) -> None:
        for _ in range(_BURST):
            try:
                data, ancillary, _flags, address = self._socket.recvmsg(MAXIMUM_DATAGRAM, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _level, kind, content in ancillary:
                if kind not in (_IP_RECVERR, _IPV6_RECVERR) or len(content) < _EXTENDED_ERROR.size:
                    continue
                _errno, origin, icmp_type, code, *_rest = _EXTENDED_ERROR.unpack_from(content)
                if (origin, icmp_type, code) in _PORT_UNREACHABLE:
                    self._port_closed(data, Datagrams(address[0], address[1]))

    def send(self, data: bytes, peer: Datagrams) -> None:
        """Send a datagram; what the network does not take is lost, as datagrams may be."""
        ancillary = []
        if len(peer.local) == 16:
            ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(peer.local, 0))]
        elif len(peer.local) == 4:
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(0, peer.local, bytes(4)))]
        for _ in range(2):
            try:
                self._socket.sendmsg([data], ancillary, 0, (peer.host, peer.port))
            except BlockingIOError:
                return
            except OSError:
                # May be the pending error of an earlier packet to another client: try once more.
                self._failed = True
                continue
            return

    def pause(self) -> None:
        """Read nothing for a while; what comes waits in the socket, or is lost, as datagrams may be."""
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def go_on(self) -> None:
        """Read again."""
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._ready)

    def close(self) -> None:
        """Stop and close the socket."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


def _local(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """Our address a datagram was sent to: 16 bytes (IPv6), 4 bytes (IPv4), or nothing."""
    for level, kind, content in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return bytes(_IN6_PKTINFO.unpack_from(content)[0])
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return bytes(_IN_PKTINFO.unpack_from(content)[1])
    return b""
