"""Asynchronous client of an image warehouse (iwhd.md), bodies streamed both ways.

Errors: IwhdError is the root; IwhdResponseError carries the status of a refusal, IwhdUnreachableError says that
there was no proper answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from yarl import URL

from haild.client.transport import (
    FAILURES,
    IDLE_DEADLINE,
    AnsweredEarlyError,
    PushedUpload,
    authority_of,
    open_session,
    read_whole,
    reason_of,
)
from haild.wire.iwhd import MASTER_ROLE, ROLE_HEADER, path_of

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class IwhdError(Exception):
    """A request failed."""


class IwhdUnreachableError(IwhdError):
    """The warehouse cannot be reached, went silent, broke the connection or sent what nobody can read."""


class IwhdResponseError(IwhdError):
    """The warehouse refused with HTTP status `status`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status


class IwhdBody:
    """A body being read; iterate over it for its blocks. `size` in bytes where the warehouse says it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.size = response.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for block in self._response.content.iter_any():
                yield block
        except FAILURES as error:
            raise IwhdUnreachableError(reason_of(error)) from error


class IwhdPut:
    """An upload in steps, made by IwhdClient.start_put."""

    def __init__(self, client: IwhdClient, path: str, headers: Mapping[str, str]) -> None:
        async def send(body: AsyncIterator[bytes]) -> str:
            data = b"" if headers.get("Content-Length") == "0" else body
            async with client._request("PUT", path, headers, data) as response:
                return response.headers.get("ETag", "")

        self._upload = PushedUpload(send)

    async def write(self, piece: bytes) -> None:
        """Send `piece`; returns when there is room for more. Raises IwhdError if the upload failed meanwhile."""
        try:
            await self._upload.write(piece)
        except AnsweredEarlyError as error:
            raise IwhdUnreachableError(str(error)) from error

    async def finish(self) -> str:
        """End the body. Returns the etag (a slave sends none); raises IwhdError."""
        return await self._upload.finish()

    async def abort(self) -> None:
        """Break the connection: the warehouse discards what it got."""
        await self._upload.abort()


class IwhdClient:
    """One warehouse. Use as an asynchronous context manager, or call close(). Methods raise IwhdError."""

    def __init__(self, host: str, port: int, *, idle_deadline: float = IDLE_DEADLINE) -> None:
        """Nothing is sent before the first request; must be made inside the event loop.

        `idle_deadline` is how many seconds the warehouse may be silent: registrations can take many.
        """
        self._authority = authority_of(host, port)
        self._session = open_session(idle_deadline)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the response, of status 2xx."""
        url = URL(f"http://{self._authority}{path}", encoded=True)
        try:
            response = await self._session.request(method, url, headers=headers, data=data, allow_redirects=False)
        except FAILURES as error:
            raise IwhdUnreachableError(f"{self._authority}: {reason_of(error)}") from error
        async with response:
            if not 200 <= response.status < 300:
                raise IwhdResponseError(response.status, response.reason or "")
            yield response

    async def _whole(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> bytes:
        async with self._request(method, path, headers, data) as response:
            try:
                return await read_whole(response)
            except FAILURES as error:
                raise IwhdUnreachableError(f"{self._authority}: {reason_of(error)}") from error

    async def _document(self, method: str, path: str, data: bytes | None = None) -> Element:
        text = await self._whole(method, path, FORM if data is not None else None, data)
        try:
            document: Element = ElementTree.fromstring(text)
        except (ParseError, DefusedXmlException) as error:
            raise IwhdUnreachableError(f"{self._authority}: the answer is not XML: {error}") from error
        return document

    async def health(self) -> None:
        """Returns if the warehouse could put, read and delete a body at its primary provider."""
        await self._whole("GET", "/_health")

    async def buckets(self) -> list[str]:
        """The names of all buckets."""
        document = await self._document("GET", "/")
        links = [link.get("href", "") for link in document.iterfind("link") if link.get("rel") == "bucket"]
        return [URL(link).name for link in links]

    async def create_bucket(self, bucket: str) -> None:
        """Create a bucket; status 500 means that there is one, as a rule (iwhd.md 6.1)."""
        await self._whole("PUT", path_of(bucket))

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket; a 2011 warehouse cannot and says 404."""
        await self._whole("DELETE", path_of(bucket))

    async def keys(self, bucket: str) -> list[str]:
        """The keys of all objects of a bucket."""
        document = await self._document("GET", path_of(bucket))
        return [key.text or "" for key in document.iterfind("object/key")]

    async def query(self, bucket: str, expression: str) -> list[str]:
        """The keys of the objects that an expression selects."""
        try:
            document = await self._document("POST", path_of(bucket, "_query"), expression.encode())
        except IwhdResponseError as error:
            if error.status == 404:
                return []
            raise
        return [key.text or "" for key in document.iterfind("object/key")]

    def start_put(self, bucket: str, key: str, length: int | None = None, *, as_master: bool = False) -> IwhdPut:
        """Begin to store a body; without a `length` (bytes) it is sent in chunks. A slave wants `as_master`."""
        headers = {ROLE_HEADER: MASTER_ROLE} if as_master else {}
        if length is not None:
            headers["Content-Length"] = str(length)
        return IwhdPut(self, path_of(bucket, key), headers)

    @contextlib.asynccontextmanager
    async def get(self, bucket: str, key: str) -> AsyncIterator[IwhdBody]:
        """A body, open for reading while in the context."""
        async with self._request("GET", path_of(bucket, key)) as response:
            yield IwhdBody(response)

    async def delete(self, bucket: str, key: str) -> None:
        """Delete an object with its attributes."""
        await self._whole("DELETE", path_of(bucket, key))

    async def attribute(self, bucket: str, key: str, name: str) -> bytes | None:
        """The value of an attribute; None if it is missing or empty."""
        try:
            return await self._whole("GET", path_of(bucket, key, name))
        except IwhdResponseError as error:
            if error.status == 404:
                return None
            raise

    async def attribute_names(self, bucket: str, key: str) -> list[str]:
        """The names of all attributes of an object."""
        document = await self._document("GET", path_of(bucket, key, "_attrs"))
        return [each.get("name", "") for each in document.iterfind("object_attr")]

    async def set_attribute(self, bucket: str, key: str, name: str, value: bytes) -> None:
        """Set one attribute; `value` is not empty (a 2011 warehouse drops the connection then)."""
        await self._whole("PUT", path_of(bucket, key, name), None, value)

    async def set_attributes(self, bucket: str, key: str, attributes: Mapping[str, bytes]) -> None:
        """Set several attributes in one request."""
        form: Sequence[tuple[str, str | bytes]] = [("_key", key), *attributes.items()]
        await self._whole("POST", path_of(bucket), FORM, urlencode(form).encode())

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        """Remove an attribute; a 2011 warehouse cannot and says 404."""
        await self._whole("DELETE", path_of(bucket, key, name))

    async def operate(self, bucket: str, key: str, form: Mapping[str, str | bytes]) -> bytes:
        """A control operation on an object, such as `op=push`; returns what the warehouse says."""
        return await self._whole("POST", path_of(bucket, key), FORM, urlencode(form).encode())

    async def queue_length(self) -> int:
        """How many pieces of replication work are queued or running."""
        text = await self._whole("POST", "/", FORM, b"op=rep_status")
        count = text.split(b" ", 1)[0]
        if not count.isdigit():
            raise IwhdUnreachableError(f"{self._authority}: no number in {text[:40]!r}")
        return int(count)
