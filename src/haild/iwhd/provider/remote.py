"""What the back ends have in common that are services on HTTP: a client of haild.client does the talking.

Such a service makes a body visible when it has the last byte, so the last piece is held back until publish().
The warehouse's etag travels as metadata: it tells after a crash which body is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import ClassVar, Final

from haild.client.http import Put, RefusedError, ServiceClient, StoredObject, UnreachableError
from haild.iwhd.provider.base import (
    Body,
    ExistsError,
    Expected,
    MissingError,
    Provider,
    ProviderError,
    Publication,
    UnavailableError,
    Upload,
)

ETAG_METADATA: Final = "iwhd-etag"


class RemoteProvider(Provider):
    """Bodies are objects of a service under the same bucket and key. A back end sets `client` when it is made."""

    needs: ClassVar[tuple[str, ...]] = ("host", "port", "key", "secret")

    client: ServiceClient

    busy: ClassVar[frozenset[int]] = frozenset({408, 429, *range(500, 600)})
    """The statuses that say that the service may do later what it did not do now."""

    exists: ClassVar[frozenset[str]] = frozenset()
    """The codes of refusals that say that there is such a bucket already."""

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of the client into those of a provider."""
        try:
            yield
        except UnreachableError as error:
            raise UnavailableError(str(error)) from error
        except RefusedError as error:
            if error.status == 404:
                raise MissingError(str(error)) from error
            if error.code in self.exists:
                raise ExistsError(str(error)) from error
            if error.status in self.busy:
                raise UnavailableError(str(error)) from error
            raise ProviderError(str(error)) from error

    async def close(self) -> None:
        await self.client.close()

    async def create_bucket(self, bucket: str) -> None:
        with self.translated():
            await self.client.create_bucket(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        with self.translated():
            await self.client.delete_bucket(bucket)

    async def check_bucket(self, bucket: str) -> None:
        with self.translated():
            await self.client.head_bucket(bucket)

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return RemoteUpload(self, bucket, key, length, etag)

    async def settle(self, publication: Publication) -> bool:
        try:
            with self.translated():
                head = await self.client.head_object(publication.bucket, publication.key)
        except MissingError:
            return False
        return head.metadata.get(ETAG_METADATA) == publication.etag

    @contextlib.asynccontextmanager
    async def open(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, expected: Expected | None = None
    ) -> AsyncIterator[Body]:
        # Services check their bodies themselves.
        headers = {"Range": range_of(offset, length)} if offset or length is not None else {}
        async with contextlib.AsyncExitStack() as stack:
            with self.translated():
                found = await stack.enter_async_context(self.client.get_object(bucket, key, headers=headers))
            if found.offset == offset and (length is None or found.size == length):
                yield Body(self._blocks(found), found.size, detach=found.detach)
                return
            # The service knows no ranges: it sends all of the body.
            skipped = offset - found.offset
            size = length if length is not None or found.size is None else found.size - skipped
            yield Body(_part(self._blocks(found), skipped, size), size)

    async def _blocks(self, found: StoredObject) -> AsyncIterator[bytes]:
        with self.translated():
            async for block in found:
                yield block

    async def delete(self, bucket: str, key: str) -> None:
        # Upstream says 200 for an object that is not there (iwhd.md 7.3), and S3 says 204.
        with self.translated(), contextlib.suppress(MissingError):
            await self.client.delete_object(bucket, key)


def range_of(offset: int, length: int | None) -> str:
    """The Range header for a part of a body (RFC 9110, 14.2)."""
    return f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + length - 1}"


async def _part(blocks: AsyncIterator[bytes], skipped: int, length: int | None) -> AsyncIterator[bytes]:
    """`length` bytes (None: all) of what `blocks` yield, after the first `skipped` bytes."""
    async for each in blocks:
        block = each[skipped:]
        skipped = max(0, skipped - len(each))
        if length is not None:
            block = block[:length]
            length -= len(block)
        if block:
            yield block
        if length == 0:
            return


class RemoteUpload(Upload):
    """Begins its request when there is a second piece, or at publish(): an empty body is complete from the start."""

    def __init__(self, provider: RemoteProvider, bucket: str, key: str, length: int | None, etag: str) -> None:
        self._provider = provider
        self._address = (bucket, key)
        self._length = length
        self._etag = etag
        self._held: bytes | memoryview = b""
        self._put: Put | None = None

    def start(self) -> Put:
        """Begin the request."""
        metadata = {ETAG_METADATA: self._etag}
        return self._provider.client.start_put(*self._address, self._length, metadata=metadata)

    def translated(self) -> AbstractContextManager[None]:
        """Turn the errors of the client into those of a provider."""
        return self._provider.translated()

    async def _send_held(self) -> Put:
        put = self._put = self._put or self.start()
        await put.write(self._held)
        return put

    async def write(self, piece: bytes | memoryview) -> None:
        if not piece:
            return
        if self._held:
            with self.translated():
                await self._send_held()
        self._held = piece

    async def prepare(self) -> str:
        return self._etag

    async def publish(self) -> None:
        with self.translated():
            put = await self._send_held()
            await put.finish()

    async def abort(self) -> None:
        if self._put is not None:
            await self._put.abort()
