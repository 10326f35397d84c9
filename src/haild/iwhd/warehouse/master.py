"""A slave's view of its master: bodies that are not here are fetched from there, and kept (iwhd.md 7.2)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator

from haild.client.http import RefusedError, ServiceError, StoredObject
from haild.client.iwhd import IwhdClient
from haild.iwhd.metadata import records
from haild.iwhd.metadata.database import Database, DatabaseError
from haild.iwhd.provider.base import Body, ExistsError, MissingError, ProviderError, UnavailableError
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.object import Objects, PendingPut

logger = logging.getLogger(__name__)


class MasterRefusedError(Exception):
    """The master refused a request; `status` is its HTTP status, to be passed on."""

    def __init__(self, error: RefusedError) -> None:
        super().__init__(str(error))
        self.status = error.status


class Master:
    """The warehouse that this one is a slave of."""

    def __init__(
        self,
        host: str,
        port: int,
        database: Database,
        objects: Objects,
        buckets: Buckets,
        authorization: str | None = None,
    ) -> None:
        """`authorization`: the Authorization header that opens the master: sites of one owner share their login."""
        self._client = IwhdClient(host, port, authorization=authorization)
        self._database = database
        self._objects = objects
        self._buckets = buckets

    async def close(self) -> None:
        """Close the connections to the master."""
        await self._client.close()

    @contextlib.asynccontextmanager
    async def pulled(self, bucket: str, key: str) -> AsyncIterator[Body]:
        """The master's body, a copy of which is kept while it is read.

        Raises MasterRefusedError (nothing is kept then), UnavailableError if the master cannot be reached.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                body = await stack.enter_async_context(self._client.get_object(bucket, key))
                attributes = await self._attributes(bucket, key)
            except RefusedError as error:
                raise MasterRefusedError(error) from error
            except ServiceError as error:
                raise UnavailableError(f"master: {error}") from error
            put = await self._start_copy(bucket, key, body)
            async with contextlib.aclosing(self._kept(body, put, attributes)) as blocks:
                yield Body(blocks, body.size)

    async def _attributes(self, bucket: str, key: str) -> dict[str, bytes]:
        names = await self._client.attribute_names(bucket, key)
        values = {name: await self._client.attribute(bucket, key, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    async def _start_copy(self, bucket: str, key: str, body: StoredObject) -> PendingPut | None:
        """An upload to our own primary; None if the primary cannot take the body now, which is passed on only."""
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
    ) -> AsyncGenerator[bytes]:
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
