"""Provider `s3`: tabled or any other S3 service, with a client and credentials of its own (iwhd.md section 3).

The service makes an object visible when it has the last byte, so the last piece of a body is held back until
the body may be published. The warehouse's etag travels as metadata `iwhd-etag`: it tells after a crash which
body is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, cast, get_args

from haild.client.s3 import S3Client, S3Put, S3ResponseError, S3UnreachableError, Signature
from haild.iwhd.provider.base import (
    Body,
    ExistsError,
    MissingError,
    Provider,
    ProviderError,
    Publication,
    UnavailableError,
    Upload,
)
from haild.iwhd.provider.heldback import HeldBackUpload
from haild.iwhd.provider.spool import SpooledUpload
from haild.iwhd.settings import ProviderSettings, ProviderSettingsError

ETAG_METADATA: Final = "iwhd-etag"

_EXISTS: Final = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of the client into those of a provider."""
    try:
        yield
    except S3UnreachableError as error:
        raise UnavailableError(str(error)) from error
    except S3ResponseError as error:
        if error.status == 404:
            raise MissingError(str(error)) from error
        if error.code in _EXISTS:
            raise ExistsError(str(error)) from error
        if error.status >= 500:
            raise UnavailableError(str(error)) from error
        raise ProviderError(str(error)) from error


class S3Provider(Provider):
    """Bodies are objects of an S3 service under the same bucket and key."""

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        """Raises ProviderSettingsError for an unknown `signature`."""
        super().__init__(settings)
        signature = settings.attributes.get("signature", "v4")
        if signature not in get_args(Signature):
            raise ProviderSettingsError(f"provider {settings.name}: signature {signature!r} is neither v2 nor v4")
        self._spool = spool
        self._client = S3Client(
            settings.host,
            settings.port,
            key=settings.key,
            secret=settings.secret,
            signature=cast(Signature, signature),
            region=settings.attributes.get("region", "us-east-1"),
        )

    async def close(self) -> None:
        await self._client.close()

    async def create_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.create_bucket(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.delete_bucket(bucket)

    async def check_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.head_bucket(bucket)

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        async def upload(size: int) -> Upload:
            async def start() -> S3Put:
                return self._client.start_put(bucket, key, size, metadata={ETAG_METADATA: etag})

            return HeldBackUpload(start, _translated, etag)

        if length is None:
            return SpooledUpload(self._spool, upload)
        return await upload(length)

    async def settle(self, publication: Publication) -> bool:
        try:
            with _translated():
                head = await self._client.head_object(publication.bucket, publication.key)
        except MissingError:
            return False
        return head.metadata.get(ETAG_METADATA) == publication.etag

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
        # Upstream says 200 for an object that is not there (iwhd.md 7.3), and S3 says 204.
        with _translated(), contextlib.suppress(MissingError):
            await self._client.delete_object(bucket, key)
