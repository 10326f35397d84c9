"""The user's own files, which commands read and write; what goes wrong with them is a CommandError."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from hailbox.shell.interpreter import CommandError

T = TypeVar("T")

BLOCK: Final = 1 << 18
"""Bytes read at once."""


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{path}: {reason}") from error


async def _apart(path: str, function: Callable[..., T], *arguments: object) -> T:
    """Call it in a thread: the file may be on a slow disk, or be a pipe, and the session must go on."""
    with _told(path):
        return await asyncio.to_thread(function, *arguments)


async def read(path: str, limit: int) -> bytes:
    """The content of a file, `limit` + 1 bytes at most."""

    def content() -> bytes:
        with Path(path).open("rb") as stream:
            return stream.read(limit + 1)

    return await _apart(path, content)


async def write(path: str, data: bytes) -> None:
    """Put `data` into a file, in place of what it held."""
    await _apart(path, Path(path).write_bytes, data)


@contextlib.asynccontextmanager
async def reading(path: str) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
    """A regular file: its size in bytes, and exactly that many bytes in pieces, or fewer if it shrinks meanwhile."""

    def opened() -> tuple[BinaryIO, int]:
        # Without waiting: a pipe is refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise ValueError("not a regular file, whose size is known before it is read")
        return os.fdopen(descriptor, "rb"), status.st_size

    stream, size = await _apart(path, opened)

    async def pieces() -> AsyncIterator[bytes]:
        remaining = size
        while remaining and (piece := await _apart(path, stream.read, min(BLOCK, remaining))):
            remaining -= len(piece)
            yield piece
        if remaining:
            raise CommandError(f"{path}: became shorter while it was read")

    try:
        yield size, pieces()
    finally:
        stream.close()


@contextlib.asynccontextmanager
async def writing(path: str) -> AsyncIterator[Callable[[bytes], Awaitable[object]]]:
    """A file to be filled piece by piece; call what this gives with each, and await it."""
    stream = await _apart(path, Path(path).open, "wb")
    try:
        yield lambda piece: _apart(path, stream.write, piece)
    finally:
        await _apart(path, stream.close)
