"""The storage nodes of the group: which there are, and which are up.

A node is known from its record in CLD (discovery.md 3.3) and is up while an idle, logged-in connection to it
stands. The end of that connection is the news of its death, so nothing is polled but a NOP now and then for
a node that has gone without a word.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from haild.backoff import Backoff
from haild.client import chunk
from haild.daemon import settings

TABLE: Final = b"tabled\0"
KEEPALIVE: Final = 3.0
"""Seconds between signs of life of an idle node, so that one that falls silent is lost before its copies are due."""
SILENCE: Final = 4.0
"""Seconds that a node may take to give one."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 3.0
"""Seconds between attempts to reach a node that is down."""
CONNECTIONS: Final = 256
"""Connections to one node at a time."""

logger = logging.getLogger(__name__)


class RecordError(ValueError):
    """A record in CLD that does not describe a node we can use."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a record tells: node id, host and port."""

    number: int
    host: str
    port: int


def parse_record(text: bytes) -> NodeRecord | None:
    """The node that a record in CLD describes; None for a type of storage that is not chunkd.

    Raises RecordError (discovery.md 3.3: the first complete Socket counts).
    """
    try:
        root = settings.parse(text)
    except settings.SettingsError as error:
        raise RecordError(str(error)) from error
    outer = next(root.all("Chunk"), None)
    if outer is None:
        raise RecordError("no Chunk element")
    number = settings.decimal((outer.value("NID") or "").strip(), 1, (1 << 32) - 1)
    if number is None:
        raise RecordError(f"NID {outer.value('NID')!r} is not a number from 1 to 4294967295")
    if (outer.value("Type") or "chunk").strip() != "chunk":
        return None
    for socket in outer.all("Socket"):
        host, port = socket.value("Host"), settings.decimal((socket.value("Port") or "").strip(), 1, 65535)
        if host and port is not None:
            return NodeRecord(number, host.strip(), port)
    raise RecordError("no Socket with Host and Port")


class Node:
    """One chunkd node and the connections to it."""

    def __init__(self, record: NodeRecord, user: str, secret: bytes) -> None:
        self.record = record
        self.number = record.number
        self.up = False
        self.last_seen = 0.0
        self.changed = time.time()
        self._user = user
        self._secret = secret
        self._retry = asyncio.Event()
        self.pool = chunk.Pool(record.host, record.port, user=user, secret=secret, table=TABLE, limit=CONNECTIONS)

    def __str__(self) -> str:
        return f"node {self.number} at {self.record.host}:{self.record.port}"

    def retry_now(self) -> None:
        """Its record was written again: there is reason to believe that it is back."""
        self._retry.set()

    async def watch(self, changed: Callable[[Node], None]) -> None:
        """Keep `up` true to the facts, for ever; `changed` is called after each change."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        told = False
        while True:
            try:
                connection = await self._open()
            except (OSError, chunk.ChunkError) as error:
                if not told:
                    logger.warning("%s cannot be used, trying on: %s", self, error or type(error).__name__)
                    told = True
            else:
                told = False
                backoff.reset()
                self._set(True, changed)
                try:
                    await self._until_lost(connection)
                finally:
                    connection.abort()
                self._set(False, changed)
            await self._wait(backoff.next())

    async def _open(self) -> chunk.Connection:
        """Connect. An attempt under way when the record is written again gives way to another at once.

        It may be to the address of a container that is no more, which answers nothing for seconds.
        """
        while True:
            self._retry.clear()
            opening = asyncio.ensure_future(
                chunk.Connection.open(
                    self.record.host,
                    self.record.port,
                    user=self._user,
                    secret=self._secret,
                    table=TABLE,
                    create=True,
                )
            )
            news = asyncio.ensure_future(self._retry.wait())
            try:
                await asyncio.wait({opening, news}, return_when=asyncio.FIRST_COMPLETED)
                if opening.done():
                    return opening.result()
            finally:
                news.cancel()
                opening.cancel()

    async def _until_lost(self, connection: chunk.Connection) -> None:
        try:
            while not await connection.wait_lost(KEEPALIVE):
                async with asyncio.timeout(SILENCE):
                    await connection.ping()
                self.last_seen = time.time()
        except TimeoutError:
            return  # it may have been gone since it was last seen
        except (OSError, chunk.ChunkError):
            pass
        self.last_seen = time.time()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._retry.wait()
        except TimeoutError:
            pass

    def _set(self, up: bool, changed: Callable[[Node], None]) -> None:
        self.changed = time.time()
        if up:
            self.last_seen = self.changed
        if self.up != up:
            self.up = up
            logger.info("%s is %s", self, "up" if up else "down")
            changed(self)


class Nodes:
    """All nodes of the group by number. They are added and updated, never removed (tabled.md 13.1)."""

    def __init__(self, user: str, secret: bytes) -> None:
        self._user = user
        self._secret = secret
        self._nodes: dict[int, Node] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[Node], None]] = []
        self._up: list[Node] = []

    def listen(self, listener: Callable[[Node], None]) -> Callable[[], None]:
        """Call `listener` whenever a node has come up or gone down; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def all(self) -> Iterable[Node]:
        """Every known node, by number."""
        return [self._nodes[number] for number in sorted(self._nodes)]

    def up(self) -> list[Node]:
        """The nodes that are up, by number. Not to be changed by the caller."""
        return self._up

    def get(self, number: int) -> Node | None:
        """The node of that number."""
        return self._nodes.get(number)

    def update(self, record: NodeRecord) -> None:
        """A record was read: add the node, or take its new address."""
        known = self._nodes.get(record.number)
        if known is not None and known.record == record:
            known.retry_now()
            return
        if known is not None:
            self._tasks.pop(record.number).cancel()
            known.up = False
            self._changed(known)
        node = self._nodes[record.number] = Node(record, self._user, self._secret)
        self._tasks[record.number] = asyncio.create_task(node.watch(self._changed), name=f"watch {node}")

    def _changed(self, node: Node) -> None:
        self._up = [self._nodes[number] for number in sorted(self._nodes) if self._nodes[number].up]
        for listener in list(self._listeners):
            listener(node)

    async def close(self) -> None:
        """Stop watching and close all connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for node in self._nodes.values():
            await node.pool.close()
