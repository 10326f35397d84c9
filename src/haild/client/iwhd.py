"""Asynchronous client of an image warehouse (iwhd.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from haild.client.http import IDLE_DEADLINE, RefusedError, ServiceClient, UnreachableError
from haild.wire.iwhd.target import path_of

LARGEST_IN_FORM: Final = 1 << 20
"""Bytes of a value: percent-encoded it is up to three times as long, and a warehouse takes forms of 4 MiB."""

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class IwhdClient(ServiceClient):
    """One warehouse."""

    def __init__(
        self, host: str, port: int, *, authorization: str | None = None, idle_deadline: float = IDLE_DEADLINE
    ) -> None:
        """`authorization`: the Authorization header of all requests; else as ServiceClient."""
        super().__init__(host, port, idle_deadline=idle_deadline)
        self._login = {} if authorization is None else {"Authorization": authorization}

    def path(self, bucket: str, key: str = "") -> str:
        """The path of a bucket or an object."""
        return path_of(bucket, key) if key else path_of(bucket)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes | memoryview] | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._exchange(method, f"http://{self._authority}{path}", {**self._login, **(headers or {})}, data)

    async def _post(self, path: str, form: Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]]) -> bytes:
        return await self._whole("POST", path, FORM, urlencode(form).encode())

    async def health(self) -> None:
        """Returns if the warehouse could put, read and delete a body at its primary provider."""
        await self._whole("GET", "/_health")

    async def buckets(self) -> list[str]:
        """The names of all buckets."""
        document = await self._document("GET", "/")
        links = [link.get("href", "") for link in document.iterfind("link") if link.get("rel") == "bucket"]
        return [URL(link).name for link in links]

    async def keys(self, bucket: str) -> list[str]:
        """The keys of all objects of a bucket."""
        document = await self._document("GET", self.path(bucket))
        return [key.text or "" for key in document.iterfind("object/key")]

    async def query(self, bucket: str, expression: str) -> list[str]:
        """The keys of the objects that an expression selects."""
        try:
            document = await self._document("POST", path_of(bucket, "_query"), FORM, expression.encode())
        except RefusedError as error:
            if error.status == 404:
                return []
            raise
        return [key.text or "" for key in document.iterfind("object/key")]

    async def attribute(self, bucket: str, key: str, name: str) -> bytes | None:
        """The value of an attribute; None if it is missing or empty."""
        try:
            return await self._whole("GET", path_of(bucket, key, name))
        except RefusedError as error:
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
        """Set several attributes, in one request but for those that a form cannot carry."""
        small = [(name, value) for name, value in attributes.items() if len(value) <= LARGEST_IN_FORM]
        if small:
            await self._post(self.path(bucket), [("_key", key), *small])
        for name, value in attributes.items():
            if len(value) > LARGEST_IN_FORM:
                await self.set_attribute(bucket, key, name, value)

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        """Remove an attribute; a 2011 warehouse cannot and says 404."""
        await self._whole("DELETE", path_of(bucket, key, name))

    async def operate(self, bucket: str, key: str, form: Mapping[str, str | bytes]) -> bytes:
        """A control operation on an object, such as `op=push`; returns what the warehouse says."""
        return await self._post(self.path(bucket, key), form)

    async def queue_length(self) -> int:
        """How many pieces of replication work are queued or running."""
        text = await self._post("/", {"op": "rep_status"})
        count = text.split(b" ", 1)[0]
        if not count.isdigit():
            raise UnreachableError(f"{self._authority}: no number in {text[:40]!r}")
        return int(count)
