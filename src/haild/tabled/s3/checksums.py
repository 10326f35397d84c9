"""The checksums of the S3 API: crc32, crc32c, crc64nvme, sha1, sha256 (tabled.md 17.5)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Protocol

import anycrc  # type: ignore[import-untyped]

ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
HEADER_PREFIX = "x-amz-checksum-"
SIZES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""Bytes of each value."""

_CRCS = {
    "crc32": anycrc.Model("CRC32"),
    "crc32c": anycrc.Model("CRC32-ISCSI"),
    "crc64nvme": anycrc.Model("CRC64-NVME"),
}
"""By their names in the catalogue of parametrised CRC algorithms."""
COMBINABLE = frozenset(_CRCS)
"""Algorithms whose value for a whole follows from those of its parts."""


class Checksum(Protocol):
    """What hashlib's objects and the ones here have in common."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """The value so far, big-endian."""
        ...


class _Crc:
    def __init__(self, algorithm: str) -> None:
        self._size = SIZES[algorithm]
        self._continue = _CRCS[algorithm].calc
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._continue(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


_FACTORIES: dict[str, Callable[[], Checksum]] = {
    **{name: partial(_Crc, name) for name in _CRCS},
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


def new(algorithm: str) -> Checksum:
    """A fresh checksum of one of ALGORITHMS."""
    return _FACTORIES[algorithm]()


def text(checksum: Checksum) -> str:
    """The value as headers have it."""
    return b64encode(checksum.digest()).decode("ascii")


def combine(algorithm: str, first: bytes, second: bytes, second_length: int) -> bytes:
    """The checksum of a followed by b, from both checksums and the length of b in bytes; for COMBINABLE ones."""
    values = (int.from_bytes(value, "big") for value in (first, second))
    return int(_CRCS[algorithm].combine(*values, second_length)).to_bytes(SIZES[algorithm], "big")
