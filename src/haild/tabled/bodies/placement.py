"""Where bodies lie: written to up to three nodes at once, read from any of them.

A body is pushed piece by piece to all its nodes; none of it is kept here. A node that fails is dropped; the PUT
is acknowledged when enough of the rest hold the body durably (tabled.md section 14).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from haild.client import chunk
from haild.tabled.bodies.cache import SMALL, BodyCache
from haild.tabled.bodies.nodes import Node, Nodes
from haild.tabled.metadata.records import StoredBody
from haild.tabled.s3.errors import S3Error

PART: Final = 1 << 18
"""Bytes of one GET_PART, the most that chunkd gives (chunkd.md section 7)."""

SMALLEST: Final = 1 << 20
"""Bytes of a body, still to come, from which on it pays to let the system pass them on."""

logger = logging.getLogger(__name__)

Piece = bytes | chunk.RemainingBody

Failures = (OSError, chunk.ChunkError)
_BAD_COPY: Final = (chunk.ResponseCode.NO_SUCH_KEY, chunk.ResponseCode.INTERNAL_ERROR)
"""What a node says that has lost a body, or found it damaged."""


def key_of(body: int) -> bytes:
    """The key of a body on a node: 16 hexadecimal digits and a NUL (tabled.md 13.3)."""
    return b"%016x\0" % body


@dataclass
class _Target:
    node: Node
    put: chunk.Put
    alive: bool = True


class Placement:
    """Stores, reads and deletes bodies on the nodes that are up."""

    def __init__(self, nodes: Nodes, cache: BodyCache, *, copies: int = 3, acknowledge: int = 0) -> None:
        """`copies`: how many to make; `acknowledge`: how many must be durable (0: on all nodes there are)."""
        self.nodes = nodes
        self._cache = cache
        self.copies = copies
        self._acknowledge = acknowledge
        self.being_stored: set[int] = set()
        """Bodies that may be on nodes without metadata yet: no orphans."""
        self.being_read: Counter[int] = Counter()
        """Bodies that must not be deleted from nodes just now."""
        self.on_short: Callable[[], None] = lambda: None
        """Called when a body got fewer copies than it should have."""
        self.on_bad_copy: Callable[[int, int], None] = lambda body, node: None
        """Called with body and node when a node that is up cannot give a body it should hold."""
        self.confirm: Callable[[], None] = lambda: None
        """Raises SupersededError where this process may not delete anything any more."""
        self.on_leftover: Callable[[list[tuple[int, int]]], Awaitable[object]]

    def targets(self) -> list[Node]:
        """The nodes for a new body, by number. Raises ServiceUnavailable where too few are up."""
        up = self.nodes.up()
        if not up or len(up) < min(self._acknowledge, self.copies):
            raise S3Error(
                "ServiceUnavailable", "Not enough storage nodes are up; please retry.", headers={"Retry-After": "1"}
            )
        if len(up) <= self.copies:
            return up
        chosen = random.sample(up, self.copies)
        # In one order for all, or two PUTs could wait for each other's connections.
        return sorted(chosen, key=lambda node: node.number)

    async def store(self, body: int, length: int, pieces: AsyncIterator[bytes | memoryview]) -> StoredBody:
        """Write a body of `length` bytes. The caller must have put its id in `being_stored`.

        Raises S3Error where too few nodes take it, and whatever `pieces` raises; then nothing of it stays.
        """
        if length <= SMALL:
            return await self._store_small(body, b"".join([piece async for piece in pieces]))
        nodes = self.targets()
        async with contextlib.AsyncExitStack() as stack:
            opened = [await self._open(stack, node, body, length) for node in nodes]
            targets = [target for target in opened if target is not None]
            try:
                async for piece in pieces:
                    targets = await self._each(targets, _writer(piece))
                targets = await self._each(targets, _finish)
                self._require_enough(len(targets))
            except BaseException:
                for target in targets:
                    await target.put.abort()
                await asyncio.shield(self.on_leftover([(body, node.number) for node in nodes]))
                raise
        return await self._stored(body, length, nodes, [target.node.number for target in targets])

    async def _store_small(self, body: int, content: bytes) -> StoredBody:
        """Write a body that is in memory: each node is sent all of it at once."""
        nodes = self.targets()
        try:
            puts = [_outcome(self._put(node, body, content)) for node in nodes]
            outcomes = [await puts[0]] if len(puts) == 1 else await asyncio.gather(*puts)
            held = []
            for node, outcome in zip(nodes, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    logger.warning("%s does not take a body: %s", node, outcome or type(outcome).__name__)
                else:
                    held.append(node.number)
            self._require_enough(len(held))
        except BaseException:
            await asyncio.shield(self.on_leftover([(body, node.number) for node in nodes]))
            raise
        stored = await self._stored(body, len(content), nodes, held)
        if self._cache.takes(stored.size):
            self._cache.add(stored, content)
        return stored

    async def _put(self, node: Node, body: int, content: bytes) -> None:
        async with node.pool.connection() as connection:
            await connection.put(key_of(body), len(content), content)

    def _require_enough(self, copies: int) -> None:
        if copies < max(1, min(self._acknowledge, self.copies)):
            raise _unavailable()

    async def _stored(self, body: int, length: int, nodes: Sequence[Node], held: Sequence[int]) -> StoredBody:
        """What was stored on the nodes that hold it, of those that were to."""
        if len(held) < min(self.copies, len(self.nodes.up())):
            await self.on_leftover([(body, node.number) for node in nodes if node.number not in held])
            self.on_short()
        return StoredBody(body, length, tuple(held))

    async def _open(self, stack: contextlib.AsyncExitStack, node: Node, body: int, length: int) -> _Target | None:
        try:
            connection = await stack.enter_async_context(node.pool.connection())
            return _Target(node, await connection.start_put(key_of(body), length))
        except Failures as error:
            logger.warning("%s does not take a body: %s", node, error or type(error).__name__)
            return None

    async def _each(self, targets: list[_Target], step: Callable[[_Target], Awaitable[object]]) -> list[_Target]:
        """Do one step on every target; returns those that are left. Raises ServiceUnavailable for none."""
        if len(targets) == 1:
            outcomes: list[object] = [await _outcome(step(targets[0]))]
        else:
            outcomes = list(await asyncio.gather(*(_outcome(step(target)) for target in targets)))
        left = []
        for target, outcome in zip(targets, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                logger.warning("%s failed during a PUT: %s", target.node, outcome or type(outcome).__name__)
                await target.put.abort()
            else:
                left.append(target)
        if not left:
            raise _unavailable()
        return left

    async def whole(self, body: int, places: Callable[[], Awaitable[StoredBody]]) -> bytes | None:
        """A body that is small enough to be held in memory; None for a larger one.

        `places` is asked only where the content is not remembered. Raises S3Error when no copy can give it, and
        whatever `places` raises.
        """
        found = self._cache.get(body)
        # Without a node that is up and has it, it is not to be had.
        if found is not None and self._sources(found[0].nodes):
            return found[1]
        stored = await places()
        if not self._cache.takes(stored.size):
            return None
        content = b"".join([block async for block in self.read(stored, 0, stored.size)])
        self._cache.add(stored, content)
        return content

    def read(self, stored: StoredBody, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a stretch of a body, from whichever copy can give them.

        Raises S3Error when no copy can, also after some bytes were given.
        """
        return _blocks(self.pass_on(stored, offset, length, smallest=length + 1))

    async def pass_on(
        self, stored: StoredBody, offset: int, length: int, *, smallest: int = SMALLEST
    ) -> AsyncGenerator[Piece, None]:
        """Pieces for a receiver that can read from a socket itself: of a large body, the rest may be a RemainingBody.

        `smallest`: how many bytes of a whole body must still be to come for that.
        """
        body = stored.body
        self.being_read[body] += 1
        try:
            position, end = offset, offset + length
            for node in self._sources(stored.nodes):
                try:
                    whole = position == 0 and end == stored.size
                    pieces = _pieces(node, body, end, smallest) if whole else _stretch(node, body, position, end)
                    async with contextlib.aclosing(pieces):
                        async for piece in pieces:
                            if isinstance(piece, chunk.RemainingBody):
                                yield piece
                                position += piece.taken
                            else:
                                position += len(piece)
                                yield piece
                except Failures as error:
                    self._failed(node, body, error)
                if position == end:
                    return
            raise self._unreadable(stored.nodes)
        finally:
            self.being_read[body] -= 1
            if not self.being_read[body]:
                del self.being_read[body]

    def _failed(self, node: Node, body: int, error: Exception) -> None:
        logger.warning("%s cannot give body %016x: %s", node, body, error or type(error).__name__)
        # A node that finds damage while it sends can only close the connection.
        if node.up and (isinstance(error, ConnectionError) or getattr(error, "code", None) in _BAD_COPY):
            self.on_bad_copy(body, node.number)

    def read_from(self, node: Node, stored: StoredBody) -> AsyncGenerator[bytes, None]:
        """The whole body from one node. Raises OSError and ChunkError."""
        return _blocks(_pieces(node, stored.body, stored.size, stored.size + 1))

    async def copy(self, stored: StoredBody, target: Node) -> None:
        """Make one more copy of a body on `target`. Raises S3Error, OSError and ChunkError."""
        key = key_of(stored.body)
        async with target.pool.connection() as connection:
            put = None
            async for block in self.read(stored, 0, stored.size):
                if put is None:
                    put = await connection.start_put(key, stored.size)
                await put.write(block)
            if put is not None:
                await put.finish()

    async def delete(self, node: Node, bodies: Sequence[int]) -> list[int]:
        """Delete bodies from a node; returns those that are gone. Stops at the first trouble.

        Raises SupersededError.
        """
        gone: list[int] = []
        try:
            async with node.pool.connection() as connection:
                for body in bodies:
                    self.confirm()
                    try:
                        await connection.delete(key_of(body))
                    except chunk.ChunkError as error:
                        if error.code != chunk.ResponseCode.NO_SUCH_KEY:
                            raise
                    self._cache.drop(body)
                    gone.append(body)
        except Failures as error:
            logger.warning("%s does not delete a body: %s", node, error or type(error).__name__)
        return gone

    def _sources(self, copies: Sequence[int]) -> list[Node]:
        if len(copies) == 1:
            node = self.nodes.get(copies[0])
            return [node] if node is not None and node.up else []
        holders = [node for node in self.nodes.up() if node.number in copies]
        random.shuffle(holders)
        return holders

    def _unreadable(self, copies: Sequence[int]) -> S3Error:
        if all(node is not None and node.up for node in map(self.nodes.get, copies)):
            return S3Error("InternalError", "No storage node has the body of this object any more.")
        return S3Error(
            "ServiceUnavailable",
            "No storage node that holds this object is up; please retry.",
            headers={"Retry-After": "1"},
        )


