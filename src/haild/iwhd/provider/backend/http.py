"""Provider `http`: another image warehouse (iwhd.md sections 3 and 10)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from haild.client.http import Put, RefusedError, UnreachableError
from haild.client.iwhd import IwhdClient
from haild.iwhd.provider.base import ExistsError, ProviderError, Publication, UnavailableError, Upload
from haild.iwhd.provider.remote import RemoteProvider, RemoteUpload
from haild.iwhd.settings import ProviderSettings
from haild.wire.iwhd.login import authorization
from haild.wire.iwhd.target import ETAG_HEADER, MASTER_ROLE, ROLE_HEADER


class _Role:
    """Whether bodies are sent as a master's. A slave takes no others, and a warehouse that is no slave none of these.

    The first refusal makes us try the other way; the next one is the warehouse's answer.
    """

    def __init__(self, *, as_master: bool) -> None:
        self.as_master = as_master
        self._changed = False

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            if error.status != 403 or self._changed:
                raise
            self.as_master = not self.as_master
            self._changed = True
            raise UnreachableError(f"our role was refused ({error}); trying the other") from error

    def accepted(self) -> None:
        """A body was taken in the present role."""
        self._changed = False


class _WarehouseUpload(RemoteUpload):
    def __init__(
        self, provider: WarehouseProvider, bucket: str, key: str, length: int | None, role: _Role, etag: str = ""
    ) -> None:
        super().__init__(provider, bucket, key, length, etag)
        self._client = provider.client
        self._role = role

    def start(self) -> Put:
        headers = {ROLE_HEADER: MASTER_ROLE, ETAG_HEADER: self._etag} if self._role.as_master else {}
        return self._client.start_put(*self._address, self._length, headers=headers)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        with super().translated(), self._role.judged():
            yield

    async def prepare(self) -> str:
        # The etag of what is there now: if it is another one afterwards, the body has become visible.
        with self.translated():
            return (await self._client.attribute(*self._address, "_etag") or b"").decode("ascii", "replace")

    async def publish(self) -> None:
        await super().publish()
        self._role.accepted()


def login(settings: ProviderSettings) -> str | None:
    """The Authorization header for a warehouse: `key` and `secret` are user and password, `secret` alone a token."""
    return authorization(settings.key, settings.secret) if settings.secret else None


class WarehouseProvider(RemoteProvider):
    """Bodies are objects of another warehouse under the same bucket and key."""

    types = ("http",)
    needs = ("host", "port")
    keeps_attributes = True
    # Not 500: that is what a warehouse says to much that it will never do.
    busy = frozenset({408, 429, 502, 503, 504})

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        super().__init__(settings, spool)
        self.client: IwhdClient = IwhdClient(settings.host, settings.port, authorization=login(settings))
        self._own_role = _Role(as_master=False)
        self._copy_role = _Role(as_master=True)

    async def create_bucket(self, bucket: str) -> None:
        try:
            await super().create_bucket(bucket)
        except UnavailableError:
            raise
        except ProviderError as error:
            # 500 is what a warehouse says to a bucket that it has (iwhd.md 6.1).
            await self.check_bucket(bucket)
            raise ExistsError(str(error)) from error

    async def check_bucket(self, bucket: str) -> None:
        # A 2011 warehouse knows no HEAD.
        with self.translated():
            await self.client.attribute_names(bucket, "_default")

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return _WarehouseUpload(self, bucket, key, length, self._own_role)

    async def start_copy(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return _WarehouseUpload(self, bucket, key, length, self._copy_role, etag)

    async def settle(self, publication: Publication) -> bool:
        with self.translated():
            etag = await self.client.attribute(publication.bucket, publication.key, "_etag") or b""
        return etag.decode("ascii", "replace") not in ("", publication.token)

    async def set_attributes(self, bucket: str, key: str, attributes: Mapping[str, bytes]) -> None:
        with self.translated():
            await self.client.set_attributes(bucket, key, attributes)

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        with self.translated():
            await self.client.unset_attribute(bucket, key, name)
