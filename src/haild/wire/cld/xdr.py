"""XDR (RFC 4506), as much of it as CLD's packets need: unsigned integers and counted bytes.

Everything is big-endian and padded with zeros to a multiple of 4 bytes. Padding is not checked on input:
the reference's decoder does not check it either.
"""

from __future__ import annotations

import struct
from typing import Final

_WORD: Final = struct.Struct(">I")
_HYPER: Final = struct.Struct(">Q")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


class XdrError(ValueError):
    """The bytes do not hold a value of the wanted type."""


def word(value: int) -> bytes:
    """Encode an unsigned int, enum or bit set of 32 bits."""
    return _WORD.pack(value)


def hyper(value: int) -> bytes:
    """Encode an unsigned integer of 64 bits."""
    return _HYPER.pack(value)


def opaque(value: bytes) -> bytes:
    """Encode `opaque<>` or `string<>`: a count, the bytes, padding."""
    return _WORD.pack(len(value)) + value + _PADDING[len(value) & 3]


class Decoder:
    """Reads values one after the other. Every method raises XdrError where the bytes end too early."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def word(self) -> int:
        """An unsigned int, enum or bit set of 32 bits."""
        try:
            (value,) = _WORD.unpack_from(self.data, self.offset)
        except struct.error as error:
            raise XdrError("cut short in a word") from error
        self.offset += 4
        return int(value)

    def hyper(self) -> int:
        """An unsigned integer of 64 bits."""
        try:
            (value,) = _HYPER.unpack_from(self.data, self.offset)
        except struct.error as error:
            raise XdrError("cut short in a hyper") from error
        self.offset += 8
        return int(value)

    def fixed(self, size: int) -> bytes:
        """`size` bytes without a count; `size` is a multiple of 4."""
        value = self.data[self.offset : self.offset + size]
        if len(value) != size:
            raise XdrError("cut short in fixed bytes")
        self.offset += size
        return value

    def opaque(self, maximum: int) -> bytes:
        """`opaque<maximum>` or `string<maximum>`. Raises XdrError also where the count is above `maximum`."""
        size = self.word()
        if size > maximum:
            raise XdrError(f"{size} bytes where at most {maximum} are allowed")
        padded = size + (-size & 3)
        if len(self.data) - self.offset < padded:
            raise XdrError("cut short in counted bytes")
        value = self.data[self.offset : self.offset + size]
        self.offset += padded
        return value
