"""Operations on a storage node: PUT with SYNC, and GET.

A key that is there cannot be put again (chunkd.md 6.5); so that the node does not fill up, a PUT comes with the DEL
of the object before it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

from hailbox.bench.load import Operation, receive
from hailbox.model.size import exact
from haild.client.chunk import ChunkError, Pool, ResponseCode

TABLE: Final = b"hailbox-bench\0"


@contextlib.asynccontextmanager
async def operations(pool: Pool, sizes: Sequence[int]) -> AsyncIterator[list[Operation]]:
    """PUT with DEL, and GET, for each size in bytes, on an object for each worker; all is removed at the end.

    `pool` has TABLE open. What a run that was killed has left behind is removed at the beginning. Raises ChunkError
    and OSError.
    """
    await _empty(pool)
    found: list[Operation] = []
    for size in sizes:
        found += _pair(pool, size)
    try:
        yield found
    finally:
        await _empty(pool)


def _pair(pool: Pool, size: int) -> list[Operation]:
    body = secrets.token_bytes(size)
    latest: dict[int, bytes] = {}

    async def put(worker: int) -> None:
        before, key = latest.get(worker), secrets.token_hex(16).encode()
        async with pool.connection() as connection:
            await connection.put(key, size, body)
            latest[worker] = key
            if before is not None:
                await connection.delete(before)

    async def get(worker: int) -> None:
        async with pool.connection() as connection, await connection.get(latest[worker]) as reader:
            await receive(reader, size)

    return [Operation(f"PUT, DEL {exact(size)}", size, put), Operation(f"GET {exact(size)}", size, get)]


async def _empty(pool: Pool) -> None:
    async with pool.connection() as connection:
        for listed in await connection.listing():
            try:
                await connection.delete(listed.name)
            except ChunkError as error:
                if error.code != ResponseCode.NO_SUCH_KEY:
                    raise
