"""Sealing a body on its way to the storage nodes, and opening one on its way back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from haild.tabled.encryption import frames
from haild.tabled.metadata.records import StoredBody
from haild.tabled.s3.errors import S3Error

Read = Callable[[StoredBody, int, int], AsyncGenerator[bytes, None]]
"""The bytes of a stretch (offset, length) of a body as it is stored."""


async def sealed(key: bytes, length: int, pieces: AsyncIterator[frames.Piece]) -> AsyncIterator[bytes]:
    """The sealed form of `length` bytes that come in pieces.

    The last piece is given out only after the pieces have ended: they end in an error where a promise about them is
    broken, and then no node must have the whole of it.
    """
    sealer = frames.Sealer(key, length)
    held = b""
    async for piece in pieces:
        more = sealer.feed(piece)
        if more:
            if held:
                yield held
            held = more
    if last := sealer.finish():
        if held:
            yield held
        held = last
    if held:
        yield held


async def opened(read: Read, stored: StoredBody, key: bytes, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    """`length` > 0 bytes of plain text of an encrypted body from `offset` on. Raises S3Error (InternalError)."""
    total = frames.plain_length(stored.size)
    begin, size = frames.sealed_range(offset, length, total)
    first = begin // frames.SEALED_FRAME
    opener = frames.Opener(key, total, first)
    skip, left = offset - first * frames.FRAME, length
    try:
        async with contextlib.aclosing(read(stored, begin, size)) as pieces:
            async for piece in pieces:
                plain = opener.feed(piece)
                if skip or len(plain) > left:
                    plain, skip = plain[skip : skip + left], max(0, skip - len(plain))
                if plain:
                    left -= len(plain)
                    yield plain
        rest = opener.finish()[skip : skip + left]
        if rest:
            yield rest
    except frames.DamagedFrameError as error:
        raise S3Error("InternalError", f"The stored body is damaged: {error}.") from None


def open_small(key: bytes, content: bytes) -> bytes:
    """The plain text of a whole encrypted body. Raises S3Error (InternalError)."""
    try:
        return frames.unseal(key, content)
    except frames.DamagedFrameError as error:
        raise S3Error("InternalError", f"The stored body is damaged: {error}.") from None
