"""Bodies of unknown length for a provider that must know the length: kept in a temporary file first."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

from haild.iwhd.provider.base import UnavailableError, Upload

BLOCK: Final = 256 * 1024
"""Bytes read from the file at a time."""

StartUpload = Callable[[int], Awaitable[Upload]]
"""Begin the real upload, of that many bytes."""


class SpooledUpload(Upload):
    """Collects a body in a file without a name, which the system removes even after a crash, and then uploads it."""

    def __init__(self, directory: Path, start: StartUpload) -> None:
        self._start = start
        # Closed by publish() or abort(), one of which always comes.
        file = tempfile.TemporaryFile(dir=directory, buffering=BLOCK)  # noqa: SIM115
        self._file = cast(BinaryIO, file)
        self._size = 0
        self._upload: Upload | None = None

    async def write(self, piece: bytes | memoryview) -> None:
        self._size += len(piece)
        try:
            await asyncio.to_thread(self._file.write, piece)
        except OSError as error:
            raise UnavailableError(f"cannot spool: {error}") from error

    async def prepare(self) -> str:
        self._upload = await self._start(self._size)
        try:
            await asyncio.to_thread(self._file.seek, 0)
            while block := await asyncio.to_thread(self._file.read, BLOCK):
                await self._upload.write(block)
        except OSError as error:
            raise UnavailableError(f"cannot read the spool: {error}") from error
        token = await self._upload.prepare()
        self.sums = self._upload.sums
        return token

    async def publish(self) -> None:
        self._file.close()
        if self._upload is None:
            raise RuntimeError("publish before prepare")
        await self._upload.publish()

    async def abort(self) -> None:
        self._file.close()
        if self._upload is not None:
            await self._upload.abort()
