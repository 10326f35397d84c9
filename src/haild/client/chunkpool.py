"""Connections to one chunkd node, kept open and reused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from haild.client.chunkconnection import STALL, Connection


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

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the caller alone; waits while all are in use.

        Raises what Connection.open raises, and RuntimeError after `close`.
        """
        async with self._slots:
            self.in_use += 1
            try:
                connection = await self._obtain()
            except BaseException:
                self.in_use -= 1
                raise
            try:
                yield connection
            finally:
                self.in_use -= 1
                if connection.free and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.abort()

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
