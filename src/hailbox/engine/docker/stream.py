"""Streams that an engine sends piece by piece: lines, and frames of output and errors.

The package has readers of frames, too. They lose what comes in one packet with the head of an upgraded connection,
and take a stream that was cut short for one that ended.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, Final

_HEADER: Final = struct.Struct(">BxxxI")
"""1 output or 2 errors, and the length of what follows in bytes (Engine API, "Stream format")."""
_ERRORS: Final = 2
_BLOCK: Final = 1 << 16


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream as they come, without their ends."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


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


def files_of(archive: bytes) -> dict[str, bytes]:
    """The files in an archive (tar) of a directory, by their path in it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        # Every path begins with the last part of the directory's.
        return {
            member.name.partition("/")[2]: content.read()
            for member in tar
            if member.isfile() and (content := tar.extractfile(member)) is not None
        }


def output(answer: Any) -> Iterator[bytes]:
    """What a command prints, as it comes, less its errors; `answer` is an answer of the HTTP library.

    Not by its `iter_content`, which waits for the end of an answer that has no length and is not chunked.
    """
    pieces = iter(lambda: answer.raw.read1(_BLOCK), b"")
    yield from (content for is_error, content in frames(pieces) if not is_error)
