"""The request of the stack's driver to discard everything (haild.wire.emptying), as iwhd answers it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from aiohttp import web

from haild.daemon.emptying import admits
from haild.wire import emptying as wire

_CUT: float = 0.01
"""Seconds that requests under way get: aiohttp takes 0 for ever."""


class Wish:
    """One request at a time, between the connection it came on and the daemon that fulfils it."""

    def __init__(self, proof: str) -> None:
        """`proof`: what a request has to show."""
        self._proof = proof
        self._asking: web.BaseRequest | None = None
        self._empty = asyncio.Event()
        self._ended = asyncio.Event()
        self.asked = asyncio.Event()
        """Set while a request waits to be fulfilled."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one."""
        if not admits(self._proof, request.headers.get(wire.HEADER)):
            return web.Response(status=403, text="only the driver of this stack may do that\n")
        if self._asking is not None:
            return web.Response(status=503, text="being emptied\n")
        self._asking = request
        self._empty.clear()
        self._ended.clear()
        self.asked.set()
        try:
            await self._empty.wait()
            response = web.StreamResponse()
            response.force_close()
            await response.prepare(request)
            await response.write(wire.EMPTIED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wire.LONGEST):
                    await request.content.read()
        finally:
            self._asking = None
            self._ended.set()
        # In the next turn of the loop the daemon serves again.
        await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def cut_off_others(self, connections: Sequence[web.RequestHandler]) -> None:
        """Break all connections but that of the request; returns when none of their requests runs any more."""
        kept = None if self._asking is None else self._asking.protocol
        others = [each for each in connections if each is not kept]
        await asyncio.gather(*(each.shutdown(_CUT) for each in others))

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
