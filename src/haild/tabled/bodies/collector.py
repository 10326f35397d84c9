"""Deletes what is no longer used: bodies of replaced and deleted objects, unfinished uploads.

The queue is a table: a body enters it in the transaction that takes its last user away, and leaves it when the
node has confirmed. So nothing leaks, whatever dies in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from haild.tabled.bodies.nodes import Node
from haild.tabled.bodies.placement import Placement
from haild.tabled.metadata.port import Metadata, UploadMissingError

BATCH: Final = 200
GATHERING: Final = 0.1
"""Seconds that the collector lets garbage gather before it works."""
AGAIN: Final = 2.0
"""Seconds until bodies that are still being read are tried again."""
UPLOAD_AGE: Final = 7 * 86400.0
"""Seconds after which an unfinished multipart upload is aborted."""
UPLOAD_CHECK: Final = 3600.0

logger = logging.getLogger(__name__)


class Collector:
    """Runs while this process is master."""

    def __init__(self, metadata: Metadata, placement: Placement, clock: Callable[[], float]) -> None:
        self._metadata = metadata
        self._placement = placement
        self._clock = clock
        self._work = asyncio.Event()

    def wake(self) -> None:
        """There may be garbage."""
        self._work.set()

    def node_changed(self, node: Node) -> None:
        """A node that is back may have garbage waiting for it."""
        if node.up:
            self._work.set()

    async def run(self) -> None:
        """Collect, for ever."""
        self._work.set()
        while True:
            await self._work.wait()
            await asyncio.sleep(GATHERING)
            self._work.clear()
            left = await asyncio.gather(*(self._node(node) for node in list(self._placement.nodes.up())))
            if any(left):
                asyncio.get_running_loop().call_later(AGAIN, self._work.set)

    async def _node(self, node: Node) -> bool:
        """Delete what waits for one node; True if something must be tried again later."""
        while node.up:
            batch = await self._metadata.garbage(node.number, BATCH)
            if not batch:
                return False
            free = [body for body in batch if body not in self._placement.being_read]
            gone = await self._placement.delete(node, free)
            if gone:
                await self._metadata.forget_garbage(node.number, gone)
            if len(gone) < len(batch):
                return True
        return False

    async def abort_stale_uploads(self) -> None:
        """Abort old multipart uploads, now and every hour, for ever."""
        while True:
            for upload in await self._metadata.stale_uploads(self._clock() - UPLOAD_AGE):
                with contextlib.suppress(UploadMissingError):
                    await self._metadata.abort_upload(upload)
                logger.info("upload %s was never finished; aborted", upload)
                self.wake()
            await asyncio.sleep(UPLOAD_CHECK)
