"""What this member of the group does for its clients: nothing yet, pass them on to the master, or serve them.

News that the role has to change comes from several sides (the lock in CLD, the MASTER file, the claim on the
directory), at any time and more than once. So one change ends before the next begins, each looks at what is the case,
and a change that must not stop half-way goes on when its caller is cancelled.

The sockets are bound, and from the first role on listen, until the end: between two roles clients wait in the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from haild.backoff import Backoff
from haild.http.server import Connection, HttpServer
from haild.tabled.bodies.nodes import Nodes
from haild.tabled.configuration import Configuration
from haild.tabled.group.master import Master
from haild.tabled.group.relay import Address, Relay
from haild.tabled.http.server import S3Server
from haild.tabled.metadata.port import SupersededError
from haild.tabled.metadata.schema import DatabaseVersionError
from haild.tabled.operations.call import Services

DOUBT_POLL: Final = 0.1
"""Seconds between looks at the claim while the master is not sure to hold its lock in CLD."""

logger = logging.getLogger(__name__)


class Role:
    """The present role, and the ways to another one."""

    def __init__(
        self,
        configuration: Configuration,
        nodes: Nodes,
        server: S3Server,
        own: HttpServer,
        sockets: Sequence[socket.socket],
        master_address: Callable[[], Address | None],
    ) -> None:
        """`own` answers connections that a stand-by cannot pass on. `end` closes the `sockets`, which are bound."""
        self._configuration = configuration
        self._nodes = nodes
        self._server = server
        self._own = own
        self._sockets = sockets
        self._master_address = master_address
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._relay: Relay | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self.master: Master | None = None
        """There while this member serves."""
        self.doubt = asyncio.Event()
        """Set while it is not sure that this member holds the master's lock."""
        self.deposed = asyncio.Event()
        """Set when this member has stopped to serve; `lead` clears it."""

    async def lead(self, *, supersede: bool) -> None:
        """Serve; returns when it is so, and tries until the metadata can be opened (tabled.md 4.1).

        `supersede`: the last master was another member.
        """
        await self._change(self._quit_if_superseded)
        if self._ended:
            raise asyncio.CancelledError
        if self.master is None:
            self._opening = asyncio.create_task(self._open(supersede), name="opening the metadata")
            try:
                await self._opening
            finally:
                self._opening = None
        self.deposed.clear()
        await self._change(self._end_relay)
        self.doubt.clear()

    async def stand_by(self) -> None:
        """Another member is the master: serve no longer, and pass clients on to it."""
        await self._change(self._stand_by)

    async def empty(self, asking: Connection) -> tuple[Master, Services] | None:
        """Discard everything that is stored; returns what serves then, which is not told to yet.

        None: this member is not the master. Raises what `Master.empty` raises.
        """
        emptied: list[tuple[Master, Services]] = []

        async def job() -> None:
            if self.master is not None and self.master.claim.valid:
                emptied.append((self.master, await self.master.empty(asking)))

        await self._change(job)
        return emptied[0] if emptied else None

    async def end(self) -> None:
        """Stop serving clients."""
        self._ended = True
        if self._relay is not None:
            self._relay.stop_accepting()
        for sock in self._sockets:
            sock.close()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self._change(self._end)

    async def _change(self, job: Callable[[], Awaitable[None]]) -> None:
        """Do `job` after the changes before it, to its end, also when its caller is cancelled."""

        async def alone() -> None:
            async with self._changing:
                await job()

        change = asyncio.create_task(alone(), name="change of role")
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        await asyncio.shield(change)

    async def _open(self, supersede: bool) -> None:
        told, backoff = "", Backoff(0.2, 5.0)
        while self.master is None:
            master = Master(self._configuration, self._nodes, self._server)
            try:
                await master.start(self._sockets, supersede=supersede, lost=self._doubt)
                # Nothing is awaited between the start and this, so no master is ever forgotten.
                self.master = master
                self._guarding = asyncio.create_task(self._guard(master), name="guard of the claim")
            except (OSError, sqlite3.Error, DatabaseVersionError, SupersededError) as error:
                if str(error) != told:
                    told = str(error)
                    logger.error("cannot serve from %s, trying on: %s", self._configuration.directory, error)
                await backoff.rest()

    async def _stand_by(self) -> None:
        await self._quit()
        if self._relay is None and not self._ended:
            self._relay = Relay(self._sockets, self._master_address, self._own)
            self._relay.start()

    async def _quit_if_superseded(self) -> None:
        if self.master is not None and not self.master.claim.valid:
            await self._quit()

    async def _quit(self) -> None:
        guarding, self._guarding = self._guarding, None
        if guarding is not None:
            guarding.cancel()
        master, self.master = self.master, None
        if master is not None:
            if not self._ended:
                logger.warning("another tabled has become master; stepping down")
            await master.stop()
            self.deposed.set()

    async def _end_relay(self) -> None:
        """Give clients that wait for a master to ours, if there is one."""
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.stop(None if self.master is None else self.master.protocol)

    async def _end(self) -> None:
        await self._end_relay()
        await self._quit()

    def _doubt(self) -> None:
        """Have the claim looked at; may be called in any thread."""
        self._loop.call_soon_threadsafe(self.doubt.set)

    async def _guard(self, master: Master) -> None:
        """Step down once another member has become master."""
        while master.claim.valid:
            await self.doubt.wait()
            await asyncio.sleep(DOUBT_POLL)
        await self.stand_by()
