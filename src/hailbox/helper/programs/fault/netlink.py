"""As much of netlink as the network fault needs: routes (rtnetlink(7)) and a packet filter (nf_tables).

The table is made with NFT_TABLE_F_OWNER (Linux 5.12), so the kernel removes it with the socket it was made on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Sequence

_NLM_REQUEST, _NLM_ACK, _NLM_CREATE, _NLM_EXCL, _NLM_APPEND = 0x1, 0x4, 0x400, 0x200, 0x800
_NLMSG_ERROR = 2
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12

_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTA_DST, _RTA_OIF, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 6, 7
_TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_LINK, _TYPE_UNICAST = 254, 4, 253, 1

_NESTED = 0x8000
_BATCH_BEGIN, _BATCH_END = 16, 17
_SUBSYSTEM = 10 << 8
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _DELETE_TABLE = 0, 3, 6, 2
_TABLE_OWNER = 2
_HOOK_INPUT = 1
_VERDICT_DROP, _VERDICT_ACCEPT = 0, 1
_REGISTER_VERDICT, _REGISTER_1 = 0, 1


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, type, value, padding to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message with its header."""
    return struct.pack("=IHHII", len(body) + 16, kind, flags, sequence, 0) + body


class Socket:
    """A netlink socket that waits for the kernel's answer to each request."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)
        self._sequence = 0

    def close(self) -> None:
        """What the kernel ties to the socket goes with it."""
        self._socket.close()

    def ask(self, requests: Sequence[tuple[int, int, bytes]], *, batch: bool = False) -> None:
        """Send requests (type, flags, body), as one transaction of nf_tables if `batch`. Raises OSError."""
        parts, awaited = [], set()
        header = struct.pack("=BBH", 0, 0, socket.htons(_SUBSYSTEM >> 8))
        if batch:
            parts.append(message(_BATCH_BEGIN, _NLM_REQUEST, 0, header))
        for kind, flags, body in requests:
            self._sequence += 1
            awaited.add(self._sequence)
            parts.append(message(kind, flags | _NLM_REQUEST | _NLM_ACK, self._sequence, body))
        if batch:
            parts.append(message(_BATCH_END, _NLM_REQUEST, 0, header))
        self._socket.send(b"".join(parts))
        while awaited:
            self._receive(awaited)

    def _receive(self, awaited: set[int]) -> None:
        data = self._socket.recv(1 << 16)
        while len(data) >= 20:
            length, kind, _, sequence, _, error = struct.unpack_from("=IHHIIi", data)
            if kind == _NLMSG_ERROR:
                if error:
                    raise OSError(-error, f"the kernel refused: {os.strerror(-error)}")
                awaited.discard(sequence)
            data = data[(length + 3) & ~3 :]


class Routes:
    """Adds and removes routes of the main table."""

    def __init__(self) -> None:
        self._socket = Socket(_NETLINK_ROUTE)

    def add(self, destination: bytes, prefix: int, interface: int, source: bytes, priority: int) -> None:
        """Send what goes to that network (address in network order, prefix length) out of that interface."""
        body = self._body(destination, prefix, interface, priority) + attribute(_RTA_PREFSRC, source)
        self._socket.ask([(_RTM_NEWROUTE, _NLM_CREATE | _NLM_EXCL, body)])

    def remove(self, destination: bytes, prefix: int, interface: int, priority: int) -> None:
        """Take such a route away; one that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            self._socket.ask([(_RTM_DELROUTE, 0, self._body(destination, prefix, interface, priority))])

    @staticmethod
    def _body(destination: bytes, prefix: int, interface: int, priority: int) -> bytes:
        head = struct.pack(
            "=BBBBBBBBI",
            socket.AF_INET,
            prefix,
            0,
            0,
            _TABLE_MAIN,
            _PROTOCOL_STATIC,
            _SCOPE_LINK,
            _TYPE_UNICAST,
            0,
        )
        return (
            head
            + attribute(_RTA_DST, destination)
            + attribute(_RTA_OIF, struct.pack("=I", interface))
            + attribute(_RTA_PRIORITY, struct.pack("=I", priority))
        )


class Filter:
    """A table of the packet filter that drops what comes in from some addresses, or from anywhere but loopback."""

    def __init__(self, name: str) -> None:
        self._socket = Socket(_NETLINK_NETFILTER)
        self._name = name.encode() + b"\0"
        self._made = False

    def drop(self, sources: Sequence[bytes] | None) -> None:
        """Drop packets from these addresses (None: from all others), in place of what was dropped before."""
        chain = b"input\0"
        hook = nested(
            4, attribute(1, struct.pack(">I", _HOOK_INPUT)), attribute(2, struct.pack(">i", -150))
        )  # before connection tracking's users
        requests = [(_DELETE_TABLE, 0, attribute(1, self._name))] if self._made else []
        requests += [
            (_NEW_TABLE, _NLM_CREATE, attribute(1, self._name) + attribute(2, struct.pack(">I", _TABLE_OWNER))),
            (
                _NEW_CHAIN,
                _NLM_CREATE,
                attribute(1, self._name)
                + attribute(3, chain)
                + hook
                + attribute(5, struct.pack(">I", _VERDICT_ACCEPT))
                + attribute(7, b"filter\0"),
            ),
        ]
        matches = [_not_loopback()] if sources is None else [_from(source) for source in sources]
        requests += [
            (
                _NEW_RULE,
                _NLM_CREATE | _NLM_APPEND,
                attribute(1, self._name) + attribute(2, chain) + nested(4, *match, _dropping()),
            )
            for match in matches
        ]
        header = struct.pack("=BBH", socket.AF_INET, 0, 0)
        self._socket.ask([(_SUBSYSTEM | kind, flags, header + body) for kind, flags, body in requests], batch=True)
        self._made = True

    def close(self) -> None:
        """The kernel removes the table."""
        self._socket.close()


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, attribute(1, name.encode() + b"\0"), nested(2, *attributes))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def _compare(equal: bool, value: bytes) -> bytes:
    return _expression("cmp", _number(1, _REGISTER_1), _number(2, 0 if equal else 1), nested(3, attribute(1, value)))


def _from(source: bytes) -> list[bytes]:
    """Match the source address: four bytes at offset 12 of the network header."""
    load = _expression("payload", _number(1, _REGISTER_1), _number(2, 1), _number(3, 12), _number(4, 4))
    return [load, _compare(True, source)]


def _not_loopback() -> list[bytes]:
    """Match packets that came in by an interface other than `lo`, whose index is 1 in every name space."""
    load = _expression("meta", _number(1, _REGISTER_1), _number(2, 4))
    return [load, _compare(False, struct.pack("=I", 1))]


def _dropping() -> bytes:
    verdict = nested(2, _number(1, _VERDICT_DROP))
    return _expression("immediate", _number(1, _REGISTER_VERDICT), nested(2, verdict))
