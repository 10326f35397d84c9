"""Uploads to services that make a body visible when they have its last byte: that is held back until publish()."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

from haild.iwhd.provider.base import Upload


class Push(Protocol):
    """A request whose body is pushed piece by piece, as the clients of haild.client have it."""

    async def write(self, piece: bytes) -> None:
        """Send a piece."""

    async def finish(self) -> object:
        """End the body and wait for the acknowledgement."""

    async def abort(self) -> None:
        """Break the connection."""


class HeldBackUpload(Upload):
    """Begins its request when there is a second piece, or at publish(): an empty body is complete from the start.

    `translated` turns the errors of the client into those of a provider; `token` is what prepare() returns.
    """

    def __init__(
        self, start: Callable[[], Awaitable[Push]], translated: Callable[[], AbstractContextManager[None]], token: str
    ) -> None:
        self._start = start
        self._translated = translated
        self._token = token
        self._held = b""
        self._push: Push | None = None

    async def _started(self) -> Push:
        if self._push is None:
            self._push = await self._start()
        return self._push

    async def write(self, piece: bytes) -> None:
        if not piece:
            return
        if self._held:
            with self._translated():
                await (await self._started()).write(self._held)
        self._held = piece

    async def prepare(self) -> str:
        return self._token

    async def publish(self) -> None:
        with self._translated():
            push = await self._started()
            if self._held:
                await push.write(self._held)
            await push.finish()

    async def abort(self) -> None:
        if self._push is not None:
            await self._push.abort()
