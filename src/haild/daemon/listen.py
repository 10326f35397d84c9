"""Sockets that servers bind, of IPv6 and IPv4, and the descriptors that they take."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable
from typing import TypeVar

Bound = TypeVar("Bound")


def dual_stack(bind: Callable[[socket.AddressFamily], Bound]) -> Bound:
    """What `bind` makes for IPv6; for IPv4 where the host has no IPv6. Raises the OSError of IPv6 if both fail."""
    try:
        return bind(socket.AF_INET6)
    except OSError as error:
        with contextlib.suppress(OSError):
            return bind(socket.AF_INET)
        raise error


def bind_wildcard(
    family: socket.AddressFamily,
    kind: socket.SocketKind,
    port: int,
    prepare: Callable[[socket.socket], None] = lambda _sock: None,
) -> socket.socket:
    """A non-blocking socket on `port` of the wildcard address; one of IPv6 also takes IPv4. Raises OSError.

    prepare: sets options of the socket before it is bound.
    """
    # With the protocol named, else asyncio leaves Nagle's algorithm on, and every second answer is 40 ms late.
    sock = socket.socket(family, kind, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        prepare(sock)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))  # noqa: S104 - a server
    except BaseException:
        sock.close()
        raise
    return sock


def allow_descriptors(wanted: int) -> int:
    """Raise the limit of open descriptors to `wanted`, or as far as the hard limit goes. Returns what is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return limit
    return limit if soft == resource.RLIM_INFINITY else min(soft, wanted)
