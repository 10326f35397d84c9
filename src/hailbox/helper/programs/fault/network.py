"""Partition, isolation, delay and loss, inside the network name space of the replica.

What the replica sends is led by routes into a tunnel device, whose other end is this process: it drops packets, or
sends them on later by the real interface. What it receives from those it is cut off from, a packet filter drops.
Device, routes and filter belong to this process: the kernel removes them when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import ipaddress
import os
import random
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hailbox.helper.programs.fault.netlink import Filter, Routes
from hailbox.helper.programs.fault.run import StartAgainError, run

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCGIFMTU, _SIOCSIFMTU = 0x8921, 0x8922
_IFF_UP = 0x1

_PRIORITY = {"isolate": 1, "slow": 2}
_LOOK_AGAIN = 1.0
"""Seconds between looks at where a peer is: a container that is re-created may have another address."""
_LINGER = 1.0
"""Seconds for the replica's container to come back, before the engine attaches us to it again."""
_WAITING = 20_000
"""Packets on the way; beyond that the delayed link is full and loses some."""


class Network:
    """One network fault of a replica.

    Arguments: `kind` (partition, isolate, slow), `peers` (host names; of a partition), `delay` (seconds) and `loss`
    (0 to 1; both of slow).
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._kind: str = arguments["kind"]
        self._peers: Sequence[str] = arguments.get("peers", ())
        self._delay = float(arguments.get("delay", 0))
        self._loss = float(arguments.get("loss", 0))
        self._random = random.SystemRandom()
        self._under_way: list[tuple[float, int, bytes]] = []
        self._sent = 0
        self._cut: dict[str, bytes] = {}
        self._looked = 0.0
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._interface = ""
        self._tunnel = -1
        self._filter: Filter | None = None

    def begin(self) -> None:
        self._find_interface()
        self._tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = fcntl.ioctl(self._tunnel, _TUNSETIFF, struct.pack("16sH14x", b"fault%d", _IFF_TUN | _IFF_NO_PI))
        name = request[:16].rstrip(b"\0").decode()
        self._copy_mtu(name)
        flags = struct.unpack_from("16xH", self._ioctl(name, _SIOCGIFFLAGS))[0]
        self._ioctl(name, _SIOCSIFFLAGS, struct.pack("H", flags | _IFF_UP))
        self._device = socket.if_nametoindex(name)
        self._routes = Routes()
        if self._kind != "slow":
            self._filter = Filter(f"hailbox-{name}")
        if self._kind == "partition":
            self._follow_peers()
            return
        for network in self._halves():
            address, length = network.network_address.packed, network.prefixlen
            self._routes.add(address, length, self._device, self._source, _PRIORITY[self._kind])
        if self._filter:
            self._filter.drop(None)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode() + b"\0")

    def _ioctl(self, name: str, request: int, value: bytes = b"") -> bytes:
        return fcntl.ioctl(self._control, request, struct.pack("16s24s", name.encode(), value))

    def _find_interface(self) -> None:
        for _, name in socket.if_nameindex():
            if name == "lo" or name.startswith("fault"):
                continue
            with contextlib.suppress(OSError):
                self._source = self._ioctl(name, _SIOCGIFADDR)[20:24]
                mask = self._ioctl(name, _SIOCGIFNETMASK)[20:24]
                address = f"{ipaddress.IPv4Address(self._source)}/{ipaddress.IPv4Address(mask)}"
                self._network = ipaddress.ip_network(address, strict=False)
                self._interface = name
                return
        # The container is on its way down or up.
        time.sleep(_LINGER)
        raise StartAgainError

    def _copy_mtu(self, name: str) -> None:
        mtu = self._ioctl(self._interface, _SIOCGIFMTU)[16:20]
        self._ioctl(name, _SIOCSIFMTU, mtu)

    def _halves(self) -> list[ipaddress.IPv4Network]:
        """Routes to these win over those to the stack's network and to the rest of the world."""
        everywhere = ipaddress.IPv4Network("0.0.0.0/0")
        assert isinstance(self._network, ipaddress.IPv4Network)  # noqa: S101 - made of an IPv4 address
        return [*self._network.subnets(), *everywhere.subnets()]

    def _follow_peers(self) -> None:
        """Have the addresses that the peers have now cut off; one that is nowhere keeps its last address."""
        assert self._filter  # noqa: S101 - made in `begin`
        self._looked = time.monotonic()
        found = dict(self._cut)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                found[peer] = socket.inet_aton(socket.gethostbyname(peer))
        if found == self._cut:
            return
        for address in set(self._cut.values()) - set(found.values()):
            self._routes.remove(address, 32, self._device, 0)
        for address in set(found.values()) - set(self._cut.values()):
            self._routes.add(address, 32, self._device, self._source, 0)
        self._filter.drop(sorted(set(found.values())))
        self._cut = found

    def readable(self) -> Sequence[int]:
        return [self._tunnel]

    def step(self) -> float:
        self._take()
        self._send()
        if time.monotonic() - self._looked >= _LOOK_AGAIN:
            self._looked = time.monotonic()
            self._check_interface()
            if self._kind == "partition":
                self._follow_peers()
        due = self._under_way[0][0] - time.monotonic() if self._under_way else _LOOK_AGAIN
        return min(due, _LOOK_AGAIN)

    def _check_interface(self) -> None:
        try:
            same = self._ioctl(self._interface, _SIOCGIFADDR)[20:24] == self._source
        except OSError:
            same = False
        if not same:
            time.sleep(_LINGER)
            raise StartAgainError

    def _take(self) -> None:
        while True:
            try:
                packet = os.read(self._tunnel, 65535)
            except BlockingIOError:
                return
            if self._kind != "slow" or self._random.random() < self._loss or len(self._under_way) >= _WAITING:
                continue
            self._sent += 1
            heapq.heappush(self._under_way, (time.monotonic() + self._delay, self._sent, packet))

    def _send(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            packet = heapq.heappop(self._under_way)[2]
            if packet[0] >> 4 == 4:
                # What the network refuses is lost, as on any link.
                with contextlib.suppress(OSError):
                    self._out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))

    def end(self) -> None:
        if self._filter:
            self._filter.close()
        if self._tunnel >= 0:
            os.close(self._tunnel)


def main(arguments: Sequence[str]) -> int:
    """Make the fault until it is ended; `arguments` holds one text, JSON. Returns the exit status."""
    return run(Network, arguments[0])
