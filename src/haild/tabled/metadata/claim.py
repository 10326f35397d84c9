"""Which process may write the metadata in a TDB directory that the members of a group share.

All members run on one machine (SQLite's and these locks are the kernel's). Two things keep writers apart:

* a **lock** on the database, held by the process that has it open as master. It goes with its holder, so a stand-by
  never waits for a dead master;
* a **claim**, a file that each new master puts in the place of the last one's. A master looks at its claim after each
  commit and before it acknowledges anything, deletes anything from a node, or answers a read. So a master that was
  stopped for longer than its lease, and goes on, can neither acknowledge nor show what the group no longer has.

A stopped process does not give its lock up, and it may have been stopped in the middle of a commit, where it holds
SQLite's lock for writers, too. Its successor claims the directory first, then copies the database as it stands to a
file of the next **generation** and goes on there. Whatever was acknowledged before had been committed before the
claim, so it is in the copy; what the stopped process commits later goes to the old file and is never seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from haild.backoff import Backoff
from haild.tabled.metadata import schema
from haild.tabled.metadata.port import SupersededError

LOCK_FILE: Final = "lock"
CLAIM_FILE: Final = "claim"
PATIENCE: Final = 1.0
"""Seconds that a superseded master that still runs gets to step down and let the database go."""

logger = logging.getLogger(__name__)


class Claim:
    """The right of this process to write to a directory; it is gone when another process has claimed it."""

    def __init__(self, directory: Path, lost: Callable[[], None] = lambda: None) -> None:
        """Claim the directory. `lost` is called, in any thread, when the claim is found to be gone.

        Raises OSError.
        """
        self._lost = lost
        self._descriptor, temporary = tempfile.mkstemp(prefix=f".{CLAIM_FILE}.", dir=directory)
        os.replace(temporary, directory / CLAIM_FILE)

    @property
    def valid(self) -> bool:
        """Whether no other process has claimed the directory since: a replaced file has no name left."""
        return os.fstat(self._descriptor).st_nlink > 0

    def require(self) -> None:
        """Raise SupersededError if the claim is gone."""
        if not self.valid:
            self._lost()
            raise SupersededError("another tabled of the group has become master")

    def close(self) -> None:
        """Free the descriptor; the claim stays until the next one."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class Occupation:
    """A directory that this process may write to, and the database in it."""

    database: Path
    claim: Claim


def generation(directory: Path) -> int:
    """The number of the newest database in a directory; 0 for the first, also where there is none yet."""
    numbers = [path.name.rpartition("-")[2] for path in directory.glob(f"{schema.FILE_NAME}-*")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def database_file(directory: Path, number: int | None = None) -> Path:
    """The file of the newest database in a directory, or of that of a certain generation."""
    number = generation(directory) if number is None else number
    return directory / (f"{schema.FILE_NAME}-{number}" if number else schema.FILE_NAME)


@contextlib.asynccontextmanager
async def occupy(
    directory: Path, *, supersede: bool, lost: Callable[[], None] = lambda: None
) -> AsyncIterator[Occupation]:
    """Hold a directory as its only writer.

    `supersede`: the lock in CLD says that we follow another member, so if one still holds the directory it is made to
    step down, or left behind if it does not react. Without, wait for its holder. Raises OSError and
    sqlite3.Error.
    """
    with contextlib.ExitStack() as stack:
        number = generation(directory)
        locked = await _lock(stack, directory, number, PATIENCE / 2 if supersede else None)
        claim = Claim(directory, lost)
        stack.callback(claim.close)
        if not locked:
            locked = await _lock(stack, directory, number, PATIENCE)
        if not locked:
            successor = number + 1
            logger.warning("the last master holds %s and does not react; going on with a copy", directory)
            await asyncio.to_thread(_copy, directory, number, successor)
            claim.require()
            await _lock(stack, directory, successor, None)
            number = successor
        elif generation(directory) != number:
            raise SupersededError("another tabled of the group has become master meanwhile")
        _remove_older(directory, number)
        yield Occupation(database_file(directory, number), claim)


async def _lock(stack: contextlib.ExitStack, directory: Path, number: int, patience: float | None) -> bool:
    """Lock the database of a generation for as long as `stack` lasts; False if that takes longer than `patience`."""
    descriptor = _open_lock(directory, number)
    loop = asyncio.get_running_loop()
    started, told = loop.time(), False
    backoff = Backoff(0.02, 0.5 if patience is None else 0.1, factor=1.5)
    try:
        while not _try_lock(descriptor):
            if patience is not None and loop.time() - started >= patience:
                os.close(descriptor)
                return False
            if not told:
                logger.info("%s is held by another process; waiting for it to let go", directory)
                told = True
            await backoff.rest()
    except BaseException:
        os.close(descriptor)
        raise
    stack.callback(os.close, descriptor)
    return True


def held(directory: Path) -> bool:
    """Whether a process holds the newest database of a directory as master. Raises OSError."""
    descriptor = _open_lock(directory, generation(directory))
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(directory: Path, number: int) -> int:
    name = f"{LOCK_FILE}-{number}" if number else LOCK_FILE
    return os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _copy(directory: Path, number: int, successor: int) -> None:
    """Write the database of a generation, as it stands committed, as the one of the next; durable on return."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{schema.FILE_NAME}.", dir=directory)
    os.close(descriptor)
    with (
        contextlib.closing(schema.peek(database_file(directory, number))) as source,
        contextlib.closing(sqlite3.connect(temporary)) as target,
    ):
        source.backup(target)  # in one step, so one snapshot; a reader does not wait for a writer
    _sync(Path(temporary))
    os.replace(temporary, database_file(directory, successor))
    _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_older(directory: Path, newest: int) -> None:
    """Discard what was left behind by superseded masters that are gone, and by unfinished copies and claims."""
    for name in (schema.FILE_NAME, CLAIM_FILE):
        for path in directory.glob(f".{name}.*"):
            path.unlink(missing_ok=True)
    for number in range(newest):
        path = database_file(directory, number)
        if not path.exists() or not path.stat().st_size:
            continue
        descriptor = _open_lock(directory, number)
        try:
            if _try_lock(descriptor):
                for suffix in ("-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                # A file of the first name must stay: set-up scripts look for it (tabled.md 2.2).
                os.truncate(path, 0) if number == 0 else path.unlink()
        finally:
            os.close(descriptor)
