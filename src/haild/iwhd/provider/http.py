"""Provider `http`: another image warehouse (iwhd.md sections 3 and 10)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from haild.client.iwhd import IwhdClient, IwhdPut, IwhdResponseError, IwhdUnreachableError
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
from haild.iwhd.settings import ProviderSettings

_OVERLOADED: Final = (408, 429, 502, 503, 504)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of the client into those of a provider."""
    try:
        yield
    except IwhdUnreachableError as error:
        raise UnavailableError(str(error)) from error
    except IwhdResponseError as error:
        if error.status == 404:
            raise MissingError(str(error)) from error
        if error.status in _OVERLOADED:
            raise UnavailableError(str(error)) from error
        raise ProviderError(str(error)) from error


class _Role:
    """Whether copies are sent as a master's. A slave takes no others, and a warehouse that is no slave none of these.

    The first refusal makes us try the other way; the next one is the warehouse's answer.
    """

    def __init__(self, *, as_master: bool) -> None:
        self.as_master = as_master
        self._changed = False

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        try:
            yield
        except IwhdResponseError as error:
            if error.status != 403 or self._changed:
                raise
            self.as_master = not self.as_master
            self._changed = True
            raise IwhdUnreachableError(f"our role was refused ({error}); trying the other") from error

    def accepted(self) -> None:
        self._changed = False


class _WarehouseUpload(HeldBackUpload):
    def __init__(self, client: IwhdClient, bucket: str, key: str, length: int | None, role: _Role) -> None:
        async def start() -> IwhdPut:
            return client.start_put(bucket, key, length, as_master=role.as_master)

        @contextlib.contextmanager
        def translated() -> Iterator[None]:
            with _translated(), role.judged():
                yield

        super().__init__(start, translated, "")
        self._client = client
        self._address = (bucket, key)
        self._role = role

    async def prepare(self) -> str:
        # The etag of what is there now: if it is another one afterwards, the body has become visible.
        with _translated():
            return (await self._client.attribute(*self._address, "_etag") or b"").decode("ascii", "replace")

    async def publish(self) -> None:
        await super().publish()
        self._role.accepted()


class WarehouseProvider(Provider):
    """Bodies are objects of another warehouse under the same bucket and key."""

    keeps_attributes = True

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._client = IwhdClient(settings.host, settings.port)
        self._own_role = _Role(as_master=False)
        self._copy_role = _Role(as_master=True)

    async def close(self) -> None:
        await self._client.close()

    async def create_bucket(self, bucket: str) -> None:
        try:
            with _translated():
                await self._client.create_bucket(bucket)
        except UnavailableError:
            raise
        except ProviderError as error:
            # 500 is what a warehouse says to a bucket that it has (iwhd.md 6.1).
            await self.check_bucket(bucket)
            raise ExistsError(str(error)) from error

    async def delete_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.delete_bucket(bucket)

    async def check_bucket(self, bucket: str) -> None:
        with _translated():
            await self._client.attribute_names(bucket, "_default")

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return _WarehouseUpload(self._client, bucket, key, length, self._own_role)

    async def start_copy(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return _WarehouseUpload(self._client, bucket, key, length, self._copy_role)

    async def settle(self, publication: Publication) -> bool:
        with _translated():
            etag = await self._client.attribute(publication.bucket, publication.key, "_etag") or b""
        return etag.decode("ascii", "replace") not in ("", publication.token)

    @contextlib.asynccontextmanager
    async def open(self, bucket: str, key: str) -> AsyncIterator[Body]:
        async with contextlib.AsyncExitStack() as stack:
            with _translated():
                found = await stack.enter_async_context(self._client.get(bucket, key))

            async def blocks() -> AsyncIterator[bytes]:
                with _translated():
                    async for block in found:
                        yield block

            yield Body(blocks(), found.size)

    async def delete(self, bucket: str, key: str) -> None:
        # Upstream says 200 for an object that is not there (iwhd.md 7.3).
        with _translated(), contextlib.suppress(MissingError):
            await self._client.delete(bucket, key)

    async def set_attributes(self, bucket: str, key: str, attributes: Mapping[str, bytes]) -> None:
        with _translated():
            await self._client.set_attributes(bucket, key, attributes)

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        with _translated():
            await self._client.unset_attribute(bucket, key, name)
