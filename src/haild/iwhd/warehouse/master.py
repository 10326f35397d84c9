"""A slave's view of its master (iwhd.md 7.2).

A body that is not here is fetched from the master and kept. A copy is served only while the master has the same body,
or does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from haild.client.http import RefusedError, ServiceError, StoredObject, UnreachableError
from haild.client.iwhd import IwhdClient
from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Database, DatabaseError
from haild.iwhd.metadata.records import Record
from haild.iwhd.provider.base import Body, ExistsError, MissingError, ProviderError, UnavailableError
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.object import Objects, PendingPut

logger = logging.getLogger(__name__)


ASK_DEADLINE: Final = 2.0
"""Seconds that the master may take to say what it has."""

SILENCE: Final = 5.0
"""Seconds for which a master that did not answer is not asked again."""

CURRENT_FOR: Final = 1.0
"""Seconds for which a copy that was found current is served without asking."""

REMEMBERED: Final = 10_000
"""Copies that are known to be current."""


class MasterRefusedError(Exception):
    """The master refused a request; `status` is its HTTP status, to be passed on."""

    def __init__(self, error: RefusedError) -> None:
        super().__init__(str(error))
        self.status = error.status


@dataclass(frozen=True, slots=True)
class Pulled:
    """A body from the master, its etag there (empty if unknown), and the Content-Range if it is a part."""

    body: Body
    etag: str
    content_range: str | None


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
        self._current: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._silent_until = 0.0

    async def close(self) -> None:
        """Close the connections to the master."""
        await self._client.close()

    # Is a copy still what the master has?

    async def _ask(self, bucket: str, key: str, name: str) -> bytes | None:
        """An attribute as the master has it; None if it has none, or does not answer soon."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(ASK_DEADLINE):
                return await self._client.attribute(bucket, key, name)
        except (UnreachableError, TimeoutError) as error:
            # Lost: what we hold is served, and requests are not held up one by one.
            logger.warning("master does not answer, serving what is here: %s", error)
            self._silent_until = time.monotonic() + SILENCE
        except ServiceError as error:
            logger.warning("%s/%s: the master does not say what it has: %s", bucket, key, error)
        return None

    async def has_replaced(self, bucket: str, key: str, record: Record) -> bool:
        """Whether the master has another body than our copy of its body. What was put here itself is never replaced.

        Asks at most once in CURRENT_FOR seconds. False if the master cannot be asked, or has no such object: then it
        tells us itself to delete ours.
        """
        address = (bucket, key)
        if record.upstream is None or time.monotonic() < self._current.get(address, 0.0):
            return False
        etag = await self._ask(bucket, key, "_etag")
        if etag is not None and etag.decode("ascii", "replace") != record.upstream:
            return True
        self._current[address] = time.monotonic() + CURRENT_FOR
        self._current.move_to_end(address)
        while len(self._current) > REMEMBERED:
            self._current.popitem(last=False)
        return False

    async def refreshed(self, bucket: str, key: str, name: str, value: bytes | None) -> bytes | None:
        """The attribute of a copy of the master's as the master has it now, kept; `value` if that cannot be told."""
        present = await self._ask(bucket, key, name)
        if not present or present == value:
            return value
        await self._database.write(
            lambda connection: records.set_attributes(connection, bucket, key, [(name, present)])
        )
        return present

    # Fetching.

    @contextlib.asynccontextmanager
    async def pulled(self, bucket: str, key: str, headers: Mapping[str, str]) -> AsyncIterator[Pulled]:
        """The master's body, a copy of which is kept while it is read. With a Range in `headers` none is kept.

        Raises MasterRefusedError (nothing is kept then), UnavailableError if the master cannot be reached.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                found = await stack.enter_async_context(self._client.get_object(bucket, key, headers=headers))
                attributes = await self._attributes(bucket, key) if found.content_range is None else {}
            except RefusedError as error:
                raise MasterRefusedError(error) from error
            except ServiceError as error:
                raise UnavailableError(f"master: {error}") from error
            put = await self._start_copy(bucket, key, found) if found.content_range is None else None
            async with contextlib.aclosing(self._kept(found, put, attributes)) as blocks:
                yield Pulled(Body(blocks, found.size), found.etag, found.content_range)

    async def _attributes(self, bucket: str, key: str) -> dict[str, bytes]:
        names = await self._client.attribute_names(bucket, key)
        values = {name: await self._client.attribute(bucket, key, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    async def _start_copy(self, bucket: str, key: str, body: StoredObject) -> PendingPut | None:
        """An upload to our own primary; None if the primary cannot take the body now, which is passed on only."""
        try:
            try:
                return await self._objects.start_put(bucket, key, body.size, upstream=body.etag or None)
            except MissingError:
                with contextlib.suppress(ExistsError):
                    await self._buckets.create(bucket)
                return await self._objects.start_put(bucket, key, body.size, upstream=body.etag or None)
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
