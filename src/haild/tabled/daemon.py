"""The daemon put together: sockets, the group in CLD, and what runs while this member is master.

Readiness (tabled.md 4.1): the client port is bound early and its port file written, but it listens only from the
moment the metadata are open in the master's role. It does not wait for storage nodes: without any, what needs a
body is answered 503 ServiceUnavailable, which every S3 client retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from haild.client.cld import keep_session
from haild.daemon.errors import DamagedDataError, StartError, refusal
from haild.daemon.lifecycle import write_port_file
from haild.daemon.settings import await_file
from haild.tabled import cldaddresses, users
from haild.tabled.call import Services
from haild.tabled.collector import Collector
from haild.tabled.configuration import Configuration
from haild.tabled.group import Group
from haild.tabled.http import S3Server, low_level_server
from haild.tabled.lifecycle import Lifecycle
from haild.tabled.metadata import schema
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.nodes import Nodes
from haild.tabled.placement import Placement
from haild.tabled.repair import Repairer
from haild.tabled.status import Statistics, StatusServer

BACKLOG = 1024
FAREWELL = 0.3
"""Seconds that cld gets to confirm the end of the session when this process stops."""
GRACE = 0.2
"""Seconds that requests under way get when this process stops serving."""
LOCK_FILE = "lock"
"""Held locked in the TDB directory by the process that has the metadata open as master."""

logger = logging.getLogger(__name__)


class Daemon:
    """One tabled process."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._sockets = _bind(configuration.port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.server = S3Server((configuration.host, *configuration.host_aliases), configuration.region)
        self._master: _Master | None = None
        self._statistics = Statistics()
        self.server.on_answer = self._statistics.answered

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        configuration = self.configuration
        if configuration.port_file is not None:
            write_port_file(configuration.port_file, f"{configuration.host}:{self.port}")
        self.nodes = Nodes(configuration.chunk_user, configuration.chunk_key.encode())
        self.group = Group(
            configuration.group,
            configuration.name,
            self.nodes,
            lambda: identity(configuration.directory),
            self._lead,
            self._follow,
        )
        status = await self._open_status_port()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.dump)
        member = asyncio.create_task(self._keep_member(), name="member of the group")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({member, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if member.done():
                member.result()
        finally:
            stopping.cancel()
            await self._follow()
            member.cancel()
            # Ends the session, so that a stand-by need not wait; a cld that is gone too cannot answer.
            await asyncio.wait({member}, timeout=FAREWELL)
            await self.nodes.close()
            if status is not None:
                status.close()
            for sock in self._sockets:
                sock.close()

    async def _open_status_port(self) -> asyncio.Server | None:
        """Open the status port, if there is to be one; a failure is only logged (tabled.md 4.1)."""
        if self.configuration.status_port is None:
            return None
        status = StatusServer(self, self._statistics)
        factory = web.Server(status.handle, access_log=None)
        try:
            return await asyncio.get_running_loop().create_server(factory, port=self.configuration.status_port)
        except OSError as error:
            logger.warning("no status port: %s", error)
            return None

    async def describe(self) -> dict[str, Any]:
        """The state of the moment, for the status page."""
        master = self._master
        counters = {"requests": self.server.requests, "errors": self.server.errors}
        replication: dict[str, int] = {}
        if master is not None:
            counters |= dict(await master.metadata.counts())
            replication = master.repairer.describe()
        now = time.time()
        return {
            "host": self.configuration.host,
            "port": self.port,
            "group": self.configuration.group,
            "name": self.configuration.name,
            "state": "Master" if master is not None else "Slave" if self.group.master else "Init",
            "database": "" if master is None else master.metadata.identity,
            "in_session": self.group.in_session,
            "master": self.group.master,
            "peers": sorted({self.configuration.name, *self.group.peers}),
            "counters": counters,
            "nodes": [
                {
                    "id": node.number,
                    "up": node.up,
                    "address": f"{node.record.host}:{node.record.port}",
                    "last_seen": int(node.last_seen),
                    "age": int(now - node.last_seen) if node.last_seen else -1,
                }
                for node in self.nodes.all()
            ],
            "replication": replication,
        }

    def dump(self) -> None:
        """SIGUSR1: the state goes to the log (tabled.md 4.3)."""
        asyncio.get_running_loop().create_task(self._dump())

    async def _dump(self) -> None:
        for name, value in (await self.describe()).items():
            logger.info("%s: %s", name, value)

    async def _keep_member(self) -> None:
        configuration = self.configuration
        addresses = await cldaddresses.find(configuration)
        await keep_session(
            addresses, configuration.cld_user, configuration.cld_key.encode(), self.group.use, name="group"
        )

    async def _lead(self) -> None:
        """Serve; tries until the metadata can be opened (tabled.md 4.1: the daemon stays alive meanwhile)."""
        told, pause = "", 0.2
        while self._master is None:
            master = _Master(self)
            try:
                await master.start()
                self._master = master
            except (OSError, sqlite3.Error, schema.DatabaseVersionError) as error:
                if str(error) != told:
                    told = str(error)
                    logger.error("cannot serve from %s, trying on: %s", self.configuration.directory, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _follow(self) -> None:
        master, self._master = self._master, None
        if master is not None:
            await master.stop()
            if master.rebind:
                self._sockets = _bind(self.port)

    @property
    def sockets(self) -> list[socket.socket]:
        """The bound sockets of the client port."""
        return self._sockets


class _Master:
    """What exists only while this process is master."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._stack = contextlib.AsyncExitStack()
        self.rebind = False

    async def start(self) -> None:
        daemon, configuration = self._daemon, self._daemon.configuration
        try:
            await self._stack.enter_async_context(_directory_lock(configuration.directory))
            metadata = self.metadata = await _open_metadata(configuration)
            self._stack.push_async_callback(metadata.close)
            services = self._services(metadata)
            daemon.server.serve(services)
            self._stack.callback(daemon.server.serve, None)
            await self._listen()
        except BaseException:
            await self._stack.aclose()
            raise
        logger.info("serving on port %d", daemon.port)

    def _services(self, metadata: SqliteMetadata) -> Services:
        """What requests need, and the tasks that run beside them."""
        configuration, nodes = self._daemon.configuration, self._daemon.nodes
        placement = Placement(nodes, copies=configuration.copies, acknowledge=configuration.acknowledge)
        placement.on_leftover = metadata.add_garbage
        collector = Collector(metadata, placement, time.time)
        repairer = Repairer(
            metadata, placement, collector, delay=configuration.repair_delay, own=metadata.own_bodies()
        )
        lifecycle = Lifecycle(metadata, collector, time.time)
        placement.on_short = repairer.short
        placement.on_bad_copy = repairer.bad_copy
        self._stack.callback(nodes.listen(collector.node_changed))
        self._stack.callback(nodes.listen(repairer.node_changed))
        for job in (collector.run, collector.abort_stale_uploads, repairer.run, lifecycle.run):
            self._stack.push_async_callback(_end, asyncio.create_task(_survive(job), name=job.__qualname__))
        self.repairer = repairer
        return Services(metadata, placement, time.time, collector.wake, lifecycle.changed.set)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        protocol = low_level_server(self._daemon.server)
        self._stack.push_async_callback(protocol.shutdown, GRACE)
        for sock in self._daemon.sockets:
            listener = await loop.create_server(protocol, sock=sock, backlog=BACKLOG)
            self._stack.callback(listener.close)
        self.rebind = True
        self._stack.callback(protocol.pre_shutdown)

    async def stop(self) -> None:
        """Stop listening, cut off what still runs, close the metadata."""
        await self._stack.aclose()


async def _survive(job: Callable[[], Awaitable[None]]) -> None:
    """Run a background job again when it fails: trouble with the database or a node must not end it for good."""
    pause = 1.0
    while True:
        try:
            await job()
        except Exception:
            logger.exception("%s failed; again in %.0f s", job.__qualname__, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 60.0)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def identity(directory: Path) -> str:
    """The identity of the metadata in a directory; empty if there are none."""
    path = directory / schema.FILE_NAME
    if not path.exists():
        return ""
    try:
        connection = schema.connect(path, read_only=True)
        try:
            row = connection.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def check_database(directory: Path) -> None:
    """Raise DamagedDataError where the database in `directory` is there and damaged or of another version."""
    path = directory / schema.FILE_NAME
    if not path.exists():
        return
    try:
        with contextlib.closing(schema.connect(path, read_only=True)) as connection:
            connection.execute("SELECT count(*) FROM facts").fetchone()
            schema.check(connection)
    except schema.DatabaseVersionError as error:
        raise DamagedDataError(f"{path}: {error}") from error
    except sqlite3.Error as error:
        refused = refusal(str(path), error)
        if isinstance(refused, DamagedDataError):
            raise refused from error


async def _open_metadata(configuration: Configuration) -> SqliteMetadata:
    """Open the database and take in the users' file. Raises sqlite3.Error and OSError."""
    if configuration.users_file is not None:
        path = configuration.users_file
        await asyncio.to_thread(await_file, path)
        with path.open(encoding="utf-8") as lines:
            users.replace(configuration.directory, users.parse(lines))
    return SqliteMetadata(configuration.directory)


@contextlib.asynccontextmanager
async def _directory_lock(directory: Path) -> AsyncIterator[None]:
    """Hold the TDB directory alone: the last line of defence against two masters on one database.

    The kernel gives the lock free when its holder dies, so a stand-by never waits for a dead master.
    """
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    pause, told = 0.02, False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    logger.info("%s is held by another process; waiting for it to let go", directory)
                    told = True
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.5)
        yield
    finally:
        os.close(descriptor)


def _bind(port: int) -> list[socket.socket]:
    """Bind the client port without listening: one dual-stack socket, or IPv4 where there is no IPv6.

    Raises StartError.
    """
    try:
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            _reuse_and_bind(sock, "::", port)
        except OSError:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            _reuse_and_bind(sock, "0.0.0.0", port)  # noqa: S104 - the stack publishes it on loopback only
    except OSError as error:
        raise StartError(f"port {port}: {error.strerror}") from error
    return [sock]


def _reuse_and_bind(sock: socket.socket, host: str, port: int) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
