"""The listening sockets of chunkd, and all its connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from haild.chunkd.configuration import Listener, Tls
from haild.chunkd.connection import Connection, Shared
from haild.chunkd.session import Service, Session
from haild.daemon.errors import StartError
from haild.daemon.lifecycle import write_port_file
from haild.daemon.listen import allow_descriptors

BACKLOG: Final = 1024
AUTO_ATTEMPTS: Final = 50
"""Ports to try for `auto`: one that is free for IPv6 need not be free for IPv4."""
SPARE_DESCRIPTORS: Final = 96
"""Descriptors kept for body files, the catalog and the registration."""
DESCRIPTORS_PER_CONNECTION: Final = 2
"""A socket and a body file."""

logger = logging.getLogger(__name__)

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


@dataclass(frozen=True)
class BoundSocket:
    """A listening socket, and what is published of it: the Node of its Listen element, and the real port."""

    sock: socket.socket
    node: str | None
    port: int


def bind(listeners: Sequence[Listener]) -> list[BoundSocket]:
    """Bind all listeners and write their port files. Raises StartError."""
    bound: list[BoundSocket] = []
    try:
        for listener in listeners:
            sockets = _bind_one(listener)
            bound += sockets
            if listener.port_file is not None:
                write_port_file(listener.port_file, str(sockets[0].port))
    except OSError as error:
        for each in bound:
            each.sock.close()
        place = f"{listener.node or '*'} port {listener.port or 'auto'}"
        raise StartError(f"cannot listen at {place}: {error.strerror or error}") from error
    return bound


def _bind_one(listener: Listener) -> list[BoundSocket]:
    """Sockets for all addresses of one listener, with one port. Raises OSError."""
    found = socket.getaddrinfo(listener.node, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # IPv6 first, as the reference creates them.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET6)
    for _ in range(AUTO_ATTEMPTS - 1):
        try:
            return _bind_addresses(found, listener)
        except OSError as error:
            if listener.port or error.errno != errno.EADDRINUSE:
                raise
    return _bind_addresses(found, listener)


def _bind_addresses(found: Sequence[_Address], listener: Listener) -> list[BoundSocket]:
    bound: list[BoundSocket] = []
    port = listener.port
    failure: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            failure = error
            continue
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            failure = error
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                for each in bound:
                    each.sock.close()
                raise
            continue
        port = sock.getsockname()[1]
        bound.append(BoundSocket(sock, listener.node, port))
    if not bound:
        raise failure or OSError(errno.EADDRNOTAVAIL, "no address")
    return bound


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The server's TLS context. Raises StartError if the files are unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls.minimum < ssl.TLSVersion.TLSv1_2:
        # TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL allows at security level 0 only (chunkd.md 6.2).
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = tls.minimum
    try:
        context.load_cert_chain(tls.certificate, tls.private_key)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(f"{tls.certificate}, {tls.private_key}: {error}") from error
    return context


class Server:
    """Serves clients on bound sockets until it is closed."""

    def __init__(self, service: Service, timeout: float) -> None:
        """`timeout`: seconds that a client may stall in the middle of a request or response."""
        self._service = service
        self._timeout = timeout
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._limit = _connection_limit()
        self._shared = Shared(self._session_for, self._opened, self._closed, timeout)

    async def serve(self, bound: Sequence[BoundSocket]) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        for each in bound:
            server = await loop.create_server(lambda: Connection(self._shared), sock=each.sock, backlog=BACKLOG)
            self._servers.append(server)

    async def close(self) -> None:
        """Close the sockets and all connections; requests under way end at their next step."""
        for server in self._servers:
            server.close()
        if self._sweep is not None:
            self._sweep.cancel()
        tasks = [task for connection in self._connections if (task := connection.task) is not None]
        for connection in list(self._connections):
            connection.abort()
        if tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)

    def _session_for(self, connection: Connection) -> Session:
        return Session(self._service, connection)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._limit:
            connection.abort()
        elif self._sweep is None:
            self._schedule_sweep()

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def _schedule_sweep(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._timeout, self._sweep_connections)

    def _sweep_connections(self) -> None:
        self._sweep = None
        for connection in list(self._connections):
            connection.give_up_if_stalled()
        if self._connections:
            self._schedule_sweep()


def _connection_limit() -> int:
    """How many connections the limit of descriptors allows, once it is raised as far as it goes."""
    return max(8, (allow_descriptors(1 << 16) - SPARE_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)
