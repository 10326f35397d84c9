"""The stream in which an engine sends standard output and error of a command (Engine API, "Stream format").

Each frame: a byte that says which of them (1 output, 2 errors), three zero bytes, the length in four bytes,
big-endian, and that many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

_HEADER: Final = struct.Struct(">BxxxI")
_ERRORS: Final = 2


def separate(pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Output and errors out of a whole stream. Raises ValueError where it ends inside a frame."""
    stream = b"".join(pieces)
    collected = {False: bytearray(), True: bytearray()}
    position = 0
    while position < len(stream):
        if len(stream) < position + _HEADER.size:
            raise ValueError("the engine's stream ends inside the head of a frame")
        kind, length = _HEADER.unpack_from(stream, position)
        position += _HEADER.size
        if len(stream) < position + length:
            raise ValueError("the engine's stream ends inside a frame")
        collected[kind == _ERRORS] += stream[position : position + length]
        position += length
    return bytes(collected[False]), bytes(collected[True])
