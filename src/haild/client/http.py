"""What our clients of HTTP services have in common: each keeps objects in buckets, at `/BUCKET` and `/BUCKET/OBJECT`.

A client of one more such service is a subclass of ServiceClient that says how a request is authorised and what
its paths are. Bodies are streamed both ways; redirects are not followed. Only requests without a body are ever
repeated, and only by the HTTP library after a kept connection turned out to be closed.

    ServiceError                  a request failed
      UnreachableError            no proper answer: not reached, silent, broken off, or unreadable
      RefusedError                the service refused; has its status
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from yarl import URL

from haild.wire import traceparent

CONNECT_DEADLINE: Final = 5.0
"""Seconds until a connection must be there."""

IDLE_DEADLINE: Final = 60.0
"""Seconds that a service may be silent in the middle of an exchange."""

BLOCK: Final = 256 * 1024
"""Bytes read from a connection at a time."""

MAXIMUM_ANSWER: Final = 4 << 20
"""Bytes of an answer that is read whole."""

BINARY: Final = {"Content-Type": "application/octet-stream"}

_FAILURES: Final = (aiohttp.ClientError, OSError)
"""What aiohttp raises when the other side cannot be reached, goes silent (an OSError too) or breaks off."""


class ServiceError(Exception):
    """A request failed."""


class UnreachableError(ServiceError):
    """The service cannot be reached, went silent, broke the connection or sent what cannot be read."""


class RefusedError(ServiceError):
    """The service refused. `status` is HTTP's; `code` and `message` are its own words, empty where it has none."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(" ".join(filter(None, (str(status), code, message))))
        self.status = status
        self.code = code
        self.message = message


@contextlib.contextmanager
def _failures(authority: str) -> Iterator[None]:
    """Turn the failures of the HTTP library into UnreachableError."""
    try:
        yield
    except _FAILURES as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise UnreachableError(f"{authority}: {reason}") from error


class StoredObject:
    """An object being read: iterate over it for the blocks of its body, which end in UnreachableError if cut short.

    `size` is in bytes, None where the service does not say it; of a part it is that of the part, which begins at
    `offset` of the object. `content_range` is the header of a part, else None. `etag` has no quotes; the names of
    `metadata` are in lower case.
    """

    def __init__(self, response: aiohttp.ClientResponse, metadata_prefix: str) -> None:
        self._response = response
        self.size = response.content_length
        self.etag = response.headers.get("ETag", "").strip('"')
        partial = response.status == HTTPStatus.PARTIAL_CONTENT
        self.content_range = response.headers.get("Content-Range") if partial else None
        self.offset = _offset(response)
        prefix = metadata_prefix.lower()
        self.metadata = {
            name.lower().removeprefix(prefix): value
            for name, value in response.headers.items()
            if prefix and name.lower().startswith(prefix)
        }

    def detach(self) -> tuple[bytes, int] | None:
        """What has come of the body, and a descriptor of a non-blocking socket on which the rest will come as it is.

        The caller closes the descriptor and iterates no more. None where that cannot be: then nothing has changed.
        """
        connection = self._response.connection
        transport = None if connection is None else connection.transport
        socket = None if transport is None else transport.get_extra_info("socket")
        if connection is None or connection.protocol is None or transport is None or socket is None:
            return None
        content = self._response.content
        if self.size is None or content.exception() is not None or transport.get_extra_info("ssl_object") is not None:
            return None
        begun = content.read_nowait()
        connection.protocol.pause_reading()
        return begun, os.dup(socket.fileno())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _failures(self._response.url.authority):
            async for block in self._response.content.iter_any():
                yield block


def _offset(response: aiohttp.ClientResponse) -> int:
    """Where the part of the object begins that a response carries (RFC 9110, 14.4)."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0].strip()
    if not (first.isascii() and first.isdecimal() and len(first) < 20):
        raise UnreachableError(f"{response.url.authority}: a part of an object without its place")
    return int(first)


class Put:
    """An upload in steps: write() any number of times, then finish(), or abort() at any time.

    Nothing is visible before finish() has returned.
    """

    def __init__(self, send: Callable[[AsyncIterator[bytes | memoryview]], Coroutine[Any, Any, str]]) -> None:
        """`send` is given the body and returns the etag. It begins at once; must be made inside the event loop."""
        self._pieces: asyncio.Queue[bytes | memoryview | None] = asyncio.Queue(1)
        self._request = asyncio.create_task(send(self._body()))
        self._request.add_done_callback(_retrieve)

    async def _body(self) -> AsyncIterator[bytes | memoryview]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _hand_over(self, piece: bytes | memoryview | None) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._pieces.put_nowait(piece)
            return
        handing = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({handing, self._request}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()

    async def write(self, piece: bytes | memoryview) -> None:
        """Send `piece`; returns when there is room for more. Raises ServiceError if the upload failed meanwhile."""
        if self._request.done():
            await self._request
            raise UnreachableError("the service answered before the body was complete")
        if piece:
            await self._hand_over(piece)

    async def finish(self) -> str:
        """End the body. Returns the etag without quotes once the service has acknowledged; raises ServiceError."""
        if not self._request.done():
            await self._hand_over(None)
        return await self._request

    async def abort(self) -> None:
        """Break the connection: the service discards what it got."""
        self._request.cancel()
        await asyncio.wait({self._request})


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of an upload as seen: write() and finish() report it, an abort does not want it."""
    if not task.cancelled():
        task.exception()


