"""The stream in which an engine sends standard output and error of a command (Engine API, "Stream format").

Each frame: a byte that says which of them (1 output, 2 errors), three zero bytes, the length in four bytes,
big-endian, and that many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

_HEADER: Final = struct.Struct(">BxxxI")
_ERRORS: Final = 2


def frames(pieces: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The content of each frame as it comes, and whether it is errors. Raises ValueError at an end inside a frame."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(waiting)
            end = _HEADER.size + length
            if len(waiting) < end:
                break
            yield kind == _ERRORS, bytes(waiting[_HEADER.size : end])
            del waiting[:end]
    if waiting:
        raise ValueError("the engine's stream ends inside a frame")


def separate(pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Output and errors out of a whole stream. Raises ValueError where it ends inside a frame."""
    collected = {False: bytearray(), True: bytearray()}
    for is_error, content in frames(pieces):
        collected[is_error] += content
    return bytes(collected[False]), bytes(collected[True])
