"""CRC-32 of every block of 64 KiB of a body: a range is verified without reading the whole.

The SHA-1 that the protocol wants covers whole objects only. CRC-32 finds every burst of up to 32 bits and
all but one in 2^32 of other damage, and costs next to nothing beside SHA-1: anycrc's, which computes the same as
zlib's, runs at 20 GiB/s, zlib's at 4.5, SHA-1 at 1.6 (where this was written).
"""

from __future__ import annotations

import struct
from typing import Final

import anycrc  # type: ignore[import-untyped]

from haild.wire.chunk.messages import BLOCK_SIZE

ENTRY_SIZE: Final = 4
"""Bytes of one block's checksum in the encoded form."""

_crc32 = anycrc.Model("CRC32").calc
"""Of some bytes, and the value of those before them."""


class BlockChecksums:
    """Computes the checksums of a body that arrives in pieces."""

    def __init__(self) -> None:
        self._done = bytearray()  # encoded: a list of numbers would take ten times as much
        self._current = 0
        self._filled = 0

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Add the next bytes of the body."""
        view = memoryview(piece)
        while view:
            part = view[: BLOCK_SIZE - self._filled]
            self._current = _crc32(part, self._current)
            self._filled += len(part)
            if self._filled == BLOCK_SIZE:
                self._done += _encoded(self._current)
                self._current = self._filled = 0
            view = view[len(part) :]

    def encode(self) -> bytes:
        """Four bytes, little-endian, for each block of what has been added."""
        return bytes(self._done) + (_encoded(self._current) if self._filled else b"")


def _encoded(checksum: int) -> bytes:
    return checksum.to_bytes(ENTRY_SIZE, "little")


def block_count(size: int) -> int:
    """Blocks of a body of `size` bytes."""
    return -(-size // BLOCK_SIZE)


def aligned(size: int, offset: int, length: int) -> tuple[int, int]:
    """First and last byte (exclusive) of the whole blocks that a range of a body of `size` bytes touches."""
    start = offset - offset % BLOCK_SIZE
    end = min(size, -(-(offset + length) // BLOCK_SIZE) * BLOCK_SIZE)
    return start, end


def matches(checksums: bytes, offset: int, data: memoryview) -> bool:
    """Whether `data`, which begins at the block boundary `offset`, has the encoded `checksums`."""
    first = offset // BLOCK_SIZE
    count = block_count(len(data))
    if len(checksums) < (first + count) * ENTRY_SIZE:
        return False
    expected = struct.unpack_from(f"<{count}I", checksums, first * ENTRY_SIZE)
    return all(
        _crc32(data[start : start + BLOCK_SIZE]) == checksum
        for start, checksum in zip(range(0, len(data), BLOCK_SIZE), expected, strict=True)
    )
