"""Asynchronous client of OpenStack Swift, formerly CloudFiles: version 1 authentication and objects.

Requests are those of the Object Storage API v1. A token that is refused (401) is renewed once per request.
Errors: SwiftError is the root; SwiftResponseError carries a status, SwiftUnreachableError says that there was
no proper answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

import aiohttp
from yarl import URL

from haild.client.transport import (
    FAILURES,
    AnsweredEarlyError,
    PushedUpload,
    authority_of,
    open_session,
    read_whole,
    reason_of,
)

METADATA_PREFIX: Final = "X-Object-Meta-"

Scheme = Literal["http", "https"]


class SwiftError(Exception):
    """A request failed."""


class SwiftUnreachableError(SwiftError):
    """The service cannot be reached, went silent or broke the connection."""


class SwiftResponseError(SwiftError):
    """The service refused with HTTP status `status`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status


@dataclass(frozen=True, slots=True)
class _Login:
    storage: str
    token: str


class SwiftBody:
    """An object being read; iterate over it for its blocks. `size` in bytes, `metadata` by lower-case name."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.size = response.content_length
        prefix = METADATA_PREFIX.lower()
        self.metadata = {
            name.lower()[len(prefix) :]: value
            for name, value in response.headers.items()
            if name.lower().startswith(prefix)
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for block in self._response.content.iter_any():
                yield block
        except FAILURES as error:
            raise SwiftUnreachableError(reason_of(error)) from error


class SwiftPut:
    """An upload in steps, made by SwiftClient.start_put."""

    def __init__(self, client: SwiftClient, login: _Login, path: str, headers: Mapping[str, str]) -> None:
        async def send(body: AsyncIterator[bytes]) -> None:
            data = b"" if headers.get("Content-Length") == "0" else body
            async with client._sent(login, "PUT", path, headers, data):
                pass

        self._upload = PushedUpload(send)

    async def write(self, piece: bytes) -> None:
        """Send `piece`; returns when there is room for more. Raises SwiftError if the upload failed meanwhile."""
        try:
            await self._upload.write(piece)
        except AnsweredEarlyError as error:
            raise SwiftUnreachableError(str(error)) from error

    async def finish(self) -> None:
        """End the body; returns once the service has acknowledged it. Raises SwiftError."""
        await self._upload.finish()

    async def abort(self) -> None:
        """Break the connection: the service discards what it got."""
        await self._upload.abort()


class SwiftClient:
    """One account. Call close() at the end. Methods raise SwiftError."""

    def __init__(self, host: str, port: int, *, user: str, key: str, scheme: Scheme = "https") -> None:
        """Nothing is sent before the first request; must be made inside the event loop."""
        self._authority = authority_of(host, port)
        self._scheme = scheme
        self._credentials = {"X-Auth-User": user, "X-Auth-Key": key}
        self._session = open_session()
        self._login: _Login | None = None
        self._logging_in = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _logged_in(self, refused: _Login | None = None) -> _Login:
        """The login, renewed if it is the `refused` one."""
        async with self._logging_in:
            if self._login is None or self._login is refused:
                self._login = await self._log_in()
            return self._login

    async def _log_in(self) -> _Login:
        url = URL(f"{self._scheme}://{self._authority}/v1.0")
        try:
            async with self._session.get(url, headers=self._credentials, allow_redirects=False) as response:
                await read_whole(response)
        except FAILURES as error:
            raise SwiftUnreachableError(f"{self._authority}: {reason_of(error)}") from error
        if not 200 <= response.status < 300:
            raise SwiftResponseError(response.status, f"{response.reason} (login)")
        storage = response.headers.get("X-Storage-Url", "").rstrip("/")
        # Later services send the token under the second name only.
        token = response.headers.get("X-Storage-Token") or response.headers.get("X-Auth-Token", "")
        if not storage.startswith(("http://", "https://")) or not token:
            raise SwiftUnreachableError(f"{self._authority}: the login answer lacks X-Storage-Url or a token")
        return _Login(storage, token)

    @contextlib.asynccontextmanager
    async def _sent(
        self,
        login: _Login,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        complete = {**(headers or {}), "X-Auth-Token": login.token}
        url = URL(login.storage + path, encoded=True)
        try:
            response = await self._session.request(method, url, headers=complete, data=data, allow_redirects=False)
        except FAILURES as error:
            raise SwiftUnreachableError(f"{url.authority}: {reason_of(error)}") from error
        async with response:
            if not 200 <= response.status < 300:
                raise SwiftResponseError(response.status, response.reason or "")
            yield response

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request without a body, once more with a new token if it is refused for the old one."""
        login = await self._logged_in()
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self._sent(login, method, path, headers))
            except SwiftResponseError as error:
                if error.status != 401:
                    raise
                login = await self._logged_in(refused=login)
                response = await stack.enter_async_context(self._sent(login, method, path, headers))
            yield response

    async def create_container(self, container: str) -> None:
        """Create a container; one that is there stays as it is."""
        async with self._request("PUT", container_path(container), {"Content-Length": "0"}):
            pass

    async def delete_container(self, container: str) -> None:
        """Delete an empty container; status 409 if it is not empty."""
        async with self._request("DELETE", container_path(container)):
            pass

    async def head_container(self, container: str) -> None:
        """Raises SwiftResponseError unless the container is there. Renews the token if need be."""
        async with self._request("HEAD", container_path(container)):
            pass

    async def start_put(
        self, container: str, name: str, length: int | None, *, metadata: Mapping[str, str] | None = None
    ) -> SwiftPut:
        """Begin to store an object of `length` bytes; without a length it is sent in chunks."""
        headers = {METADATA_PREFIX + key: value for key, value in (metadata or {}).items()}
        headers["Content-Type"] = "application/octet-stream"
        if length is not None:
            headers["Content-Length"] = str(length)
        return SwiftPut(self, await self._logged_in(), object_path(container, name), headers)

    @contextlib.asynccontextmanager
    async def get_object(self, container: str, name: str) -> AsyncIterator[SwiftBody]:
        """An object, open for reading while in the context."""
        async with self._request("GET", object_path(container, name)) as response:
            yield SwiftBody(response)

    async def head_object(self, container: str, name: str) -> SwiftBody:
        """Size and metadata of an object; the result has no body."""
        async with self._request("HEAD", object_path(container, name)) as response:
            return SwiftBody(response)

    async def delete_object(self, container: str, name: str) -> None:
        """Delete an object; status 404 if there is none."""
        async with self._request("DELETE", object_path(container, name)):
            pass


def container_path(container: str) -> str:
    """The path of a container below the storage address."""
    return "/" + quote(container, safe="")


def object_path(container: str, name: str) -> str:
    """The path of an object below the storage address."""
    return f"{container_path(container)}/{quote(name)}"
