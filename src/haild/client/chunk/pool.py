"""Connections to one chunkd node, kept open and reused."""

from __future__ import annotations

import asyncio
from types import TracebackType

from haild.client.chunk.connection import STALL, Connection


class Pool:
    """At most `limit` connections to one node, all with the same user and table.

    A connection that broke, or whose operation was left unfinished, is closed and not handed out again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        secret: bytes,
        table: bytes | None,
        create: bool = True,
        limit: int = 16,
        deadline: float = 5.0,
        stall: float = STALL,
    ) -> None:
        """`create`: create the table where it is missing. `deadline` (seconds) is for opening, `stall` for waits."""
        self.host = host
        self.port = port
        self._user = user
        self._secret = secret
        self._table = table
        self._create = create
        self._deadline = deadline
        self._stall = stall
        self.limit = limit
        self._slots = asyncio.Semaphore(limit)
        self.in_use = 0
        self._idle: list[Connection] = []
        self._closed = False

    @property
    def idle(self) -> int:
        """Connections that are open and not in use."""
        return len(self._idle)

    def connection(self) -> Lease:
        """A connection for the caller alone, for the duration of an `async with`; waits while all are in use.

        Entering raises what Connection.open raises, and RuntimeError after `close`.
        """
        return Lease(self)

    async def lend(self) -> Connection:
        """Used by Lease."""
        await self._slots.acquire()
        self.in_use += 1
        try:
            return await self._obtain()
        except BaseException:
            self._leave()
            raise

    def take_back(self, connection: Connection) -> None:
        """Used by Lease."""
        self._leave()
        if connection.free and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()

    def _leave(self) -> None:
        self.in_use -= 1
        self._slots.release()

    async def _obtain(self) -> Connection:
        if self._closed:
            raise RuntimeError("the pool is closed")
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return await Connection.open(
            self.host,
            self.port,
            user=self._user,
            secret=self._secret,
            table=self._table,
            create=self._create,
            deadline=self._deadline,
            stall=self._stall,
        )

    async def close(self) -> None:
        """Close the idle connections; those in use are closed when their users are done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


class Lease:
    """The use of a connection of a pool. Each small request takes one: a generator would take twice the time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.lend()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.take_back(self._connection)
