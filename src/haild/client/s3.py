"""Asynchronous S3 client: path style, plain HTTP (Amazon S3 API Reference 2006-03-01)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Literal
from urllib.parse import quote, unquote, urlencode

import aiohttp

from haild.client.http import RefusedError, ServiceClient, document_of
from haild.wire.s3 import sigv2, sigv4

Signature = Literal["v2", "v4"]

_S3_NAME: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:(?:-+|\.)[a-z0-9]+)*")


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    size: int
    etag: str
    modified: str
    """As the service writes it, ISO 8601."""


class S3Client(ServiceClient):
    """One service, one pair of credentials."""

    metadata_prefix = "x-amz-meta-"

    def __init__(
        self, host: str, port: int, *, key: str, secret: str, signature: Signature = "v4", region: str = "us-east-1"
    ) -> None:
        """Nothing is sent before the first request; must be made inside the event loop."""
        super().__init__(host, port)
        self._key = key
        self._secret = secret
        self._signature = signature
        self._region = region

    def path(self, bucket: str, key: str = "") -> str:
        """The path, percent-encoded as Signature Version 4 wants it; slashes in `key` stay."""
        return f"/{quote(bucket, safe='-_.~')}" + (f"/{quote(key, safe='/-_.~')}" if key else "")

    def _signed(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
        now = datetime.now(UTC)
        complete = {"Host": self._authority, **headers}
        # With version 2 tabled takes the bucket names of 2010, which S3 and version 4 have not.
        old_name = method == "PUT" and target.count("/") == 1 and not _S3_NAME.fullmatch(target[1:])
        if self._signature == "v2" or old_name:
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

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes | memoryview] | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        complete = self._signed(method, path, headers or {})
        # The tabled of 2010 takes bytes of a body that come together with the head for the next request. So the body
        # waits until it is asked for, and the connection carries no other request.
        waits = self._signature == "v2" and bool(data)
        if waits:
            complete["Connection"] = "close"
        return self._exchange(method, f"http://{self._authority}{path}", complete, data, waits=waits)

    def _refusal(self, response: aiohttp.ClientResponse, text: bytes) -> RefusedError:
        document = document_of(text)
        if document is None:
            return super()._refusal(response, text)
        code, message = (document.findtext(f"{{*}}{name}") or "" for name in ("Code", "Message"))
        return RefusedError(response.status, code, message)

    async def list_buckets(self) -> list[str]:
        """The names of all buckets of the owner of the credentials."""
        document = await self._document("GET", "/")
        return [name.text or "" for name in document.iterfind("{*}Buckets/{*}Bucket/{*}Name")]

    async def list_objects(self, bucket: str, *, prefix: str = "") -> AsyncIterator[str]:
        """The keys of a bucket, in order (GET Bucket version 1)."""
        marker = ""
        while True:
            query = urlencode({"prefix": prefix, "marker": marker}, quote_via=quote)
            document = await self._document("GET", f"{self.path(bucket)}?{query}")
            keys = [key.text or "" for key in document.iterfind("{*}Contents/{*}Key")]
            for key in keys:
                # A 2010 tabled begins a page with the marker itself (tabled.md 9.3).
                if key > marker or not marker:
                    yield key
            if document.findtext("{*}IsTruncated") != "true" or not keys or keys[-1] <= marker:
                return
            marker = keys[-1]

    async def list_page(
        self, bucket: str, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[list[Listed], bool]:
        """At most `limit` objects in order of their keys, which come after `after`, and whether there are more."""
        query = urlencode(
            {"prefix": prefix, "marker": after, "max-keys": limit, "encoding-type": "url"}, quote_via=quote
        )
        document = await self._document("GET", f"{self.path(bucket)}?{query}")
        # XML has no way to write some characters that a key may have; a server of 2010 knows no encoding.
        encoded = document.findtext("{*}EncodingType") == "url"
        found = []
        for entry in document.iterfind("{*}Contents"):
            texts = {name: entry.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag", "LastModified")}
            key = unquote(texts["Key"].replace("+", " ")) if encoded else texts["Key"]
            size = int(texts["Size"]) if texts["Size"].isdecimal() and len(texts["Size"]) < 20 else 0
            found.append(Listed(key, size, texts["ETag"].strip('"'), texts["LastModified"]))
        return found, document.findtext("{*}IsTruncated") == "true"
