"""Answers: what a handler returns, and how it is sent (iwhd.md 4.1).

Lists and bodies are chunked for HTTP/1.1 and end with the connection for 1.0; all else has a length.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from aiohttp import web
from aiohttp.http import HttpVersion11

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


async def send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send `reply`; returns what was sent. Raises OSError if the client is gone or too slow.

    What ends a body early is raised; the connection must then be broken, so that the client notices.
    """
    try:
        if isinstance(reply.content, bytes):
            return await _send_whole(request, reply, reply.content)
        if request.method == "HEAD":
            return await _send_head(request, reply)
        response = _response(reply)
        if reply.status == 206:
            response.content_length = reply.length
        elif request.version < HttpVersion11:
            # Only the end of the connection ends such an answer, even if the client asked to keep it.
            response.force_close()
        await _deadline(response.prepare(request))
        if isinstance(reply.content, Body):
            await _send_body(request, response, reply.content)
        else:
            async for piece in reply.content:
                await _deadline(response.write(piece))
        await _deadline(response.write_eof())
        return response
    finally:
        if isinstance(reply.content, AsyncGenerator):
            await reply.content.aclose()
        if reply.resources is not None:
            await reply.resources.aclose()


def _response(reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Server": "iwhd", **reply.headers})
    if reply.content_type:
        response.headers["Content-Type"] = reply.content_type
    if reply.close:
        response.force_close()
    return response


async def _deadline(action: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(WRITE_DEADLINE):
            await action
    except TimeoutError as error:
        raise ConnectionResetError("the client does not read") from error


async def _send_whole(request: web.BaseRequest, reply: Reply, content: bytes) -> web.StreamResponse:
    response = _response(reply)
    response.content_length = len(content)
    await _deadline(response.prepare(request))
    if content and request.method != "HEAD":
        await _deadline(response.write(content))
    await _deadline(response.write_eof())
    return response


async def _send_head(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = _response(reply)
    response.content_length = reply.length
    await _deadline(response.prepare(request))
    await _deadline(response.write_eof())
    return response


async def _send_body(request: web.BaseRequest, response: web.StreamResponse, body: Body) -> None:
    if body.file is not None and body.size is not None:
        await _send_file(request, response, body, body.file, body.size)
        return
    size = body.size or 0
    if size >= SMALLEST and splice.can_take(request.transport) and (detached := body.detach()):
        await _send_relayed(request, response, size, *detached)
        return
    sent = 0
    async for block in body.blocks:
        sent += len(block)
        await _deadline(response.write(block))
    if body.size is not None and sent != body.size:
        raise UnavailableError(f"the provider sent {sent} of {body.size} bytes")


async def _send_relayed(
    request: web.BaseRequest, response: web.StreamResponse, size: int, begun: bytes, source: int
) -> None:
    """Let the system pass the body on from the connection `source` to the client's."""
    try:
        request.writer.send_headers()
        chunked = _is_chunked(request, response)
        if begun and request.transport is not None:
            head, tail = (b"%x\r\n" % len(begun), b"\r\n") if chunked else (b"", b"")
            request.transport.write(head + begun + tail)
        await splice.splice(
            source,
            request.transport,
            size - len(begun),
            source_deadline=WRITE_DEADLINE,
            deadline=WRITE_DEADLINE,
            chunked=chunked,
        )
    except splice.BrokenSourceError as error:
        raise UnavailableError(f"a body broke off: {error}") from error
    except TimeoutError as error:
        raise ConnectionResetError("the client does not read") from error
    finally:
        os.close(source)


def _is_chunked(request: web.BaseRequest, response: web.StreamResponse) -> bool:
    return response.content_length is None and request.version >= HttpVersion11


async def _send_file(
    request: web.BaseRequest, response: web.StreamResponse, body: Body, file: BinaryIO, size: int
) -> None:
    """Let the system copy a part of the file to the connection; we only frame the chunks (RFC 9112, 7.1)."""
    loop = asyncio.get_running_loop()
    request.writer.send_headers()
    chunked = _is_chunked(request, response)
    for offset in range(body.offset, body.offset + size, SEGMENT):
        count = min(SEGMENT, body.offset + size - offset)
        if body.check is not None:
            await asyncio.to_thread(body.check, offset, count)
        transport = request.transport
        if transport is None or not isinstance(transport, asyncio.WriteTransport):
            raise ConnectionResetError("the client is gone")
        if chunked:
            transport.write(b"%x\r\n" % count)
        await _deadline(loop.sendfile(transport, file, offset, count))
        if chunked:
            transport.write(b"\r\n")
