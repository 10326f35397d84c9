"""What exists only while this member of the group is master: the metadata open for writing, the jobs, the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from haild.backoff import Backoff
from haild.daemon import secrets
from haild.daemon.settings import await_file
from haild.http.server import Connection, HttpServer
from haild.tabled.bodies.cache import BodyCache
from haild.tabled.bodies.collector import Collector
from haild.tabled.bodies.nodes import Nodes
from haild.tabled.bodies.placement import Placement
from haild.tabled.bodies.repair import Repairer
from haild.tabled.bodies.spool import Spool
from haild.tabled.configuration import Configuration
from haild.tabled.encryption.keys import Keys
from haild.tabled.group.webhooks import Webhooks
from haild.tabled.http.server import S3Server, low_level_server
from haild.tabled.metadata import users, witness
from haild.tabled.metadata.claim import Claim, occupy
from haild.tabled.metadata.discard import discard
from haild.tabled.metadata.port import SupersededError
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.operations.call import REGION, Services
from haild.tabled.operations.expiry import Lifecycle

BACKLOG: Final = 1024
GRACE: Final = 0.2
"""Seconds that requests under way get when this process stops serving."""

logger = logging.getLogger(__name__)


class Master:
    """One term as master, from `start` to `stop`."""

    def __init__(self, configuration: Configuration, nodes: Nodes, server: S3Server) -> None:
        self._configuration = configuration
        self._nodes = nodes
        self._server = server
        self._stack = contextlib.AsyncExitStack()
        self._work = contextlib.AsyncExitStack()
        """Ends what works on the metadata, and closes them."""
        self._database: Path
        self.claim: Claim
        self.protocol: HttpServer

    async def start(
        self,
        sockets: Sequence[socket.socket],
        *,
        supersede: bool,
        lost: Callable[[], None],
    ) -> None:
        """Serve on these sockets, which stay open and listening when this ends.

        `supersede`: a process that still holds the metadata is no longer the master. `lost` is called, in any thread,
        when another process is found to have become master. Raises OSError, sqlite3.Error, DatabaseVersionError and
        SupersededError.
        """
        configuration = self._configuration
        try:
            place = await self._stack.enter_async_context(
                occupy(configuration.directory, supersede=supersede, lost=lost)
            )
            self.claim = place.claim
            self._database = place.database
            self._stack.push_async_callback(self._end_work)
            self._server.serve(await self._begin_work())
            self._stack.callback(self._server.serve, None)
            await self._listen(sockets)
        except BaseException:
            await self._stack.aclose()
            raise

    async def _begin_work(self) -> Services:
        """Open the metadata, and start what works on them beside the requests."""
        metadata = self.metadata = await _open_metadata(self._configuration, self._database, self.claim)
        self._work.push_async_callback(metadata.close)
        return self._services(metadata)

    async def _end_work(self) -> None:
        await self._work.aclose()

    async def empty(self, asking: Connection) -> Services:
        """Discard everything that is stored; returns what is needed to serve again, which nothing does yet.

        All connections but the `asking` one are broken. Raises sqlite3.Error, OSError and SupersededError.
        """
        self._server.serve(None)
        await self.protocol.cut_off_others(asking)
        await self._end_work()
        self.claim.require()
        witness.expect_no_log(self._database.parent)
        await asyncio.to_thread(discard, self._database)
        return await self._begin_work()

    def _services(self, metadata: SqliteMetadata) -> Services:
        """What requests need, and the tasks that run beside them."""
        configuration, nodes = self._configuration, self._nodes
        cache = BodyCache(configuration.body_cache << 20)
        self._work.callback(nodes.listen(lambda node: cache.clear()))
        placement = Placement(
            nodes,
            cache,
            copies=configuration.copies,
            acknowledge=configuration.acknowledge,
        )
        placement.confirm = self.claim.require
        placement.on_leftover = metadata.add_garbage
        collector = Collector(metadata, placement, time.time)
        repairer = Repairer(
            metadata, placement, collector, delay=configuration.repair_delay, own=metadata.own_bodies()
        )
        lifecycle = Lifecycle(metadata, collector, time.time, float(configuration.lifecycle_day))
        placement.on_short = repairer.short
        placement.on_bad_copy = repairer.bad_copy
        self._work.callback(nodes.listen(collector.node_changed))
        self._work.callback(nodes.listen(repairer.node_changed))
        webhooks = Webhooks(metadata, configuration.webhooks)
        for job in (webhooks.run, collector.run, collector.abort_stale_uploads, repairer.run, lifecycle.run):
            self._work.push_async_callback(_end, asyncio.create_task(_survive(job), name=job.__qualname__))
        self.repairer = repairer
        return Services(
            metadata=metadata,
            placement=placement,
            clock=time.time,
            keys=Keys(configuration.root_key, configuration.directory, metadata),
            spool=Spool(configuration.directory),
            collect=collector.wake,
            webhooks=configuration.webhooks,
            events_changed=webhooks.changed.set,
            lifecycle_changed=lifecycle.changed.set,
            region=configuration.region or REGION,
            names=configuration.names,
            leading=lambda: self.claim.valid,
            day=float(configuration.lifecycle_day),
        )

    async def _listen(self, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        protocol = self.protocol = low_level_server(self._server)
        context = _tls(self._configuration)
        self._stack.push_async_callback(protocol.shutdown, GRACE)
        for sock in sockets:
            listener = await loop.create_server(
                protocol, sock=sock.dup(), backlog=BACKLOG, start_serving=False, ssl=context
            )
            self._stack.callback(listener.close)
            await listener.start_serving()
            logger.info("serving on port %d", sock.getsockname()[1])
        self._stack.callback(protocol.stop_keeping)

    async def stop(self) -> None:
        """Stop listening, cut off what still runs, close the metadata."""
        await self._stack.aclose()


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    """What the client port speaks TLS with; None for plain HTTP. Raises OSError (ssl.SSLError among others)."""
    if configuration.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(configuration.tls_certificate, configuration.tls_key)
    return context


async def _survive(job: Callable[[], Awaitable[None]]) -> None:
    """Run a background job again when it fails: trouble with the database or a node must not end it for good."""
    backoff = Backoff(1.0, 60.0)
    while True:
        try:
            await job()
        except SupersededError:
            return
        except Exception:
            logger.exception("%s failed; it is started again", job.__qualname__)
        await backoff.rest()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _open_metadata(configuration: Configuration, database: Path, claim: Claim) -> SqliteMetadata:
    """Open the database and take in the users' file. Raises sqlite3.Error and OSError."""
    if configuration.users_file is not None:
        path = configuration.users_file
        await asyncio.to_thread(await_file, path)
        with path.open(encoding="utf-8") as lines:
            witness.expect_no_log(database.parent)
            users.replace(database, secrets.lenient(lines))
    return SqliteMetadata(database, claim.require)
