"""Storing the files of a seed in tabled and iwhd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from hailbox.commands.env import env
from hailbox.context import Context
from hailbox.stack import endpoint
from hailbox.stack.endpoint import Access
from haild.client.http import ServiceClient, ServiceError
from haild.client.iwhd import IwhdClient
from haild.client.s3 import S3Client

_AT_ONCE: Final = 8
"""Files that are stored at a time."""


class NotStoredError(Exception):
    """Which file or bucket could not be stored, and why."""


def store(context: Context, directory: Path) -> int:
    """Store SERVICE/BUCKET/KEY of that directory; returns the number of files. Raises NotStoredError."""
    return asyncio.run(_store(context, directory))


def _client(access: Access, context: Context) -> ServiceClient:
    if access.user:
        return S3Client(access.host, access.port, key=access.user, secret=access.secret)
    token = env(context).get("IWHD_TOKEN")
    return IwhdClient(access.host, access.port, authorization=f"Bearer {token}" if token else None)


async def _store(context: Context, directory: Path) -> int:
    stored = 0
    for folder in _folders(directory):
        async with _client(endpoint.access(context, folder.name), context) as client:
            for bucket in _folders(folder):
                with _telling(f"{folder.name}, bucket {bucket.name}"):
                    await client.create_bucket(bucket.name)
                stored += await _store_bucket(client, bucket, folder.name)
    return stored


async def _store_bucket(client: ServiceClient, bucket: Path, service: str) -> int:
    files = sorted(path for path in bucket.rglob("*") if path.is_file())
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(path: Path) -> None:
        key = path.relative_to(bucket).as_posix()
        async with slots:
            with _telling(f"{service}, {bucket.name}/{key}"):
                await _put(client, bucket.name, key, path)

    for done in asyncio.as_completed([one(path) for path in files]):
        await done
    return len(files)


async def _put(client: ServiceClient, bucket: str, key: str, path: Path) -> None:
    put = client.start_put(bucket, key, path.stat().st_size)
    with path.open("rb") as content:
        for block in iter(_reader(content), b""):
            await put.write(block)
    await put.finish()


def _reader(content: Any) -> Callable[[], bytes]:
    return lambda: bytes(content.read(1 << 20))


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir())


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    try:
        yield
    except (ServiceError, OSError) as error:
        raise NotStoredError(f"{what}: {error}") from error
