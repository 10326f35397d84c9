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


class _WarehouseUpload(Upload):
    """A PUT whose last piece waits for publish(): the other side makes the body visible when it has all."""

    def __init__(self, provider: WarehouseProvider, bucket: str, key: str, put: IwhdPut, role: _Role) -> None:
        self._client = provider.client
        self._address = (bucket, key)
        self._put = put
        self._role = role
        self._held = b""

    async def write(self, piece: bytes) -> None:
        if not piece:
            return
        if self._held:
            with _translated(), self._role.judged():
                await self._put.write(self._held)
        self._held = piece

    async def prepare(self) -> str:
        # The etag of what is there now: if it is another one afterwards, the body has become visible.
        with _translated():
            return (await self._client.attribute(*self._address, "_etag") or b"").decode("ascii", "replace")

    async def publish(self) -> None:
        with _translated(), self._role.judged():
            if self._held:
                await self._put.write(self._held)
            await self._put.finish()
        self._role.accepted()

    async def abort(self) -> None:
        await self._put.abort()


class WarehouseProvider(Provider):
    """Bodies are objects of another warehouse under the same bucket and key."""

    keeps_attributes = True

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self.client = IwhdClient(settings.host, settings.port)
        self._own_role = _Role(as_master=False)
        self._copy_role = _Role(as_master=True)

    async def close(self) -> None:
        await self.client.close()

    async def create_bucket(self, bucket: str) -> None:
        try:
            with _translated():
                await self.client.create_bucket(bucket)
        except UnavailableError:
            raise
        except ProviderError as error:
            # 500 is what a warehouse says to a bucket that it has (iwhd.md 6.1).
            await self.check_bucket(bucket)
            raise ExistsError(str(error)) from error

    async def delete_bucket(self, bucket: str) -> None:
        with _translated():
            await self.client.delete_bucket(bucket)

    async def check_bucket(self, bucket: str) -> None:
        with _translated():
            await self.client.attribute_names(bucket, "_default")

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return self._start(bucket, key, length, self._own_role)

    async def start_copy(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return self._start(bucket, key, length, self._copy_role)

    def _start(self, bucket: str, key: str, length: int | None, role: _Role) -> Upload:
        put = self.client.start_put(bucket, key, length, as_master=role.as_master)
        return _WarehouseUpload(self, bucket, key, put, role)

    async def settle(self, publication: Publication) -> bool:
        with _translated():
            etag = await self.client.attribute(publication.bucket, publication.key, "_etag") or b""
        return etag.decode("ascii", "replace") not in ("", publication.token)

    @contextlib.asynccontextmanager
    async def open(self, bucket: str, key: str) -> AsyncIterator[Body]:
        async with contextlib.AsyncExitStack() as stack:
            with _translated():
                found = await stack.enter_async_context(self.client.get(bucket, key))

            async def blocks() -> AsyncIterator[bytes]:
                with _translated():
                    async for block in found:
                        yield block

            yield Body(blocks(), found.size)

    async def delete(self, bucket: str, key: str) -> None:
        # Upstream says 200 for an object that is not there (iwhd.md 7.3).
        with _translated(), contextlib.suppress(MissingError):
            await self.client.delete(bucket, key)

    async def set_attributes(self, bucket: str, key: str, attributes: Mapping[str, bytes]) -> None:
        with _translated():
            await self.client.set_attributes(bucket, key, attributes)

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        with _translated():
            await self.client.unset_attribute(bucket, key, name)
