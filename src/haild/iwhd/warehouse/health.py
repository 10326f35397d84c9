"""The health check: a real round trip through the primary provider and through the metadata.

It uses a bucket of its own, with a name that only this daemon uses, and removes it again. The name is always the
same, so the next check removes what a killed one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Final

from haild.iwhd.metadata.port import Connection, Database, DatabaseError
from haild.iwhd.provider.base import ExistsError, MissingError, Provider, ProviderError
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.wire.iwhd.target import etag_of

DEADLINE: Final = 10.0
"""Seconds for one check."""

KEY: Final = "health"
_SETTING: Final = "health-bucket"


class UnhealthyError(Exception):
    """The check failed; the text says where and how."""


class HealthCheck:
    """Checks on request; requests that come during a check share its result."""

    def __init__(self, database: Database, directory: ProviderDirectory) -> None:
        self._database = database
        self._directory = directory
        self._running: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Returns if a body could be put, read back, compared and deleted. Raises UnhealthyError."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check())
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._running)

    async def _check(self) -> None:
        provider = self._directory.primary
        try:
            async with asyncio.timeout(DEADLINE):
                bucket = await self._database.write(_bucket_name)
                await self._round_trip(provider, bucket)
        except TimeoutError as error:
            raise UnhealthyError(f"provider {provider.name}: no answer within {DEADLINE:.0f} s") from error
        except ProviderError as error:
            raise UnhealthyError(f"provider {provider.name}: {error}") from error
        except DatabaseError as error:
            raise UnhealthyError(f"metadata: {error}") from error

    async def _round_trip(self, provider: Provider, bucket: str) -> None:
        content = secrets.token_bytes(1024)
        with contextlib.suppress(ExistsError):
            await provider.create_bucket(bucket)
        try:
            await _put(provider, bucket, content)
            async with provider.open(bucket, KEY) as body:
                read = b"".join([block async for block in body.blocks])
            if read != content:
                raise UnhealthyError(f"provider {provider.name}: read {len(read)} bytes that differ from those put")
            await provider.delete(bucket, KEY)
        finally:
            # After a failure this is a try; after success nothing but the bucket is left.
            with contextlib.suppress(ProviderError):
                await provider.delete_bucket(bucket)
        with contextlib.suppress(MissingError):
            async with provider.open(bucket, KEY):
                raise UnhealthyError(f"provider {provider.name}: a deleted body is still there")


async def _put(provider: Provider, bucket: str, content: bytes) -> None:
    etag = etag_of(asyncio.get_running_loop().time())
    upload = await provider.start_upload(bucket, KEY, length=len(content), etag=etag)
    try:
        await upload.write(content)
        await upload.prepare()
        await upload.publish()
    except BaseException:
        await upload.abort()
        raise


def _bucket_name(connection: Connection) -> str:
    """The bucket of this daemon's checks. Writes on every call: whether that works is part of the check."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
    name = row[0] if row else f"iwhd-health-{secrets.token_hex(4)}"
    # Removed and stored again: an UPDATE to an equal value need not write anything.
    connection.execute("DELETE FROM setting WHERE name = ?", (_SETTING,))
    connection.execute("INSERT INTO setting(name, value) VALUES (?, ?)", (_SETTING, name))
    return str(name)
