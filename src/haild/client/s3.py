"""Asynchronous S3 client: path style, plain HTTP, bodies streamed both ways (Amazon S3 API Reference 2006-03-01).

Errors: S3Error is the root; S3ResponseError carries what the service answered, S3UnreachableError says that
it did not answer. Only requests without a body are ever repeated, and only by the HTTP library after a kept
connection turned out to be closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
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
from haild.wire import sigv2, sigv4

METADATA_PREFIX: Final = "x-amz-meta-"

Signature = Literal["v2", "v4"]


class S3Error(Exception):
    """A request failed."""


class S3UnreachableError(S3Error):
    """The service cannot be reached, went silent or broke the connection."""


class S3ResponseError(S3Error):
    """The service refused. `status` is HTTP's, `code` S3's (empty where the answer had no error document)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code} {message}".rstrip())
        self.status = status
        self.code = code
        self.message = message


class S3Object:
    """An object being read. `size` is in bytes, `etag` without quotes, `metadata` by lower-case name.

    Iterate over it for the blocks of its body; they end in S3UnreachableError if the body is cut short.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.size = _length(response.headers.get("Content-Length"))
        self.etag = response.headers.get("ETag", "").strip('"')
        self.metadata = {
            name.lower()[len(METADATA_PREFIX) :]: value
            for name, value in response.headers.items()
            if name.lower().startswith(METADATA_PREFIX)
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for block in self._response.content.iter_any():
                yield block
        except FAILURES as error:
            raise S3UnreachableError(reason_of(error)) from error


class S3Put:
    """An upload in steps, made by S3Client.start_put. Nothing is visible before finish() has returned."""

    def __init__(self, client: S3Client, path: str, length: int, headers: Mapping[str, str]) -> None:
        self._upload = PushedUpload(lambda body: client._upload(path, length, headers, body))

    async def write(self, piece: bytes) -> None:
        """Send `piece`; returns when there is room for more. Raises S3Error if the upload failed meanwhile."""
        try:
            await self._upload.write(piece)
        except AnsweredEarlyError as error:
            raise S3UnreachableError(str(error)) from error

    async def finish(self) -> str:
        """End the body. Returns the etag without quotes once the service has acknowledged; raises S3Error."""
        return await self._upload.finish()

    async def abort(self) -> None:
        """Break the connection: the service discards what it got."""
        await self._upload.abort()


class S3Client:
    """One service, one pair of credentials. Use as an asynchronous context manager, or call close()."""

    def __init__(
        self, host: str, port: int, *, key: str, secret: str, signature: Signature = "v4", region: str = "us-east-1"
    ) -> None:
        """Nothing is sent before the first request; must be made inside the event loop."""
        self._authority = authority_of(host, port)
        self._key = key
        self._secret = secret
        self._signature = signature
        self._region = region
        self._session = open_session()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _signed(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
        now = datetime.now(UTC)
        complete = {"Host": self._authority, **headers}
        if self._signature == "v2":
            complete["Date"] = format_datetime(now, usegmt=True)
            complete["Authorization"] = sigv2.sign_headers(
                method, target, complete, key=self._key, secret=self._secret
            )
            return complete
        return complete | sigv4.sign_headers(
            method,
            target,
            complete,
            key=self._key,
            secret=self._secret,
            region=self._region,
            when=now,
            payload_hash="UNSIGNED-PAYLOAD",
        )

    async def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse:
        url = URL(f"http://{self._authority}{target}", encoded=True)
        signed = self._signed(method, target, headers)
        try:
            return await self._session.request(method, url, headers=signed, data=data, allow_redirects=False)
        except FAILURES as error:
            raise S3UnreachableError(f"{self._authority}: {reason_of(error)}") from error

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the response, of status 2xx; raises S3Error.

        A connection whose response was not read to its end is closed.
        """
        async with await self._send(method, target, headers or {}, data) as response:
            if not 200 <= response.status < 300:
                raise await _refusal(response)
            yield response

    async def _upload(self, path: str, length: int, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> str:
        complete = {**headers, "Content-Length": str(length)}
        data = body if length else b""
        async with self._request("PUT", path, headers=complete, data=data) as response:
            return response.headers.get("ETag", "").strip('"')

    def start_put(
        self,
        bucket: str,
        key: str,
        length: int,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> S3Put:
        """Begin the upload of an object of `length` bytes; `metadata` values must be printable ASCII."""
        headers = {METADATA_PREFIX + name: value for name, value in (metadata or {}).items()}
        return S3Put(self, object_path(bucket, key), length, {"Content-Type": content_type, **headers})

    async def put_object(self, bucket: str, key: str, body: bytes) -> str:
        """Store `body`; returns its etag without quotes. Raises S3Error."""
        put = self.start_put(bucket, key, len(body))
        if body:
            await put.write(body)
        return await put.finish()

    @contextlib.asynccontextmanager
    async def get_object(self, bucket: str, key: str) -> AsyncIterator[S3Object]:
        """The object, open for reading while in the context. Raises S3Error (status 404: there is none)."""
        async with self._request("GET", object_path(bucket, key)) as response:
            yield S3Object(response)

    async def head_object(self, bucket: str, key: str) -> S3Object:
        """Size, etag and metadata of an object; the result has no body. Raises S3Error."""
        async with self._request("HEAD", object_path(bucket, key)) as response:
            return S3Object(response)

    async def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object. Raises S3Error; whether a missing one is an error depends on the service."""
        await self._simple("DELETE", object_path(bucket, key))

    async def create_bucket(self, bucket: str) -> None:
        """Create a bucket. Raises S3Error."""
        await self._simple("PUT", bucket_path(bucket))

    async def head_bucket(self, bucket: str) -> None:
        """Raises S3Error unless the bucket is there and may be read (by HEAD; a 2010 tabled lists its keys)."""
        await self._simple("HEAD", bucket_path(bucket))

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket. Raises S3Error."""
        await self._simple("DELETE", bucket_path(bucket))

    async def list_buckets(self) -> list[str]:
        """The names of all buckets of the owner of the credentials. Raises S3Error."""
        document = await self._document("/")
        return [name.text or "" for name in document.iterfind("{*}Buckets/{*}Bucket/{*}Name")]

    async def list_objects(self, bucket: str, *, prefix: str = "") -> AsyncIterator[str]:
        """The keys of a bucket, in order (GET Bucket version 1). Raises S3Error."""
        marker = ""
        while True:
            query = urlencode({"prefix": prefix, "marker": marker}, quote_via=quote)
            document = await self._document(f"{bucket_path(bucket)}?{query}")
            keys = [key.text or "" for key in document.iterfind("{*}Contents/{*}Key")]
            for key in keys:
                # A 2010 tabled begins a page with the marker itself (tabled.md 9.3).
                if key > marker or not marker:
                    yield key
            if document.findtext("{*}IsTruncated") != "true" or not keys or keys[-1] <= marker:
                return
            marker = keys[-1]

    async def _simple(self, method: str, target: str) -> None:
        async with self._request(method, target) as response:
            await _limited(response)

    async def _document(self, target: str) -> Element:
        async with self._request("GET", target) as response:
            text = await _limited(response)
        try:
            document: Element = ElementTree.fromstring(text)
        except (ParseError, DefusedXmlException) as error:
            raise S3UnreachableError(f"{self._authority}: the answer is not XML: {error}") from error
        return document


def bucket_path(bucket: str) -> str:
    """The path of a bucket, percent-encoded as Signature Version 4 wants it."""
    return "/" + quote(bucket, safe="-_.~")


def object_path(bucket: str, key: str) -> str:
    """The path of an object, percent-encoded as Signature Version 4 wants it; slashes in `key` stay."""
    return f"{bucket_path(bucket)}/{quote(key, safe='/-_.~')}"


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await read_whole(response)
    except FAILURES as error:
        raise S3UnreachableError(reason_of(error)) from error


async def _refusal(response: aiohttp.ClientResponse) -> S3ResponseError:
    text = await _limited(response)
    try:
        document = ElementTree.fromstring(text) if text else None
    except (ParseError, DefusedXmlException):
        document = None
    if document is None:
        return S3ResponseError(response.status, "", response.reason or "")
    code = document.findtext("{*}Code") or ""
    return S3ResponseError(response.status, code, document.findtext("{*}Message") or "")
