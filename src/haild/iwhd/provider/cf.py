"""Provider `cf`: CloudFiles, today OpenStack Swift (iwhd.md section 3).

Like the S3 one it holds back the last piece of a body until the body may be published, and sends the warehouse's
etag along as metadata.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final, cast, get_args

from haild.client.swift import Scheme, SwiftClient, SwiftPut, SwiftResponseError, SwiftUnreachableError
from haild.iwhd.provider.base import (
    Body,
    MissingError,
    Provider,
    ProviderError,
    Publication,
    UnavailableError,
    Upload,
)
from haild.iwhd.provider.heldback import HeldBackUpload
from haild.iwhd.settings import ProviderSettings, ProviderSettingsError

ETAG_METADATA: Final = "Iwhd-Etag"

_UNAVAILABLE: Final = (401, 408, 429)
"""Besides the 5xx: a login that is refused may be accepted later, when the service knows the user."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of the client into those of a provider."""
    try:
        yield
    except SwiftUnreachableError as error:
        raise UnavailableError(str(error)) from error
    except SwiftResponseError as error:
        if error.status == 404:
            raise MissingError(str(error)) from error
        if error.status in _UNAVAILABLE or error.status >= 500:
            raise UnavailableError(str(error)) from error
        raise ProviderError(str(error)) from error


class SwiftProvider(Provider):
    """Bodies are objects of a Swift account, buckets its containers."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Raises ProviderSettingsError for a `scheme` that is none; upstream knows https only."""
        super().__init__(settings)
        scheme = settings.attributes.get("scheme", "https")
        if scheme not in get_args(Scheme):
            raise ProviderSettingsError(f"provider {settings.name}: scheme {scheme!r} is neither http nor https")
        self._client = SwiftClient(
            settings.host, settings.port, user=settings.key, key=settings.secret, scheme=cast(Scheme, scheme)
        )

    async def close(self) -> None:
        await self._client.close()

    async def create_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.create_container(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.delete_container(bucket)

    async def check_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.head_container(bucket)

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        with _translated():
            # A body can be sent once only: have the token renewed before, if need be.
            await self._client.head_container(bucket)

        async def start() -> SwiftPut:
            return await self._client.start_put(bucket, key, length, metadata={ETAG_METADATA: etag})

        return HeldBackUpload(start, _translated, etag)

    async def settle(self, publication: Publication) -> bool:
        try:
            with _translated():
                head = await self._client.head_object(publication.bucket, publication.key)
        except MissingError:
            return False
        return head.metadata.get(ETAG_METADATA.lower()) == publication.etag

    @contextlib.asynccontextmanager
    async def open(self, bucket: str, key: str) -> AsyncIterator[Body]:
        async with contextlib.AsyncExitStack() as stack:
            with _translated():
                found = await stack.enter_async_context(self._client.get_object(bucket, key))

            async def blocks() -> AsyncIterator[bytes]:
                with _translated():
                    async for block in found:
                        yield block

            yield Body(blocks(), found.size)

    async def delete(self, bucket: str, key: str) -> None:
        with _translated():
            await self._client.delete_object(bucket, key)
