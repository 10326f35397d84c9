"""Group commit in SQLite: changes that arrive while a commit runs share the next one, and its flush to disk.

One thread owns the writing connection. A change is a function of that connection. Each change of several runs in a
savepoint, so a change that raises undoes only itself. The caller goes on when the commit that holds its change is
durable.

A full disk: the write-ahead log gives its space back once it has been copied into the database, so a group that finds
no room is tried again after a checkpoint. If there is still no room, each of its changes is tried alone: a deletion
must not fail because a larger change waited with it. A change may therefore run more than once, and must not keep
state of its own outside the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

MAXIMUM_GROUP: Final = 512
"""Changes in one transaction."""

_WHOLE_GROUP: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT}
)
"""Primary result codes after which a whole transaction should be rolled back (sqlite.org/lang_transaction.html)."""

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Result]


class _Uncancellable(asyncio.Future[Result]):
    """A future whose waiting task learns that it was cancelled when the future is done: what a thread does in a
    transaction goes on in any case. `asyncio.shield` gives the same with another future and another turn of the loop,
    which is felt in a small PUT."""

    def cancel(self, msg: object = None) -> bool:
        """Refuse, so that the task that waits keeps the request until it goes on (`asyncio.Task.cancel`)."""
        return False


@dataclass(slots=True)
class _Pending:
    change: Change[Any]
    future: asyncio.Future[Any]
    after: Callable[[], None] | None
    delivered: Callable[[], object] | None
    result: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Runs changes in groups; each group is durable before any of its callers goes on. Bound to the running loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        confirm: Callable[[], None] = lambda: None,
        failure: Callable[[sqlite3.Error], Exception] = lambda error: error,
    ) -> None:
        """`connection` is in autocommit mode and belongs to the writing thread from now on.

        confirm: runs after each commit, on the writing thread; what it raises, every caller of that group gets.
        failure: makes the exception that callers get out of SQLite's.
        """
        self._connection = connection
        self._confirm = confirm
        self._failure = failure
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    async def run(
        self,
        change: Change[Result],
        *,
        after: Callable[[], None] | None = None,
        delivered: Callable[[], object] | None = None,
    ) -> Result:
        """Run `change` in a transaction and return its result once that is durable.

        after: runs on the writing thread after the commit, if the change succeeded; what it raises is raised here.
        delivered: runs on the event loop before any caller of this group goes on, also if the change failed and if
        this caller was cancelled.

        Raises what `change` raises, and `failure(error)` where SQLite fails. Cancelling takes effect when the commit
        is done, and does not undo it.
        """
        if self._closed:
            raise self._failure(sqlite3.ProgrammingError("the database is closed"))
        future: asyncio.Future[Result] = _Uncancellable(loop=self._loop)
        self._queue.put(_Pending(change, future, after, delivered))
        return await future

    def close(self, last: Change[None] | None = None) -> None:
        """Commit what has been submitted and `last`, then close the connection. Blocks; ignores errors of `last`."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        if last is not None:
            with contextlib.suppress(sqlite3.Error):
                last(self._connection)
        self._connection.close()

    def _run(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            if group:
                self._commit(group)
                # The loop is closed already if the daemon is being cut off.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._deliver, group)

    def _next_group(self) -> tuple[list[_Pending], bool]:
        """The changes that wait, at least one of them, and whether more may come."""
        group: list[_Pending] = []
        pending = self._queue.get()
        while pending is not None:
            group.append(pending)
            if len(group) == MAXIMUM_GROUP:
                return group, True
            try:
                pending = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: list[_Pending]) -> None:
        try:
            if self._transact(group):
                self._confirm()
        except Exception as error:
            for pending in group:
                pending.error = error
            return
        for pending in group:
            if pending.after is not None and pending.error is None:
                try:
                    pending.after()
                except Exception as error:
                    pending.error = error

    def _transact(self, group: list[_Pending]) -> bool:
        """Run and commit a group: each change gets its result or its error. Returns whether any was committed."""
        for last in (False, True):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                if len(group) == 1:
                    self._apply_alone(group[0])
                else:
                    for pending in group:
                        self._apply(pending)
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
                return True
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                if last and is_full(error) and len(group) > 1:
                    committed = [self._transact([pending]) for pending in group]
                    return any(committed)
                if last or not make_room(self._connection, error):
                    for pending in group:
                        pending.error = error
                    return False
        raise AssertionError  # pragma: no cover - the second round returns

    def _apply(self, pending: _Pending) -> None:
        self._connection.execute("SAVEPOINT change")
        if not self._change(pending):
            self._connection.execute("ROLLBACK TO change")
        self._connection.execute("RELEASE change")

    def _apply_alone(self, pending: _Pending) -> None:
        """Without a savepoint: what is undone is the whole transaction."""
        if not self._change(pending):
            self._connection.execute("ROLLBACK")

    def _change(self, pending: _Pending) -> bool:
        """Run one change; returns whether it succeeded. Raises what concerns the whole transaction."""
        pending.error = None
        try:
            pending.result = pending.change(self._connection)
        except BaseException as error:
            # Also what is no Exception: this thread must not end while callers wait for it.
            if isinstance(error, sqlite3.Error) and (
                primary_code(error) in _WHOLE_GROUP or not self._connection.in_transaction
            ):
                raise
            pending.error = error
            return False
        return True

    def _deliver(self, group: list[_Pending]) -> None:
        for pending in group:
            if pending.delivered is not None:
                pending.delivered()
            if pending.error is None:
                pending.future.set_result(pending.result)
            else:
                pending.future.set_exception(self._raised(pending.error))

    def _raised(self, error: BaseException) -> BaseException:
        """What the caller of a change that failed with `error` gets."""
        if isinstance(error, StopIteration):  # a future takes any exception but this one
            failure: Exception = RuntimeError("a change raised StopIteration")
        elif isinstance(error, sqlite3.Error):
            failure = self._failure(error)
        else:
            return error
        if failure is not error:
            failure.__cause__ = error
        return failure


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code (sqlite.org/rescode.html); 0 for an error that Python raised itself."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no room on the disk."""
    return primary_code(error) == sqlite3.SQLITE_FULL


def make_room(connection: sqlite3.Connection, error: sqlite3.Error) -> bool:
    """If `error` says that the disk is full, copy the write-ahead log into the database, which frees the log's space.

    Returns whether trying again makes sense. No transaction may be open on `connection`.
    """
    if not is_full(error):
        return False
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return True
