"""The request of the stack's driver to discard everything (haild.wire.emptying), as tabled answers it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from typing import Final

from haild.daemon.emptying import admits
from haild.http.request import Request
from haild.tabled.group.role import Role
from haild.tabled.http.server import S3Server
from haild.tabled.metadata.port import SupersededError
from haild.wire import emptying as wire

logger = logging.getLogger(__name__)
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}


class Emptying:
    """Answers such requests."""

    def __init__(self, proof: str, role: Role, server: S3Server) -> None:
        """`proof`: what a request has to show."""
        self._proof = proof
        self._role = role
        self._server = server

    async def handle(self, request: Request) -> None:
        """Answer one: refuse it, or discard everything and serve again once the client lets us."""
        request.keep_alive = False
        if not admits(self._proof, request.headers.get(wire.HEADER)):
            request.respond(403, _TEXT, b"only the driver of this stack may do that\n")
            return
        try:
            emptied = await self._role.empty(request.connection)
        except (OSError, sqlite3.Error, SupersededError) as error:
            logger.exception("cannot be emptied")
            request.respond(500, _TEXT, f"{error}\n".encode())
            return  # every request is answered 503 from now on, until a healing `up` starts this process again
        if emptied is None:
            request.respond(503, _TEXT, b"not the master\n")
            return
        master, services = emptied
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                request.start(200, _TEXT, None)
                await request.write(wire.EMPTIED)
                async with asyncio.timeout(wire.LONGEST):
                    await request.body.wait_for_end()
        finally:
            if self._role.master is master:
                self._server.serve(services)
        request.finish()
