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
from typing import Any, Final

from haild.client.cld import keep_session
from haild.client.cld.addresses import find
from haild.daemon import emptying, listen
from haild.daemon.errors import DamagedDataError, StartError, refusal
from haild.daemon.lifecycle import write_port_file
from haild.http.server import HttpServer, simple_refusal
from haild.tabled.bodies.nodes import Nodes
from haild.tabled.configuration import Configuration
from haild.tabled.group.emptying import Emptying
from haild.tabled.group.master import GRACE
from haild.tabled.group.membership import Group
from haild.tabled.group.role import Role
from haild.tabled.http.server import S3Server, low_level_server
from haild.tabled.metadata import schema, witness
from haild.tabled.metadata.claim import database_file
from haild.tabled.metadata.port import SupersededError
from haild.tabled.status import Statistics, StatusServer

FAREWELL: Final = 0.3
"""Seconds that cld gets to confirm the end of the session when this process stops."""

logger = logging.getLogger(__name__)


class Daemon:
    """One tabled process."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._sockets = _bind(configuration.port)
        self.port: int = self._sockets[0].getsockname()[1]
        self.server = S3Server((configuration.host, *configuration.host_aliases), configuration.region)
        self._statistics = Statistics()
        self.server.on_answer = self._statistics.answered

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        configuration = self.configuration
        if configuration.port_file is not None:
            write_port_file(configuration.port_file, f"{configuration.host}:{self.port}")
        self.nodes = Nodes(configuration.chunk_user, configuration.chunk_key.encode())
        # For connections that a stand-by has to answer itself.
        own = low_level_server(self.server)
        role = self.role = Role(
            configuration, self.nodes, self.server, own, self._sockets, lambda: self.group.master_address
        )
        if (proof := emptying.proof("tabled")) is not None:
            self.server.emptying = Emptying(proof, role, self.server).handle
        self.group = Group(
            configuration.group,
            configuration.name,
            (configuration.host, self.port),
            self.nodes,
            lambda: identity(configuration.directory),
            role,
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
            await role.end()
            await own.shutdown(GRACE)
            member.cancel()
            # Ends the session, so that a stand-by need not wait; a cld that is gone too cannot answer.
            await asyncio.wait({member}, timeout=FAREWELL)
            await self.nodes.close()
            if status is not None:
                status.close()

    async def _open_status_port(self) -> asyncio.Server | None:
        """Open the status port, if there is to be one; a failure is only logged (tabled.md 4.1)."""
        if self.configuration.status_port is None:
            return None
        status = StatusServer(self, self._statistics, self.configuration.names)
        factory = HttpServer(status.handle, simple_refusal)
        try:
            return await asyncio.get_running_loop().create_server(factory, port=self.configuration.status_port)
        except OSError as error:
            logger.warning("no status port: %s", error)
            return None

    async def describe(self) -> dict[str, Any]:
        """The state of the moment, for the status page."""
        master = self.role.master
        counters = {"requests": self.server.requests, "errors": self.server.errors}
        replication: dict[str, int] = {}
        if master is not None:
            with contextlib.suppress(sqlite3.Error, SupersededError):  # it may be about to stop
                counters |= dict(await master.metadata.counts())
            replication = master.repairer.describe()
        address = (self.configuration.host, self.port) if master is not None else self.group.master_address
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
            "master_address": "{}:{}".format(*address) if address else "",
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
            lambda: find(configuration.cld, configuration.host),
            configuration.cld_user,
            configuration.cld_key.encode(),
            self.group.use,
            name="group",
        )


def identity(directory: Path) -> str:
    """The identity of the metadata in a directory; empty if there are none."""
    path = database_file(directory)
    if not path.exists():
        return ""
    try:
        connection = schema.peek(path)
        try:
            row = connection.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def check_database(directory: Path) -> None:
    """Raise DamagedDataError where the database in `directory` is damaged, of another version, or not all there."""
    path = database_file(directory)
    try:
        # First of all: a look at the database makes an empty log.
        if lost := witness.missing(directory):
            raise DamagedDataError(f"{lost}; {witness.advice(directory)}")
        if path.exists():
            with contextlib.closing(schema.peek(path)) as connection:
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
        return [listen.dual_stack(lambda family: listen.bind_wildcard(family, socket.SOCK_STREAM, port))]
    except OSError as error:
        raise StartError(f"port {port}: {error.strerror}") from error
