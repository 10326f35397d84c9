"""Bodies of requests: streamed, or collected up to a limit; slow clients time out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from haild.wire.iwhd.form import Form, parse

IDLE_DEADLINE: Final = 30.0
"""Seconds that a client may be silent in the middle of a body."""

MAXIMUM_COLLECTED: Final = 4 << 20
"""Bytes of a form, an attribute or a query."""

_SMALL: Final = 64 * 1024
_LARGE_AT_A_TIME: Final = 8


class BodyTooLargeError(Exception):
    """The body of a request is longer than it may be."""


class SlowClientError(Exception):
    """The client stopped sending in the middle of a body."""


class BodyReader:
    """Reads the bodies of all requests of a daemon, few large ones at a time, so that memory stays bounded."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(_LARGE_AT_A_TIME)

    async def pieces(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises SlowClientError, and what aiohttp raises for a bad or broken body."""
        await _let_continue(request)
        # Pieces as they came, not joined, unless the client chose them: those may be tiny.
        joined = request.content_length is None
        while True:
            try:
                async with asyncio.timeout(IDLE_DEADLINE):
                    piece = await request.content.readany() if joined else (await request.content.readchunk())[0]
            except TimeoutError as error:
                raise SlowClientError(f"silent for {IDLE_DEADLINE:.0f} s") from error
            if not piece:
                return
            yield piece

    async def collected(self, request: web.BaseRequest) -> bytes:
        """The whole body. Raises BodyTooLargeError, else as pieces() does."""
        length = request.content_length
        if length is not None and length > MAXIMUM_COLLECTED:
            raise BodyTooLargeError
        if length is not None and length <= _SMALL:
            return await self._collect(request)
        async with self._large:
            return await self._collect(request)

    async def _collect(self, request: web.BaseRequest) -> bytes:
        body = bytearray()
        async for piece in self.pieces(request):
            body += piece
            if len(body) > MAXIMUM_COLLECTED:
                raise BodyTooLargeError
        return bytes(body)

    async def form(self, request: web.BaseRequest) -> Form:
        """The posted form. Raises FormTypeError, FormError, else as collected() does."""
        return parse(request.headers.get("Content-Type", ""), await self.collected(request))


def expects_continue(request: web.BaseRequest) -> bool:
    """Whether the client waits to be asked for the body: it sends none if it gets an answer first."""
    expectation = request.headers.get("Expect", "").lower()
    waits = expectation == "100-continue" and request.version >= HttpVersion11
    return waits and not request.content.total_bytes


async def _let_continue(request: web.BaseRequest) -> None:
    """Ask a client that waits for it to send the body (RFC 9110, 10.1.1)."""
    if expects_continue(request):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The writer counts this as part of the answer, which has not begun.
        request.writer.output_size = 0
