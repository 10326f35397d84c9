"""Group commit: packets leave when what they tell is on disk; while a commit runs, the next batch gathers."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from haild.backoff import retry_blocking
from haild.cld.changes import Changes
from haild.cld.machine import Machine
from haild.cld.session import Peer
from haild.cld.store import Store

OVERLOAD: Final = 16 << 20
"""Bytes of file contents waiting to be stored from which on nothing more is read from clients."""
Output = list[tuple[Peer, bytes]]
_RETRY_FOR: Final = 5.0
"""Seconds in which a failed commit is tried again before the daemon gives up: it must not answer without one."""

logger = logging.getLogger(__name__)


class Committer:
    """Stores the service's changes and releases its packets, in order."""

    def __init__(self, service: Machine, store: Store, release: Callable[[Output], None]) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._service = service
        self._store = store
        self._release = release
        self._executor = ThreadPoolExecutor(1, "commit")
        self._running: asyncio.Future[None] | None = None
        self._batch = Changes()
        self._held: Output = []
        self._next: Output = []

    def submit(self, output: Output) -> None:
        """Release packets once every change made until now is stored."""
        if self._service.changes:
            self._next += output
            if self._running is None:
                self._start()
        elif self._running is not None:
            self._held += output
        else:
            self._release(output)

    @property
    def busy(self) -> bool:
        """Whether a commit runs."""
        return self._running is not None

    @property
    def held(self) -> int:
        """Packets that wait for a commit."""
        return len(self._held) + len(self._next)

    @property
    def overloaded(self) -> bool:
        """Whether more waits to be stored than should."""
        return self._service.changes.weight + self._batch.weight > OVERLOAD

    def _start(self) -> None:
        self._batch = self._service.changes.take()
        self._held, self._next = self._next, []
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._executor, self._commit, self._batch)
        self._running.add_done_callback(self._done)

    def _commit(self, batch: Changes) -> None:
        retry_blocking(
            lambda: self._store.commit(batch),
            on=sqlite3.Error,
            first=0.05,
            longest=1.0,
            within=_RETRY_FOR,
            told=lambda error: logger.warning("cannot store, trying again: %s", error),
        )

    def _done(self, running: asyncio.Future[None]) -> None:
        self._running = None
        error = running.exception()
        if error is not None:
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        held, self._held = self._held, []
        batch, self._batch = self._batch, Changes()
        self._release(held)
        self._service.stored(batch)
        output, self._service.registry.output = self._service.registry.output, []
        self._next += output
        if self._service.changes:
            self._start()
        elif self._next:
            output, self._next = self._next, []
            self._release(output)

    async def close(self) -> None:
        """Wait until all is stored and released."""
        while self._running is not None:
            await asyncio.wait({self._running})
            await asyncio.sleep(0)
        self._executor.shutdown()
        self.failed.cancel()
