"""Group commit: changes that arrive while a commit is under way share the next one.

One thread owns the writing connection. A change is a function of the connection; it runs in a savepoint, so one
that raises undoes only itself. Its future is done when the commit that holds it is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from haild.tabled.metadata.port import SupersededError

MAXIMUM_GROUP = 512
"""Changes in one transaction."""

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Result]


@dataclass
class _Pending:
    change: Change[Any]
    future: asyncio.Future[Any]
    committed: Callable[[], object] | None
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs changes in groups, each group durable before any of its callers goes on."""

    def __init__(self, connection: sqlite3.Connection, confirm: Callable[[], None] = lambda: None) -> None:
        """`confirm` raises SupersededError, after a commit, if this process may not acknowledge it any more."""
        self._connection = connection
        self._confirm = confirm
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="metadata-writer", daemon=True)
        self._thread.start()

    async def run(self, change: Change[Result], committed: Callable[[], object] | None = None) -> Result:
        """Run `change` and return its result when it is durable.

        `committed` is called on the event loop before anybody goes on who waits for this commit, also when the caller
        has been cancelled, and when the change has failed. Raises what `change` raises, sqlite3.Error, or
        SupersededError.
        """
        if self._closed:
            raise sqlite3.ProgrammingError("the metadata are closed")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put(_Pending(change, future, committed))
        return await future

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._closed = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        closing = False
        while not closing:
            group: list[_Pending] = []
            item = self._queue.get()
            while item is not None:
                group.append(item)
                if len(group) >= MAXIMUM_GROUP:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            closing = item is None
            if group:
                self._commit(group)
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(_deliver, group)
        self._connection.close()

    def _commit(self, group: list[_Pending]) -> None:
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for pending in group:
                execute("SAVEPOINT change")
                try:
                    pending.result = pending.change(self._connection)
                except Exception as error:
                    pending.error = error
                    execute("ROLLBACK TO change")
                execute("RELEASE change")
            execute("COMMIT")
            self._confirm()
        except (sqlite3.Error, SupersededError) as error:
            for pending in group:
                pending.error = error
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    execute("ROLLBACK")


def _deliver(group: list[_Pending]) -> None:
    for pending in group:
        if pending.committed is not None:
            pending.committed()
        if pending.future.done():  # its caller was cancelled
            continue
        if pending.error is not None:
            pending.future.set_exception(pending.error)
        else:
            pending.future.set_result(pending.result)
