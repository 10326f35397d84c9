"""The checksums of the S3 API: crc32, crc32c, crc64nvme, sha1, sha256 (tabled.md 17.5)."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

CRC32C = (32, 0x82F63B78)
CRC64NVME = (64, 0x9A6C9329AC4BC9B5)
"""Width and reflected polynomial."""

ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
HEADER_PREFIX = "x-amz-checksum-"


class Checksum(Protocol):
    """What hashlib's objects and the ones here have in common."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """The value so far, big-endian."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@lru_cache
def _tables(width: int, polynomial: int) -> list[list[int]]:
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(width // 8 - 1):
        tables.append([value >> 8 ^ first[value & 255] for value in tables[-1]])
    return tables


class _TableCrc:
    """A reflected CRC from tables, a word at a time. Pure Python: some MB/s."""

    def __init__(self, width: int, polynomial: int) -> None:
        self._bytes = width // 8
        self._mask = (1 << width) - 1
        self._value = self._mask
        self._tables = _tables(width, polynomial)

    def update(self, data: bytes | memoryview, /) -> None:
        step, tables, value = self._bytes, self._tables, self._value
        whole = len(data) - len(data) % step
        backwards = tables[::-1]
        for start in range(0, whole, step):
            word = value ^ int.from_bytes(data[start : start + step], "little")
            value = 0
            for table in backwards:
                value ^= table[word & 255]
                word >>= 8
        for byte in data[whole:]:
            value = value >> 8 ^ tables[0][(value ^ byte) & 255]
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._mask).to_bytes(self._bytes, "big")


_FACTORIES: dict[str, Callable[[], Checksum]] = {
    "crc32": _Crc32,
    "crc32c": lambda: _TableCrc(*CRC32C),
    "crc64nvme": lambda: _TableCrc(*CRC64NVME),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
SIZES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""Bytes of each value."""


def new(algorithm: str) -> Checksum:
    """A fresh checksum of one of ALGORITHMS."""
    return _FACTORIES[algorithm]()


def text(checksum: Checksum) -> str:
    """The value as headers have it."""
    return b64encode(checksum.digest()).decode("ascii")
