"""Room on the data volume for the files of forms, whose size is known only at their end.

The files have no names, so a killed process leaves none. Each client may fill its share: half of what is free and
of its own. So neither a client nor all anonymous ones together can take the room of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

RESERVE: Final = 64 << 20
"""Bytes of the volume that are left to the metadata."""
GRANT: Final = 4 << 20
"""Bytes that a file is granted at a time."""


class NoRoomError(Exception):
    """The client has filled its share, or the volume is full."""


def _free(directory: Path) -> int:
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


class Spool:
    """The files of one directory."""

    def __init__(self, directory: Path, free: Callable[[Path], int] = _free) -> None:
        """`free`: how many bytes a directory's file system has left."""
        self._directory = directory
        self._free = free
        self._used: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def file(self, client: str) -> AsyncIterator[SpoolFile]:
        """A file of `client`, which is gone afterwards."""
        with await asyncio.to_thread(lambda: tempfile.TemporaryFile(dir=self._directory, buffering=0)) as file:
            spooled = SpoolFile(file, lambda count: self._take(client, count))
            try:
                yield spooled
            finally:
                self._used[client] -= spooled.size
                if not self._used[client]:
                    del self._used[client]

    def _take(self, client: str, count: int) -> None:
        """Count bytes as a client's. Raises NoRoomError."""
        free = self._free(self._directory) - RESERVE
        if count > free or self._used[client] + count > (free + self._used[client]) // 2:
            raise NoRoomError("too much of the room for forms is taken")
        self._used[client] += count


class SpoolFile:
    """One file, first written and then read, as a source of a body."""

    ready: Final = False

    def __init__(self, file: IO[bytes], take: Callable[[int], None]) -> None:
        self._file = file
        self._take = take
        self._granted = 0
        self.size = 0
        """Bytes that count as the client's."""
        self.written = 0

    async def write(self, data: bytes) -> None:
        """Append bytes. Raises NoRoomError."""
        while len(data) > self._granted:
            self._take(GRANT)
            self.size += GRANT
            self._granted += GRANT
        self._granted -= len(data)
        try:
            view = memoryview(data)
            while view:
                view = view[await asyncio.to_thread(self._file.write, view) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise NoRoomError(error.strerror) from None
        self.written += len(data)

    def rewind(self) -> None:
        """Read from the beginning."""
        self._file.seek(0)

    async def read(self, limit: int, /) -> bytes:
        """The next bytes, `limit` at most; nothing at the end."""
        return await asyncio.to_thread(self._file.read, limit)