class ServiceClient(abc.ABC):
    """One service. Use as an asynchronous context manager, or call close(). Methods raise ServiceError."""

    metadata_prefix: ClassVar[str] = ""
    """What the names of headers with metadata begin with; empty if the service keeps none."""

    def __init__(self, host: str, port: int, *, idle_deadline: float = IDLE_DEADLINE) -> None:
        """Nothing is sent before the first request; must be made inside the event loop.

        `idle_deadline` is how many seconds the service may be silent.
        """
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE, sock_read=idle_deadline),
            auto_decompress=False,
            read_bufsize=BLOCK,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    # What a service is asked to say.

    @abc.abstractmethod
    def path(self, bucket: str, key: str = "") -> str:
        """The percent-encoded path of a bucket, or of an object in it."""

    @abc.abstractmethod
    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes | memoryview] | None = None,
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send an authorised request and yield the response, of status 2xx."""

    def _refusal(self, response: aiohttp.ClientResponse, text: bytes) -> RefusedError:
        """What to raise for a response of another status, whose body is `text`."""
        return RefusedError(response.status, message=response.reason or "")

    # Requests.

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | None,
        data: bytes | AsyncIterator[bytes | memoryview] | None = None,
        *,
        waits: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request as it is and yield the response, of status 2xx.

        `waits`: send the body only when the service asks for it (`Expect: 100-continue`, RFC 9110, 10.1.1). A
        connection whose response was not read to its end is closed.
        """
        url = URL(address, encoded=True)
        if (trace := traceparent.CURRENT.get()) is not None:
            headers = {**(headers or {}), traceparent.HEADER: trace.header}
        with _failures(url.authority):
            response = await self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False, expect100=waits
            )
        async with response:
            if not 200 <= response.status < 300:
                text = b""
                with contextlib.suppress(UnreachableError):  # its words are lost, but not its status
                    text = await _read(response)
                raise self._refusal(response, text)
            yield response

    async def _whole(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> bytes:
        """The body of a short answer."""
        async with self._request(method, path, headers, data) as response:
            return await _read(response)

    async def _document(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Element:
        """The XML document of an answer."""
        document = document_of(await self._whole(method, path, headers, data))
        if document is None:
            raise UnreachableError(f"{self._authority}: the answer is not XML")
        return document

    def start_put(
        self,
        bucket: str,
        key: str,
        length: int | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = BINARY,
    ) -> Put:
        """Begin to store an object of `length` bytes; without a length it is sent in chunks.

        The values of `metadata` must be printable ASCII.
        """
        complete = {self.metadata_prefix + name: value for name, value in (metadata or {}).items()}
        complete |= headers
        if length is not None:
            complete["Content-Length"] = str(length)

        async def send(body: AsyncIterator[bytes | memoryview]) -> str:
            data = body if length != 0 else b""
            async with self._request("PUT", self.path(bucket, key), complete, data) as response:
                return response.headers.get("ETag", "").strip('"')

        return Put(send)

    async def put_object(self, bucket: str, key: str, body: bytes) -> str:
        """Store `body`; returns its etag without quotes."""
        put = self.start_put(bucket, key, len(body))
        if body:
            await put.write(body)
        return await put.finish()

    @contextlib.asynccontextmanager
    async def get_object(
        self, bucket: str, key: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[StoredObject]:
        """The object, open for reading while in the context; status 404 if there is none.

        `headers` may ask for a part by Range; `offset` of the result tells whether the service sends that part.
        """
        async with self._request("GET", self.path(bucket, key), headers) as response:
            yield StoredObject(response, self.metadata_prefix)

    async def head_object(self, bucket: str, key: str) -> StoredObject:
        """Size, etag and metadata of an object; the result has no body."""
        async with self._request("HEAD", self.path(bucket, key)) as response:
            return StoredObject(response, self.metadata_prefix)

    async def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object; whether a missing one is an error depends on the service."""
        await self._whole("DELETE", self.path(bucket, key))

    async def create_bucket(self, bucket: str) -> None:
        """Create a bucket; whether an existing one is an error depends on the service."""
        await self._whole("PUT", self.path(bucket), {"Content-Length": "0"})

    async def head_bucket(self, bucket: str) -> None:
        """Raises RefusedError unless the bucket is there and may be used."""
        await self._whole("HEAD", self.path(bucket))

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket."""
        await self._whole("DELETE", self.path(bucket))


def document_of(text: bytes) -> Element | None:
    """The XML document in `text`; None if it is none or a dangerous one."""
    try:
        document: Element = ElementTree.fromstring(text)
    except (ParseError, DefusedXmlException):
        return None
    return document


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body of a short answer."""
    text = bytearray()
    with _failures(response.url.authority):
        async for block in response.content.iter_any():
            text += block
            if len(text) > MAXIMUM_ANSWER:
                raise UnreachableError(f"{response.url.authority}: an answer of more than {MAXIMUM_ANSWER} bytes")
    return bytes(text)
