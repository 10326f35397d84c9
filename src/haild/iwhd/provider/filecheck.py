"""Bodies in files, verified before they are sent: a damaged block is an error, never content.

Only the blocks that are sent are read for it, just before, so that the system has them in memory when it copies them
to the connection. A whole file that was found good is trusted for VERIFIED_FOR seconds while nothing changes it.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import BinaryIO, Final

from haild.iwhd.provider.base import DamagedError, Expected
from haild.wire import blockchecksums

VERIFIED_FOR: Final = 300.0
"""Seconds that the result of a verification holds."""

REMEMBERED: Final = 1024
"""Files whose verification is remembered."""

_BLOCK: Final = 1 << 20

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, times of the last change of content and of anything else: another stamp, another file."""


class Verifications:
    """Which files of a provider were found good, and when."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Stamp, bytes], float] = OrderedDict()

    def holds(self, stamp: Stamp, sums: bytes) -> bool:
        """Whether a file with this stamp was found to have these checksums a short time ago."""
        return time.monotonic() < self._known.get((stamp, sums), 0.0)

    def note(self, stamp: Stamp, sums: bytes) -> None:
        """The file with this stamp has these checksums."""
        self._known[stamp, sums] = time.monotonic() + VERIFIED_FOR
        self._known.move_to_end((stamp, sums))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class FileCheck:
    """The check of one open file. `what` names body and place in the text of a DamagedError."""

    def __init__(self, file: BinaryIO, expected: Expected, what: str, verifications: Verifications) -> None:
        """Raises DamagedError if the size is wrong already."""
        self._file = file
        self._what = what
        self._sums = expected.sums
        self._afresh = expected.afresh
        self._verifications = verifications
        status = os.fstat(file.fileno())
        self._size = status.st_size
        self._stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._good = 0
        if self._size != expected.size:
            raise DamagedError(f"{what} is damaged: it has {self._size} bytes in place of {expected.size}")

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to check."""
        return self._sums is not None and (self._afresh or not self._verifications.holds(self._stamp, self._sums))

    def __call__(self, offset: int, count: int) -> None:
        """Raises DamagedError unless the `count` bytes from `offset` on are what was put. Reads the file."""
        if self._sums is None:
            return
        start, end = blockchecksums.aligned(self._size, offset, count)
        for position in range(start, end, _BLOCK):
            data = os.pread(self._file.fileno(), min(_BLOCK, end - position), position)
            if not blockchecksums.matches(self._sums, position, memoryview(data)):
                raise DamagedError(f"{self._what} is damaged: a block after byte {position} is not what was put")
        if start <= self._good:
            self._good = max(self._good, end)
        if self._good >= self._size:
            self._verifications.note(self._stamp, self._sums)
