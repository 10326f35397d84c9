"""Bodies of requests: streamed, or collected up to a limit; slow clients time out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from haild.http.request import Request
from haild.wire.iwhd.form import Form, parse

IDLE_DEADLINE: Final = 30.0
"""Seconds that a client may be silent in the middle of a body."""

MAXIMUM_COLLECTED: Final = 4 << 20
"""Bytes of a form, an attribute or a query."""

_SMALL: Final = 64 * 1024
_LARGE_AT_A_TIME: Final = 8

IN_BLOCKS: Final = 1 << 17
"""Bytes of a body from which on it pays to receive it in blocks."""
FEW: Final = 32
LARGE_BLOCK: Final = 256 * 1024
SMALL_BLOCK: Final = 64 * 1024
"""Bytes of a body that are received at a time; only a few bodies at once come in large blocks."""


class BodyTooLargeError(Exception):
    """The body of a request is longer than it may be."""


class SlowClientError(Exception):
    """The client stopped sending in the middle of a body."""


class BodyReader:
    """Reads the bodies of all requests of a daemon, few large ones at a time, so that memory stays bounded."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(_LARGE_AT_A_TIME)
        self._under_way = 0

    async def pieces(self, request: Request) -> AsyncIterator[bytes | memoryview]:
        """The body as it arrives. Raises SlowClientError, and what Body.read raises of a bad or broken body."""
        request.ask_for_body()
        if request.length is not None and request.length >= IN_BLOCKS:
            request.body.in_blocks(self._block)
        self._under_way += 1
        try:
            while piece := await _next_piece(request):
                yield piece
        finally:
            self._under_way -= 1

    def _block(self) -> int:
        return LARGE_BLOCK if self._under_way <= FEW else SMALL_BLOCK

    async def collected(self, request: Request) -> bytes:
        """The whole body. Raises BodyTooLargeError, else as pieces() does."""
        length = request.length
        if length is not None and length > MAXIMUM_COLLECTED:
            raise BodyTooLargeError
        if length is not None and length <= _SMALL:
            return await self._collect(request)
        async with self._large:
            return await self._collect(request)

    async def _collect(self, request: Request) -> bytes:
        body = bytearray()
        async for piece in self.pieces(request):
            body += piece
            if len(body) > MAXIMUM_COLLECTED:
                raise BodyTooLargeError
        return bytes(body)

    async def form(self, request: Request) -> Form:
        """The posted form. Raises FormTypeError, FormError, else as collected() does."""
        return parse(request.headers.get("Content-Type", ""), await self.collected(request))


async def _next_piece(request: Request) -> bytes | memoryview:
    try:
        async with asyncio.timeout(IDLE_DEADLINE):
            return await request.body.read()
    except TimeoutError as error:
        raise SlowClientError(f"silent for {IDLE_DEADLINE:.0f} s") from error
