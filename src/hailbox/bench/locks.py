"""Operations on the lock service: a lock taken and given back, on a file for each worker, each with its session."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from hailbox.bench.load import Operation
from haild.client.cld import CldError, ErrorCode, OpenMode, Session

_MODE: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE


@contextlib.asynccontextmanager
async def operations(connect: Callable[[], Awaitable[Session]], connections: int) -> AsyncIterator[list[Operation]]:
    """The operation, for so many workers; the files are removed at the end. Raises CldError and ConnectError."""
    sessions: list[Session] = []
    try:
        handles = []
        for worker in range(connections):
            sessions.append(await connect())
            handles.append(await sessions[worker].open(_path(worker), _MODE))

        async def lock(worker: int) -> None:
            await sessions[worker].lock(handles[worker])
            await sessions[worker].unlock(handles[worker])

        yield [Operation("lock, unlock", 0, lock)]
    finally:
        for worker, session in enumerate(sessions):
            await _leave(session, _path(worker))


def _path(worker: int) -> str:
    return f"/hailbox-bench-{worker}"


async def _leave(session: Session, path: str) -> None:
    try:
        await session.delete(path)
    except CldError as error:
        if error.code != ErrorCode.NAME_INVAL:
            raise
    finally:
        await session.end()
