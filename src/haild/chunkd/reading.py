"""Reading body files: no byte leaves them that has not been verified against its block's checksum."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from haild.chunkd.catalog import StoredObject
from haild.wire import blockchecksums
from haild.wire.chunk.messages import BLOCK_SIZE

READ_SIZE: Final = 4 * BLOCK_SIZE
"""Bytes read and verified at a time: they fit the processor's cache."""
VERIFIED_FOR: Final = 60.0
"""Seconds for which a verified body need not be verified again."""
VERIFIED_COUNT: Final = 1024
"""Bodies of which that is remembered."""


Pace = Callable[[int], None]
"""Called with the number of bytes just read; may wait, or raise to end the reading."""


def _no_pace(_count: int) -> None:
    return


Stamp = tuple[int, int, int, int]
"""Inode number, size, time of the last modification and of the last change of a file."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def in_memory(descriptor: int, size: int) -> bool:
    """Whether a file is in the page cache, as far as a look at every stretch of READ_SIZE bytes tells."""
    if not hasattr(os, "RWF_NOWAIT"):  # only Linux has it
        return False
    byte = bytearray(1)
    try:
        return all(os.preadv(descriptor, [byte], at, os.RWF_NOWAIT) for at in range(0, size, READ_SIZE))
    except OSError:
        return False


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


class Verified:
    """Which bodies have been written, or verified from end to end, a short while ago and are in memory as they were.

    A file that is written to, truncated or replaced gets a new change time or inode number. What has left the page
    cache comes from the disk again, and is verified again; but for a page that leaves it between that look and the
    sending, and comes back damaged.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[int, tuple[Stamp, float]] = OrderedDict()

    def add(self, number: int, stamp: Stamp) -> None:
        """The body of object `number` was written and flushed, or found sound and had `stamp` before it was read."""
        self._seen[number] = (stamp, self._clock())
        self._seen.move_to_end(number)
        if len(self._seen) > VERIFIED_COUNT:
            self._seen.popitem(last=False)

    def holds(self, number: int, stamp: Stamp) -> bool:
        """Whether the body with this stamp was verified less than VERIFIED_FOR seconds ago."""
        seen = self._seen.get(number)
        return seen is not None and seen[0] == stamp and self._clock() - seen[1] < VERIFIED_FOR


class BodyFile:
    """An open body; the caller closes it. The constructor and all methods but `close` block on the file system."""

    def __init__(self, stored: StoredObject, descriptor: int, checksums: bytes, verified: Verified) -> None:
        self.stored = stored
        self.file = io.FileIO(descriptor, "rb")
        self._checksums = checksums
        self._verified = verified
        self._stamp = stamp_of(os.fstat(descriptor))
        self.trusted = verified.holds(stored.id, self._stamp) and in_memory(descriptor, stored.size)
        """Whether it was written, or verified from end to end, a short while ago: see Verified."""
        self._sound_until = 0

    def close(self) -> None:
        """Close the file. No other call may be under way."""
        self.file.close()

    def verify(self, offset: int, length: int) -> None:
        """Verify every block that the range touches; afterwards they are in the page cache. Raises DamagedError."""
        start, end = blockchecksums.aligned(self.stored.size, offset, length)
        for position in range(start, end, READ_SIZE):
            self._read(position, min(READ_SIZE, end - position))
        if start <= self._sound_until < end:
            self._sound_until = end
            if end == self.stored.size:
                self._verified.add(self.stored.id, self._stamp)

    def hash_of_blocks(self, offset: int, length: int, pace: Pace = _no_pace) -> bytes:
        """The SHA-1 of every block that the range touches, verified. Raises DamagedError, and what `pace` raises."""
        start, end = blockchecksums.aligned(self.stored.size, offset, length)
        sha1 = hashlib.sha1(usedforsecurity=False)
        for position in range(start, end, READ_SIZE):
            count = min(READ_SIZE, end - position)
            sha1.update(self._read(position, count))
            pace(count)
        return sha1.digest()

    def verify_all(self, pace: Pace) -> None:
        """Verify the whole body, against the object's own SHA-1 as well. Raises DamagedError."""
        if self.hash_of_blocks(0, self.stored.size, pace) != self.stored.sha1:
            raise DamagedError(self.stored)

    def _read(self, position: int, length: int) -> memoryview:
        """A range that begins and ends with a block, verified. Valid until the thread reads again."""
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
