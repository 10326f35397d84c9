"""Restores copies: after a node is lost, when one comes back without its bodies, when a body is damaged.

Driven by events. A lost node gets `delay` seconds to come back, in which its copies count; then each body that has
too few is copied to one more node that is up. When a node comes up its own list of bodies is compared with ours:
copies it does not have are forgotten and made again, bodies that no metadata name are orphans and are collected.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Final

from haild.client import chunk
from haild.tabled.bodies.collector import Collector
from haild.tabled.bodies.nodes import Node
from haild.tabled.bodies.placement import Placement, key_of
from haild.tabled.metadata.port import Metadata
from haild.tabled.metadata.records import StoredBody
from haild.tabled.s3.errors import S3Error

BATCH: Final = 100
SCAN: Final = 10_000
_START: Final = -1
"""Among the timers: since this process is master, in which time nodes are found one by one."""
JOBS: Final = 2
"""Bodies copied at the same time."""
RATE: Final = 64 << 20
"""Bytes per second that a job may copy on average, so that clients keep their share."""

logger = logging.getLogger(__name__)


class Repairer:
    """Runs while this process is master."""

    def __init__(
        self, metadata: Metadata, placement: Placement, collector: Collector, *, delay: float, own: tuple[int, int]
    ) -> None:
        """`delay` in seconds; `own`: first body id of this database, and the first not yet given out at start."""
        self._metadata = metadata
        self._placement = placement
        self._collector = collector
        self._delay = delay
        self._own = own
        self._work = asyncio.Event()
        self._returned: set[int] = set()
        self._bad: set[tuple[int, int]] = set()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.running = False
        self.restored = 0
        self.scans = 0

    def describe(self) -> dict[str, int]:
        """Figures for the status page."""
        return {
            "running": int(self.running),
            "waiting": len(self._timers),
            "scans": self.scans,
            "restored": self.restored,
        }

    # What is told from outside.

    def node_changed(self, node: Node) -> None:
        """A node came up or went down."""
        timer = self._timers.pop(node.number, None)
        if timer is not None:
            timer.cancel()
        if node.up:
            self._returned.add(node.number)
            self._work.set()
        else:
            self._returned.discard(node.number)
            self._later(node.number, time.time() - node.last_seen)

    def short(self) -> None:
        """A body was stored with fewer copies than it should have."""
        self._later(0)

    def bad_copy(self, body: int, node: int) -> None:
        """A node that seems to be up could not give a body."""
        self._bad.add((body, node))
        self._work.set()

    def _later(self, number: int, passed: float = 0.0) -> None:
        """Look for bodies with too few copies when the delay is over, of which some seconds have passed already."""
        if number not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[number] = loop.call_later(max(0.0, self._delay - passed), self._due, number)

    def _due(self, number: int) -> None:
        self._timers.pop(number, None)
        self._work.set()

    async def run(self) -> None:
        """Repair, for ever."""
        for node in self._placement.nodes.up():
            self._returned.add(node.number)
        self._later(_START)
        if self._returned:
            self._work.set()
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                self.running = True
                await self._round()
                self.running = False
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _round(self) -> None:
        for body, number in list(self._bad):
            self._bad.discard((body, number))
            await self._replace_bad(body, number)
        while self._returned:
            node = self._placement.nodes.get(self._returned.pop())
            if node is not None and node.up:
                await self._reconcile(node)
        if _START not in self._timers:
            await self._restore()

    async def _replace_bad(self, body: int, number: int) -> None:
        """A copy that could not be read: look again, and if it is bad make another one."""
        node = self._placement.nodes.get(number)
        stored = await self._metadata.body(body)
        if node is None or stored is None or number not in stored.nodes or await self._is_good(stored, node):
            return
        if len(stored.nodes) == 1:
            logger.error("body %016x is damaged or lost on node %d, and there is no other copy", body, number)
            return
        await self._metadata.drop_copies(number, [body], collect=False)
        wanted = min(self._placement.copies, len(self._placement.nodes.up()))
        await self._restore_body(body, wanted, asyncio.Semaphore())

    async def _is_good(self, stored: StoredBody, node: Node) -> bool:
        """Whether a node gives the whole body; also when it is down, for then nothing is known."""
        try:
            async for _ in self._placement.read_from(node, stored):
                pass
        except chunk.ChunkError as error:
            return error.code not in (chunk.ResponseCode.NO_SUCH_KEY, chunk.ResponseCode.INTERNAL_ERROR)
        except OSError:
            return not node.up
        return True

    # A node that came up.

    async def _reconcile(self, node: Node) -> None:
        """Compare what a node has with what it should have."""
        # In this order: a body that is stored in between is in the second and not in the first, which is no loss.
        recorded = await self._recorded_on(node.number)
        try:
            async with node.pool.connection() as connection:
                present = {int(o.name, 16): o.size async for o in connection.iterate_listing() if _is_ours(o.name)}
        except (OSError, chunk.ChunkError) as error:
            logger.warning("%s does not list its bodies: %s", node, error or type(error).__name__)
            return
        missing = [body for body in recorded if body not in present]
        if missing:
            logger.warning("%s has lost %d of the bodies it had", node, len(missing))
            await self._drop(node, missing)
        unexpected = [body for body in present.keys() - recorded if await self._is_orphan(node, body)]
        orphans = await self._metadata.add_garbage([(body, node.number) for body in unexpected])
        if orphans:
            logger.info("%s: %d bodies without metadata are deleted", node, orphans)
            self._collector.wake()

    async def _recorded_on(self, number: int) -> set[int]:
        found: set[int] = set()
        after: int | None = -1
        while after is not None:
            batch, after = await self._metadata.search_bodies(after, SCAN, lambda nodes: number in nodes)
            found.update(batch)
            await asyncio.sleep(0)
        return found

    async def _drop(self, node: Node, missing: Sequence[int]) -> None:
        """Forget copies that are gone; the last copy of a body stays recorded, or its loss would be forgotten."""
        lost = 0
        for start in range(0, len(missing), BATCH):
            dropped = []
            for body in missing[start : start + BATCH]:
                stored = await self._metadata.body(body)
                if stored is not None and len(stored.nodes) > 1:
                    dropped.append(body)
                else:
                    lost += stored is not None
            await self._metadata.drop_copies(node.number, dropped, collect=False)
        if lost:
            logger.error("%s: %d of these bodies had no other copy", node, lost)

    async def _is_orphan(self, node: Node, body: int) -> bool:
        """Whether a body that is not recorded on a node has no business there; a copy that is wanted is recorded."""
        first, end = self._own
        if not first <= body < end or body in self._placement.being_stored:
            return False  # of another database, or younger than this process
        stored = await self._metadata.body(body)
        if stored is not None and node.number in stored.nodes:
            return False
        if stored is not None and len(stored.nodes) < self._placement.copies:
            await self._metadata.add_copy(body, node.number)
            return False
        return True

    # Bodies with too few copies.

    def _present(self) -> set[int]:
        """The nodes whose copies count: those that are up, and those that are just gone and may come back."""
        return {node.number for node in self._placement.nodes.up()} | (self._timers.keys() - {0, _START})

    async def _restore(self) -> None:
        """Bring every body to as many copies as there can be."""
        up = [node.number for node in self._placement.nodes.up()]
        present = self._present()
        wanted = min(self._placement.copies, len(present))
        if not up:
            return
        self.scans += 1
        before = self.restored
        limit = asyncio.Semaphore(JOBS)
        after: int | None = -1
        while after is not None:
            batch, after = await self._metadata.search_bodies(
                after, BATCH, lambda nodes: len(present.intersection(nodes)) < wanted
            )
            await asyncio.gather(*(self._restore_body(body, wanted, limit) for body in batch))
            if [node.number for node in self._placement.nodes.up()] != up:
                return  # the event that changed this starts the next round
            await asyncio.sleep(0)
        if self.restored > before:
            logger.info("%d copies restored", self.restored - before)

    async def _restore_body(self, body: int, wanted: int, limit: asyncio.Semaphore) -> None:
        async with limit:
            while (stored := await self._metadata.body(body)) is not None:
                up = self._placement.nodes.up()
                sources = [node for node in up if node.number in stored.nodes]
                targets = [node for node in up if node.number not in stored.nodes]
                if not sources or not targets or len(self._present().intersection(stored.nodes)) >= wanted:
                    return
                if not await self._copy(stored, random.choice(targets)):  # noqa: S311 - spreads load
                    return
                await asyncio.sleep(stored.size / RATE)

    async def _copy(self, stored: StoredBody, target: Node) -> bool:
        try:
            try:
                await self._placement.copy(stored, target)
            except chunk.ChunkError as error:
                if error.code != chunk.ResponseCode.KEY_EXISTS:
                    raise
                # A damaged body or the rest of an old copy: what stands there is not recorded, so not trusted.
                async with target.pool.connection() as connection:
                    self._placement.confirm()
                    await connection.delete(key_of(stored.body))
                await self._placement.copy(stored, target)
        except (OSError, chunk.ChunkError, S3Error) as error:
            logger.warning("body %016x cannot be copied to %s: %s", stored.body, target, error)
            return False
        if not await self._metadata.add_copy(stored.body, target.number):
            self._collector.wake()
            return False
        self.restored += 1
        await self._replace_dead(stored)
        return True

    async def _replace_dead(self, before: StoredBody) -> None:
        """With the new copy there may be more than wanted, one of them on a node that is gone: give that up."""
        excess = len(before.nodes) + 1 - self._placement.copies
        for number in set(before.nodes) - self._present():
            if excess > 0:
                await self._metadata.drop_copies(number, [before.body], collect=True)
                excess -= 1


def _is_ours(name: bytes) -> bool:
    return len(name) == 16 and all(digit in b"0123456789abcdef" for digit in name)
