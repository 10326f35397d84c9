"""The daemon put together: sockets, the group in CLD, and what runs while this member is master.

Readiness (tabled.md 4.1): the client port is bound early and its port file written, but it listens only from the
moment the metadata are open in the master's role. It does not wait for storage nodes: without any, what needs a
body is answered 503 ServiceUnavailable, which every S3 client retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from haild.client.cld import keep_session
from haild.daemon.errors import DamagedDataError, StartError, refusal
from haild.daemon.lifecycle import write_port_file
from haild.tabled import cldaddresses
from haild.tabled.configuration import Configuration
from haild.tabled.group import Group
from haild.tabled.http import S3Server, low_level_server
from haild.tabled.master import GRACE, Master
from haild.tabled.metadata import schema
from haild.tabled.metadata.claim import database_file
from haild.tabled.metadata.port import SupersededError
from haild.tabled.nodes import Nodes
from haild.tabled.relay import Relay
from haild.tabled.status import Statistics, StatusServer

FAREWELL = 0.3
"""Seconds that cld gets to confirm the end of the session when this process stops."""
DOUBT_POLL = 0.1
"""Seconds between looks at the claim while the master is not sure to hold its lock in CLD."""

logger = logging.getLogger(__name__)


class Daemon:
    """One tabled process."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._sockets = _bind(configuration.port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.server = S3Server((configuration.host, *configuration.host_aliases), configuration.region)
        self._master: Master | None = None
        self._relay: Relay | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._statistics = Statistics()
        self.server.on_answer = self._statistics.answered

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        configuration = self.configuration
        self._loop = asyncio.get_running_loop()
        if configuration.port_file is not None:
            write_port_file(configuration.port_file, f"{configuration.host}:{self.port}")
        self.nodes = Nodes(configuration.chunk_user, configuration.chunk_key.encode())
        self.group = Group(
            configuration.group,
            configuration.name,
            (configuration.host, self.port),
            self.nodes,
            lambda: identity(configuration.directory),
            self._lead,
            self._follow,
            self._stand_by,
        )
        # For connections that a stand-by has to answer itself.
        self._own = low_level_server(self.server)
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
            await self._end_relay(None)
            await self._follow()
            await self._own.shutdown(GRACE)
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
        await keep_session(
            lambda: cldaddresses.find(configuration),
            configuration.cld_user,
            configuration.cld_key.encode(),
            self.group.use,
            name="group",
        )

    async def _lead(self, supersede: bool) -> None:
        """Serve; tries until the metadata can be opened (tabled.md 4.1: the daemon stays alive meanwhile)."""
        told, pause = "", 0.2
        while self._master is None:
            master = Master(self.configuration, self.nodes, self.server)
            try:
                await master.start(self._give_sockets, supersede=supersede, lost=self._doubt)
                self._master = master
                self._guarding = asyncio.create_task(self._guard(master), name="guard of the claim")
            except (OSError, sqlite3.Error, schema.DatabaseVersionError, SupersededError) as error:
                if str(error) != told:
                    told = str(error)
                    logger.error("cannot serve from %s, trying on: %s", self.configuration.directory, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        await self._end_relay(self._master.protocol)

    def _doubt(self) -> None:
        """Have the claim looked at; may be called in any thread."""
        self._loop.call_soon_threadsafe(self.group.doubt.set)

    async def _give_sockets(self) -> list[socket.socket]:
        if self._relay is not None:
            await self._relay.stop_accepting()
        return self._sockets

    async def _guard(self, master: Master) -> None:
        """Step down once another member has become master."""
        while master.claim.valid:
            await self.group.doubt.wait()
            await asyncio.sleep(DOUBT_POLL)
        self._guarding = None
        await self.group.step_down()

    async def _follow(self) -> None:
        guarding, self._guarding = self._guarding, None
        if guarding is not None:
            guarding.cancel()
        master, self._master = self._master, None
        if master is not None:
            await master.stop()
            self._sockets = _bind(self.port)

    async def _stand_by(self) -> None:
        """Pass clients on to the master until this member leads."""
        if self._relay is None and self._master is None:
            self._relay = Relay(self._sockets, lambda: self.group.master_address, self._own)
            self._relay.start()

    async def _end_relay(self, server: web.Server | None) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.stop(server)


def identity(directory: Path) -> str:
    """The identity of the metadata in a directory; empty if there are none."""
    path = database_file(directory)
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
    path = database_file(directory)
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
