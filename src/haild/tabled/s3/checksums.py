"""The checksums of the S3 API (S3 user guide, "Checking object integrity"; tabled.md 17.5)."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

import anycrc  # type: ignore[import-untyped]
import xxhash

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

SIZES: Final = {
    "crc32": 4,
    "crc32c": 4,
    "crc64nvme": 8,
    "sha1": 20,
    "sha256": 32,
    "sha512": 64,
    "md5": 16,
    "xxhash64": 8,
    "xxhash3": 8,
    "xxhash128": 16,
}
"""Bytes of each value."""
ALGORITHMS: Final = tuple(SIZES)
DEFAULT: Final = "crc64nvme"
"""What S3 makes of a body for which the client names none."""
HEADER_PREFIX: Final = "x-amz-checksum-"
TYPE_HEADER: Final = "x-amz-checksum-type"
TYPES: Final = ("COMPOSITE", "FULL_OBJECT")

_CRCS: Final = {
    "crc32": anycrc.Model("CRC32"),
    "crc32c": anycrc.Model("CRC32-ISCSI"),
    "crc64nvme": anycrc.Model("CRC64-NVME"),
}
"""By their names in the catalogue of parametrised CRC algorithms."""
COMBINABLE: Final = frozenset(_CRCS)
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


_FACTORIES: Final[dict[str, Callable[[], Checksum]]] = {
    **{name: partial(_Crc, name) for name in _CRCS},
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "xxhash64": xxhash.xxh64,
    "xxhash3": xxhash.xxh3_64,
    "xxhash128": xxhash.xxh3_128,
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


def well_formed(algorithm: str, value: str) -> bool:
    """Whether a text is a value of the algorithm, in base64."""
    try:
        return len(b64decode(value, validate=True)) == SIZES[algorithm]
    except (binascii.Error, ValueError):
        return False


def named(headers: Mapping[str, str], allow_composite: bool = False) -> dict[str, str]:
    """The checksum that x-amz-checksum-* headers name: algorithm and value. Raises InvalidRequest.

    `allow_composite`: the value may end in `-` and the number of parts.
    """
    found: dict[str, str] = {}
    for name in ALGORITHMS:
        text = headers.get(HEADER_PREFIX + name)
        if text is None:
            continue
        if not well_formed(name, text.partition("-")[0] if allow_composite else text):
            raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{name} header is invalid.")
        found[name] = text
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    return found


def algorithm_of(headers: Mapping[str, str], name: str = "x-amz-checksum-algorithm") -> str:
    """The algorithm that a header names, lower-case; empty without the header. Raises InvalidRequest."""
    algorithm = headers.get(name, "").lower()
    if algorithm and algorithm not in SIZES:
        raise S3Error(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(sorted(known.upper() for known in ALGORITHMS))}]",
        )
    return algorithm


def headers_of(checksum: Mapping[str, str]) -> dict[str, str]:
    """The headers that tell of a stored checksum, `type` among them."""
    return {HEADER_PREFIX + name: value for name, value in checksum.items()}


def elements_of(checksum: Iterable[tuple[str, str]]) -> str:
    """The elements of a document that tell of a stored checksum."""
    return "".join(
        s3xml.element("ChecksumType" if name == "type" else f"Checksum{name.upper()}", value)
        for name, value in checksum
    )


def stored_algorithm(checksum: Mapping[str, str]) -> str:
    """The algorithm of a stored checksum; empty if there is none."""
    return next((name for name in checksum if name != "type"), "")


def of_parts(algorithm: str, kind: str, values: list[tuple[bytes, int]]) -> str:
    """The value for an object of parts with these values and sizes. `kind` is COMPOSITE or FULL_OBJECT."""
    if kind == "FULL_OBJECT":
        whole = values[0][0]
        for value, size in values[1:]:
            whole = combine(algorithm, whole, value, size)
        return b64encode(whole).decode("ascii")
    composite = new(algorithm)
    composite.update(b"".join(value for value, _ in values))
    return f"{text(composite)}-{len(values)}"
