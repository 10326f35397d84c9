"""Reading body files: no byte leaves them that has not been verified against its block's checksum."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from typing import Final

from haild.chunkd import blockchecksums
from haild.chunkd.catalog import StoredObject
from haild.wire.chunk import BLOCK_SIZE

READ_SIZE: Final = 4 * BLOCK_SIZE
"""Bytes read and verified at a time: they fit the processor's cache."""


Pace = Callable[[int], None]
"""Called with the number of bytes just read; may wait, or raise to end the reading."""


def _no_pace(_count: int) -> None:
    return


class DamagedError(Exception):
    """The body of an object is missing or is not what was stored."""

    def __init__(self, stored: StoredObject) -> None:
        self.stored = stored
        super().__init__(f"object {stored.id:x} is damaged")


class _Buffer(threading.local):
    """A buffer for each thread, so that reading needs no memory that grows with the number of clients."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_SIZE))


_buffer = _Buffer()


class BodyFile:
    """An open body. `close` it. All methods but `close` block on the file system."""

    def __init__(self, stored: StoredObject, descriptor: int, checksums: bytes) -> None:
        self.stored = stored
        self.file = io.FileIO(descriptor, "rb")
        self._checksums = checksums

    def close(self) -> None:
        """Close the file. No other call may be under way."""
        self.file.close()

    def verify(self, offset: int, length: int) -> None:
        """Verify every block that the range touches; afterwards they are in the page cache. Raises DamagedError."""
        start, end = blockchecksums.aligned(self.stored.size, offset, length)
        for position in range(start, end, READ_SIZE):
            self._verified(position, min(READ_SIZE, end - position))

    def hash_of_blocks(self, offset: int, length: int, pace: Pace = _no_pace) -> bytes:
        """The SHA-1 of every block that the range touches, verified. Raises DamagedError, and what `pace` raises."""
        start, end = blockchecksums.aligned(self.stored.size, offset, length)
        sha1 = hashlib.sha1(usedforsecurity=False)
        for position in range(start, end, READ_SIZE):
            count = min(READ_SIZE, end - position)
            sha1.update(self._verified(position, count))
            pace(count)
        return sha1.digest()

    def verify_all(self, pace: Pace) -> None:
        """Verify the whole body, against the object's own SHA-1 as well. Raises DamagedError."""
        if self.hash_of_blocks(0, self.stored.size, pace) != self.stored.sha1:
            raise DamagedError(self.stored)

    def _verified(self, position: int, length: int) -> memoryview:
        """A range that begins and ends with a block. Valid until the thread reads again."""
        view = _buffer.view[:length]
        filled = 0
        while filled < length:
            count = os.preadv(self.file.fileno(), [view[filled:]], position + filled)
            if not count:
                raise DamagedError(self.stored)
            filled += count
        if not blockchecksums.matches(self._checksums, position, view):
            raise DamagedError(self.stored)
        return view
