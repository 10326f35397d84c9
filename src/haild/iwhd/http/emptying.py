"""The request of the stack's driver to discard everything (haild.wire.emptying), as iwhd answers it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from haild.daemon.emptying import admits
from haild.http.request import Request
from haild.http.server import HttpServer
from haild.wire import emptying as wire

_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}


class Wish:
    """One request at a time, between the connection it came on and the daemon that fulfils it."""

    def __init__(self, proof: str) -> None:
        """`proof`: what a request has to show."""
        self._proof = proof
        self._asking: Request | None = None
        self._empty = asyncio.Event()
        self._ended = asyncio.Event()
        self.asked = asyncio.Event()
        """Set while a request waits to be fulfilled."""

    async def handle(self, request: Request) -> None:
        """Answer one."""
        request.keep_alive = False
        if not admits(self._proof, request.headers.get(wire.HEADER)):
            request.respond(403, _TEXT, b"only the driver of this stack may do that\n")
            return
        if self._asking is not None:
            request.respond(503, _TEXT, b"being emptied\n")
            return
        self._asking = request
        self._empty.clear()
        self._ended.clear()
        self.asked.set()
        try:
            await self._empty.wait()
            request.start(200, _TEXT, None)
            await request.write(wire.EMPTIED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wire.LONGEST):
                    await request.body.wait_for_end()
        finally:
            self._asking = None
            self._ended.set()
        # In the next turn of the loop the daemon serves again.
        await asyncio.sleep(0)
        request.finish()

    async def cut_off_others(self, server: HttpServer) -> None:
        """Break all connections but that of the request; returns when none of their requests runs any more."""
        await server.cut_off_others(None if self._asking is None else self._asking.connection)

    async def fulfilled(self, stop: asyncio.Event) -> None:
        """Everything is discarded: say so, and return when requests may be served again."""
        self.asked.clear()
        self._empty.set()
        stopping = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            ended.cancel()