def _writer(piece: bytes | memoryview) -> Callable[[_Target], Awaitable[object]]:
    def write(target: _Target) -> Awaitable[object]:
        return target.put.write(piece)

    return write


def _finish(target: _Target) -> Awaitable[object]:
    return target.put.finish()


async def _outcome(step: Awaitable[object]) -> object:
    try:
        return await step
    except Failures as error:
        return error


def _unavailable() -> S3Error:
    return S3Error("ServiceUnavailable", "The storage nodes failed; please retry.", headers={"Retry-After": "1"})


async def _pieces(node: Node, body: int, size: int, smallest: int) -> AsyncGenerator[Piece, None]:
    async with node.pool.connection() as connection, await connection.get(key_of(body)) as reader:
        if reader.size != size:
            raise ConnectionError(f"the body has {reader.size} bytes there and not {size}")
        async with contextlib.aclosing(reader.pieces(smallest)) as pieces:
            async for piece in pieces:
                yield piece


async def _blocks(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
    """Pieces among which there is no RemainingBody."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, bytes):
                yield piece


async def _stretch(node: Node, body: int, position: int, end: int) -> AsyncGenerator[bytes, None]:
    async with node.pool.connection() as connection:
        while position < end:
            part = await connection.get_part(key_of(body), position, min(PART, end - position))
            if not part.data:
                raise ConnectionError("the body is shorter there than it should be")
            position += len(part.data)
            yield part.data
