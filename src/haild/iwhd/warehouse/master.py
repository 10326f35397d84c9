"""A slave's view of its master: bodies that are not here are fetched from there, and kept (iwhd.md 7.2)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from haild.client.http import RefusedError, ServiceError, StoredObject
from haild.client.iwhd import IwhdClient
from haild.iwhd.http.reply import Reply
from haild.iwhd.metadata import records
from haild.iwhd.metadata.database import Database, DatabaseError
from haild.iwhd.provider.base import ExistsError, MissingError, ProviderError, UnavailableError
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.object import Objects, PendingPut
from haild.wire.iwhd.target import RESERVED_OBJECTS

logger = logging.getLogger(__name__)


class Master:
    """The warehouse that this one is a slave of."""

    def __init__(self, host: str, port: int, database: Database, objects: Objects, buckets: Buckets) -> None:
        self._client = IwhdClient(host, port)
        self._database = database
        self._objects = objects
        self._buckets = buckets

    async def close(self) -> None:
        """Close the connections to the master."""
        await self._client.close()

    async def pull(self, bucket: str, key: str) -> Reply:
        """Answer with the master's body and keep a copy of it. The master's refusal is passed on, nothing kept.

        Raises UnavailableError if the master cannot be reached.
        """
        if key in RESERVED_OBJECTS:
            return Reply(404)
        async with contextlib.AsyncExitStack() as stack:
            try:
                body = await stack.enter_async_context(self._client.get_object(bucket, key))
                attributes = await self._attributes(bucket, key)
            except RefusedError as error:
                return Reply(error.status)
            except ServiceError as error:
                raise UnavailableError(f"master: {error}") from error
            put = await self._start_copy(bucket, key, body)
            blocks = self._kept(body, put, attributes)
            return Reply(200, blocks, "application/octet-stream", length=body.size, resources=stack.pop_all())

    async def _attributes(self, bucket: str, key: str) -> dict[str, bytes]:
        names = await self._client.attribute_names(bucket, key)
        values = {name: await self._client.attribute(bucket, key, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    async def _start_copy(self, bucket: str, key: str, body: StoredObject) -> PendingPut | None:
        """An upload to our own primary; None if it cannot take the body now: then it is passed on only."""
        try:
            try:
                return await self._objects.start_put(bucket, key, body.size)
            except MissingError:
                with contextlib.suppress(ExistsError):
                    await self._buckets.create(bucket)
                return await self._objects.start_put(bucket, key, body.size)
        except (ProviderError, DatabaseError) as error:
            logger.warning("%s/%s is not kept: %s", bucket, key, error)
            return None

    async def _kept(
        self, body: StoredObject, put: PendingPut | None, attributes: dict[str, bytes]
    ) -> AsyncIterator[bytes]:
        """The blocks of `body`, each stored before it is passed on; the copy is visible before the end is."""
        try:
            async for block in self._blocks(body):
                if put is not None:
                    put = await self._store(put, block)
                yield block
            if put is not None:
                finished, put = put, None
                await self._finish(finished, attributes)
        finally:
            if put is not None:
                await put.abort()

    async def _blocks(self, body: StoredObject) -> AsyncIterator[bytes]:
        try:
            async for block in body:
                yield block
        except ServiceError as error:
            raise UnavailableError(f"master: {error}") from error

    async def _store(self, put: PendingPut, block: bytes) -> PendingPut | None:
        try:
            await put.write(block)
        except ProviderError as error:
            logger.warning("%s/%s is not kept: %s", put.bucket, put.key, error)
            await put.abort()
            return None
        return put

    async def _finish(self, put: PendingPut, attributes: dict[str, bytes]) -> None:
        try:
            await put.finish()
            await self._database.write(
                lambda connection: records.set_attributes(connection, put.bucket, put.key, attributes.items())
            )
        except (ProviderError, DatabaseError) as error:
            logger.warning("%s/%s is not kept: %s", put.bucket, put.key, error)
