"""Asynchronous client of OpenStack Swift, formerly CloudFiles: version 1 authentication, containers and objects.

Requests are those of the Object Storage API v1; a bucket is a container.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import aiohttp
from yarl import URL

from haild.client.http import RefusedError, ServiceClient, UnreachableError

Scheme = Literal["http", "https"]
Reaches = Callable[[str, int], bool]


@dataclass(frozen=True, slots=True)
class _Login:
    storage: str
    token: str


class SwiftClient(ServiceClient):
    """One account. A token that is refused is renewed once per request, unless a body was streamed with it."""

    metadata_prefix = "X-Object-Meta-"

    def __init__(
        self, host: str, port: int, *, user: str, key: str, scheme: Scheme = "https", reaches: Reaches | None = None
    ) -> None:
        """Nothing is sent before the first request; must be made inside the event loop.

        `reaches`: whether the login may send us on to a host and port; everywhere if None.
        """
        super().__init__(host, port)
        self._scheme = scheme
        self._reaches = reaches
        self._credentials = {"X-Auth-User": user, "X-Auth-Key": key}
        self._login: _Login | None = None
        self._logging_in = asyncio.Lock()

    def path(self, bucket: str, key: str = "") -> str:
        """The path below the storage address of the account."""
        return f"/{quote(bucket, safe='')}" + (f"/{quote(key)}" if key else "")

    async def _logged_in(self, refused: _Login | None = None) -> _Login:
        """The login, renewed if it is the `refused` one."""
        async with self._logging_in:
            if self._login is None or self._login is refused:
                self._login = await self._log_in()
            return self._login

    async def _log_in(self) -> _Login:
        address = f"{self._scheme}://{self._authority}/v1.0"
        async with self._exchange("GET", address, self._credentials) as response:
            storage = response.headers.get("X-Storage-Url", "").rstrip("/")
            # Later services send the token under the second name only.
            token = response.headers.get("X-Storage-Token") or response.headers.get("X-Auth-Token", "")
        if not storage.startswith(("http://", "https://")) or not token:
            raise UnreachableError(f"{self._authority}: the login answer lacks X-Storage-Url or a token")
        url = URL(storage)
        if self._reaches is not None and not self._reaches(url.host or "", url.port or 0):
            raise UnreachableError(f"{self._authority}: the login sends us to {url.authority}, which is not allowed")
        return _Login(storage, token)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes | memoryview] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        def authorised(login: _Login) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
            complete = {**(headers or {}), "X-Auth-Token": login.token}
            return self._exchange(method, login.storage + path, complete, data)

        login = await self._logged_in()
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(authorised(login))
            except RefusedError as error:
                if error.status != 401 or not isinstance(data, bytes | None):
                    raise
                response = await stack.enter_async_context(authorised(await self._logged_in(refused=login)))
            yield response
