"""Operations on a service that keeps objects in buckets: tabled through S3, and iwhd."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

from hailbox.bench.load import Operation, receive
from hailbox.model.size import exact
from haild.client.http import RefusedError
from haild.client.iwhd import IwhdClient
from haild.client.s3 import S3Client

_BUCKETS: Final = {S3Client: "hailbox-bench-s3", IwhdClient: "hailbox-bench"}
"""Of names that differ: what iwhd keeps in S3 has the same names there."""
_DELETING: Final = 16
"""Deletions under way at the same time."""


@contextlib.asynccontextmanager
async def operations(client: S3Client | IwhdClient, sizes: Sequence[int]) -> AsyncIterator[list[Operation]]:
    """PUT and GET for each size in bytes, on an object for each worker; all is removed at the end.

    What a run that was killed has left behind is removed at the beginning. Raises ServiceError.
    """
    bucket = _BUCKETS[type(client)]
    with contextlib.suppress(RefusedError):  # it is there
        await client.create_bucket(bucket)
    await _empty(client, bucket)
    found: list[Operation] = []
    for size in sizes:
        found += _pair(client, bucket, size)
    try:
        yield found
    finally:
        await _empty(client, bucket)
        with contextlib.suppress(RefusedError):  # a warehouse of 2011 removes no bucket (iwhd.md 4)
            await client.delete_bucket(bucket)


def _pair(client: S3Client | IwhdClient, bucket: str, size: int) -> list[Operation]:
    body = secrets.token_bytes(size)

    async def put(worker: int) -> None:
        await client.put_object(bucket, f"{size}-{worker}", body)

    async def get(worker: int) -> None:
        async with client.get_object(bucket, f"{size}-{worker}") as stored:
            await receive(stored, size)

    return [Operation(f"PUT {exact(size)}", size, put), Operation(f"GET {exact(size)}", size, get)]


async def _empty(client: S3Client | IwhdClient, bucket: str) -> None:
    if isinstance(client, S3Client):
        keys = [key async for key in client.list_objects(bucket)]
    else:
        keys = await client.keys(bucket)
    slots = asyncio.Semaphore(_DELETING)

    async def delete(key: str) -> None:
        async with slots:
            with contextlib.suppress(RefusedError):  # already gone
                await client.delete_object(bucket, key)

    await asyncio.gather(*map(delete, keys))
