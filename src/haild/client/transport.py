"""What our HTTP clients share: sessions, uploads whose pieces are pushed, short answers (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import aiohttp

CONNECT_DEADLINE: Final = 5.0
"""Seconds until a connection must be there."""

IDLE_DEADLINE: Final = 60.0
"""Seconds that a service may be silent in the middle of an exchange."""

BLOCK: Final = 256 * 1024
"""Bytes read from a connection at a time."""

MAXIMUM_ANSWER: Final = 4 << 20
"""Bytes of an answer that is read whole."""

FAILURES: Final = (aiohttp.ClientError, OSError)
"""What aiohttp raises when the other side cannot be reached, goes silent (an OSError too) or breaks off."""

_T = TypeVar("_T")


class AnswerTooLongError(OSError):
    """An answer that is to be read whole is longer than it may be."""


class AnsweredEarlyError(OSError):
    """The service answered an upload before the body was complete."""


def open_session(idle_deadline: float = IDLE_DEADLINE) -> aiohttp.ClientSession:
    """A session that sends just the headers it is given and follows nothing; the deadline is in seconds."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE, sock_read=idle_deadline),
        auto_decompress=False,
        read_bufsize=BLOCK,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
    )


def authority_of(host: str, port: int) -> str:
    """Host and port as they are written in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: BaseException) -> str:
    """One line that says what happened."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


async def read_whole(response: aiohttp.ClientResponse) -> bytes:
    """The body of a short answer. Raises AnswerTooLongError, or one of FAILURES."""
    text = bytearray()
    async for block in response.content.iter_any():
        text += block
        if len(text) > MAXIMUM_ANSWER:
            raise AnswerTooLongError(f"an answer of more than {MAXIMUM_ANSWER} bytes")
    return bytes(text)


class PushedUpload(Generic[_T]):
    """An upload in steps: write() any number of times, then finish(), or abort() at any time.

    `send` is given the body and returns what finish() is to return; what it raises comes out of write() and
    finish().
    """

    def __init__(self, send: Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, _T]]) -> None:
        """Begins at once; must be made inside the event loop."""
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._request = asyncio.create_task(send(self._body()))
        self._request.add_done_callback(_retrieve)

    async def _body(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _hand_over(self, piece: bytes | None) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._pieces.put_nowait(piece)
            return
        handing = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({handing, self._request}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()

    async def write(self, piece: bytes) -> None:
        """Send `piece`; returns when there is room for more. Raises what ended the request meanwhile."""
        if self._request.done():
            await self._request
            raise AnsweredEarlyError("the service answered before the body was complete")
        if piece:
            await self._hand_over(piece)

    async def finish(self) -> _T:
        """End the body; returns once the service has acknowledged it."""
        if not self._request.done():
            await self._hand_over(None)
        return await self._request

    async def abort(self) -> None:
        """Break the connection: the service discards what it got."""
        self._request.cancel()
        await asyncio.wait({self._request})


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of an upload as seen: write() and finish() report it, an abort does not want it."""
    if not task.cancelled():
        task.exception()
