"""Answers: what a handler returns, and how it is sent (iwhd.md 4.1).

Lists and bodies are chunked for HTTP/1.1 and end with the connection for 1.0; all else has a length.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from haild.http.request import ClientGoneError, Request
from haild.iwhd.provider.base import Body, UnavailableError
from haild.transfer import splice

WRITE_DEADLINE: Final = 60.0
"""Seconds that a client may take for one piece of an answer."""

SEGMENT: Final = 1 << 20
"""Bytes of a file sent at a time; one chunk each."""

SMALLEST: Final = 4 << 20
"""Bytes of a body from which on splicing pays: the connection it comes on cannot be used again."""


@dataclass(slots=True)
class Reply:
    """An answer. `content` is whole, or comes in pieces, or is a body open in `resources`.

    `close` ends the connection after it. `length` is told to HEAD, and of a part (206); a whole body is chunked.
    """

    status: int = 200
    content: bytes | AsyncIterator[bytes] | Body = b""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False
    length: int | None = None
    resources: contextlib.AsyncExitStack | None = None


def text(content: str, content_type: str = "text/plain; charset=utf-8", status: int = 200) -> Reply:
    """An answer of a known text."""
    return Reply(status, content.encode(), content_type)


def pieces(parts: Iterable[str], content_type: str) -> Reply:
    """An answer that is streamed although its parts are at hand."""

    async def encoded() -> AsyncIterator[bytes]:
        yield "".join(parts).encode()

    return Reply(200, encoded(), content_type)


async def send(request: Request, reply: Reply) -> None:
    """Send `reply`. Raises ConnectionError if the client is gone or too slow.

    What ends a body early is raised; the connection must then be broken, so that the client notices.
    """
    headers = {"Server": "iwhd", **reply.headers}
    if reply.content_type:
        headers["Content-Type"] = reply.content_type
    if reply.close:
        request.keep_alive = False
    try:
        if isinstance(reply.content, bytes):
            request.respond(reply.status, headers, reply.content)
            await request.drain()
            return
        if request.method == "HEAD":
            request.start(reply.status, headers, reply.length)
        else:
            request.start(reply.status, headers, reply.length if reply.status == 206 else None)
            if isinstance(reply.content, Body):
                await _send_body(request, reply.content)
            else:
                async for piece in reply.content:
                    await request.write(piece)
        request.finish()
    except TimeoutError as error:
        raise ClientGoneError("the client does not read") from error
    finally:
        if isinstance(reply.content, AsyncGenerator):
            await reply.content.aclose()
        if reply.resources is not None:
            await reply.resources.aclose()


async def _send_body(request: Request, body: Body) -> None:
    if body.file is not None and body.size is not None:
        await _send_file(request, body, body.file, body.size)
        return
    size = body.size or 0
    if size >= SMALLEST and splice.can_take(request.transport) and (detached := body.detach()):
        await _send_relayed(request, size, *detached)
        return
    sent = 0
    async for block in body.blocks:
        sent += len(block)
        await request.write(block)
    if body.size is not None and sent != body.size:
        raise UnavailableError(f"the provider sent {sent} of {body.size} bytes")


async def _send_relayed(request: Request, size: int, begun: bytes, source: int) -> None:
    """Let the system pass the body on from the connection `source` to the client's."""
    try:
        await request.write(begun)
        request.send_head()
        await splice.splice(
            source,
            request.transport,
            size - len(begun),
            source_deadline=WRITE_DEADLINE,
            deadline=WRITE_DEADLINE,
            chunked=request.chunked,
        )
        request.count(size - len(begun))
    except splice.BrokenSourceError as error:
        raise UnavailableError(f"a body broke off: {error}") from error
    finally:
        os.close(source)


async def _send_file(request: Request, body: Body, file: BinaryIO, size: int) -> None:
    """Let the system copy a part of the file to the connection."""
    for offset in range(body.offset, body.offset + size, SEGMENT):
        count = min(SEGMENT, body.offset + size - offset)
        if body.check is not None:
            await asyncio.to_thread(body.check, offset, count)
        await request.send_file(file, offset, count)
