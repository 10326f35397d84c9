"""Has the daemons of a stack discard all that they keep (haild.wire.emptying), in the order that leaves no halves.

The services whose metadata name what others keep come first, and answer no client until the others are empty, too. So
whenever this is cut off, what is left has no name that leads to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from haild.client.chunk.connection import ChunkError, Connection
from haild.client.cld import CldError, Session
from haild.wire import emptying as wire

DAEMONS: Final = ("/chunk-default", "/tabled-default")
"""The directories in cld in which the daemons of a stack have their files."""
_ORDER: Final = ("iwhd", "tabled")
"""Those that speak HTTP, in the order in which they have to be emptied."""
_MOST: Final = 4096
"""Bytes of an answer."""


class NotEmptiedError(Exception):
    """A daemon refused, or did not answer as it should. What it keeps now is not known."""


@dataclass(frozen=True)
class Place:
    """One daemon, and where it listens."""

    replica: str
    service: str
    host: str
    port: int


async def empty(places: Sequence[Place], secret: str, deadline: float) -> None:
    """Empty all daemons in `places`; returns when all of them serve again.

    deadline: seconds for all together. Raises NotEmptiedError that names the daemon.
    """
    try:
        async with asyncio.timeout(deadline), contextlib.AsyncExitStack() as held:
            waiting: list[_Held] = []
            for service in _ORDER:
                group = [_Held(place, secret) for place in places if place.service == service]
                for each in group:
                    held.callback(each.close)
                await asyncio.gather(*(each.begin() for each in group))
                waiting += group
            await asyncio.gather(
                *(_other(place, secret, deadline) for place in places if place.service not in _ORDER)
            )
            for each in reversed(waiting):
                await each.go_on()
    except TimeoutError as error:
        raise NotEmptiedError(f"not all services were empty after {deadline:g} s") from error


async def _other(place: Place, secret: str, deadline: float) -> None:
    proof = wire.proof(secret, place.service)
    try:
        if place.service == "chunkd":
            await Connection.empty_node(place.host, place.port, proof, deadline)
        elif place.service == "cld":
            await _empty_cld(place, proof, deadline)
        else:
            raise NotEmptiedError(f"{place.replica} is of a service that cannot be emptied")
    except (ChunkError, CldError, OSError, EOFError) as error:
        raise NotEmptiedError(f"{place.replica}: {error}") from error


async def _empty_cld(place: Place, proof: str, deadline: float) -> None:
    user = wire.CLD_USER.decode()
    session = await Session.connect(
        place.host, place.port, user=user, secret=proof.encode(), transport="tcp", deadline=deadline
    )
    try:
        await session.empty(DAEMONS)
    finally:
        await session.end()


class _Held:
    """A daemon with HTTP: emptied by `begin`, it serves no client until `go_on`, or the end of the connection."""

    def __init__(self, place: Place, secret: str) -> None:
        self._place = place
        self._secret = secret
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def begin(self) -> None:
        place = self._place
        headers = {"Host": f"localhost:{place.port}", **wire.request_headers(self._secret, place.service)}
        lines = [f"POST {wire.PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        try:
            self._reader, self._writer = await asyncio.open_connection(place.host, place.port)
            self._writer.write("\r\n".join(lines).encode("ascii"))
            head = await self._reader.readuntil(b"\r\n\r\n")
            if head.split(maxsplit=2)[1:2] != [b"200"]:
                raise NotEmptiedError(f"{place.replica} refused: {head.splitlines()[0].decode('latin-1')}")
            await self._reader.readuntil(wire.EMPTIED)
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise NotEmptiedError(f"{place.replica}: {error}") from error

    async def go_on(self) -> None:
        assert self._writer is not None  # noqa: S101 - `begin` came first
        try:
            self._writer.write(wire.GO_ON)
            while await self._reader.read(_MOST):
                pass
        except OSError as error:
            raise NotEmptiedError(f"{self._place.replica}: {error}") from error

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
