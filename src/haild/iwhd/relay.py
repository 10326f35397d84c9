"""Passes a body from one connection on to another inside the system, by splice(2): no byte of it is copied here.

Measured with 64 MiB through an S3 service: 30 to 40 ms of processor time, where copying took 50 to 60.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import Final

from aiohttp import web

from haild.iwhd.provider.base import UnavailableError

SMALLEST: Final = 4 << 20
"""Bytes of a body from which on this pays: it costs a pipe and the connection, which cannot be used again."""

PIPE: Final = 1 << 20
"""Bytes asked for at a time, and the size of the pipe in between; an unprivileged user has 64 MiB for all pipes."""

POSSIBLE: Final = hasattr(os, "splice")
"""Only Linux has it; elsewhere bodies are copied."""

_FLAGS: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE if POSSIBLE else 0


async def relay(request: web.BaseRequest, source: int, count: int, *, chunked: bool, deadline: float) -> None:
    """Send `count` bytes from the non-blocking socket `source` as the next part of the answer to `request`.

    With `chunked` they are framed (RFC 9112, 7.1). Raises UnavailableError if the source breaks off, and OSError if
    the client is gone (TimeoutError: takes nothing); `deadline` is how many seconds either may stand still.
    """
    transport = request.transport
    if not isinstance(transport, asyncio.WriteTransport):
        raise ConnectionResetError("the client is gone")
    # Nothing may wait in the transport while we write past it: drain() is to mean empty.
    transport.set_write_buffer_limits(0)
    with contextlib.ExitStack() as stack:
        stack.callback(transport.set_write_buffer_limits)
        sink = os.dup(transport.get_extra_info("socket").fileno())
        stack.callback(os.close, sink)
        outlet, inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, inlet)
        stack.callback(os.close, outlet)
        with contextlib.suppress(OSError):  # the user has no more room for pipes: a small one does
            fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIPE)
        ended = b""
        while count:
            received = await _taken(source, inlet, min(count, PIPE), deadline)
            count -= received
            if chunked:
                transport.write(b"%b%x\r\n" % (ended, received))
                ended = b"\r\n"
            if transport.get_write_buffer_size():
                async with asyncio.timeout(deadline):
                    await request.writer.drain()
            while received:
                received -= await _passed_on(outlet, sink, received, deadline)
            await asyncio.sleep(0)  # two fast sides must not keep all others waiting
        transport.write(ended)


async def _taken(source: int, inlet: int, count: int, deadline: float) -> int:
    """Move at most `count` bytes into the empty pipe; returns how many. Raises UnavailableError."""
    try:
        while True:
            try:
                taken = os.splice(source, inlet, count, flags=_FLAGS)
                break
            except BlockingIOError:
                await _ready(source, deadline, writing=False)
    except OSError as error:
        raise UnavailableError(f"a body broke off: {error or 'silence'}") from error
    if not taken:
        raise UnavailableError(f"a body broke off, {count} or more bytes before its end")
    return taken


async def _passed_on(outlet: int, sink: int, count: int, deadline: float) -> int:
    """Move at most `count` bytes out of the pipe; returns how many. Raises OSError, TimeoutError among them."""
    while True:
        try:
            return os.splice(outlet, sink, count, flags=_FLAGS)
        except BlockingIOError:
            await _ready(sink, deadline, writing=True)


async def _ready(descriptor: int, deadline: float, *, writing: bool) -> None:
    """Wait until a descriptor can be read from or written to. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    watch, forget = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    watch(descriptor, _set, ready)
    try:
        async with asyncio.timeout(deadline):
            await ready
    finally:
        forget(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
