"""Buckets and objects of tabled and of iwhd, and where the copies of an object are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hailbox.commands.env import env
from hailbox.commands.execute import execute
from hailbox.console.changes import in_thread
from hailbox.context import Context
from hailbox.model.errors import HailboxError, NotWorkingError, UnknownServiceError
from hailbox.stack.endpoint import access
from haild.client.chunk import ChunkError, Connection, ResponseCode
from haild.client.http import ServiceError, StoredObject
from haild.client.iwhd import IwhdClient
from haild.client.s3 import Listed, S3Client

SHOWN: Final = 100
"""Objects on a page."""
READ: Final = 16 << 20
"""Bytes of an object up to which its copies are read and verified without being asked to."""
_VALUE: Final = 2000
"""Characters of an attribute that are shown."""
TABLE: Final = b"tabled\0"
"""The table of tabled's bodies on each node (tabled.md 13.3)."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of an object."""

    name: str
    value: str


@dataclass(frozen=True)
class Side:
    """What one service has: its buckets, and the objects of the chosen one."""

    service: str
    buckets: tuple[str, ...] = ()
    objects: tuple[Listed, ...] = ()
    more: bool = False
    trouble: str = ""
    """Why there is nothing to show."""


@dataclass(frozen=True)
class Copy:
    """A copy of a body on a node."""

    replica: str
    state: str
    """verified, damaged, missing, unreachable; `not read` where it is large."""
    detail: str = ""


@dataclass(frozen=True)
class Body:
    """A stretch of an object, and the copies of the body that it is in."""

    key: str
    offset: int
    length: int
    size: int
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Whereabouts:
    """Where an object of tabled is."""

    size: int
    encrypted: bool
    bodies: tuple[Body, ...]


@dataclass(frozen=True)
class Described:
    """An object as each service describes it; None where a service has no such object."""

    s3: tuple[Attribute, ...] | None = None
    iwhd: tuple[Attribute, ...] | None = None
    troubles: tuple[str, ...] = field(default=())


@contextlib.asynccontextmanager
async def tabled(context: Context) -> AsyncIterator[S3Client]:
    """A client of the stack's tabled. Raises what `endpoint.access` raises."""
    found = await in_thread(lambda: access(context, "tabled"))
    async with S3Client(found.host, found.port, key=found.user, secret=found.secret) as client:
        yield client


@contextlib.asynccontextmanager
async def iwhd(context: Context) -> AsyncIterator[IwhdClient]:
    """A client of the stack's iwhd. Raises what `endpoint.access` raises."""
    found, token = await in_thread(lambda: (access(context, "iwhd"), env(context).get("IWHD_TOKEN")))
    login = f"Bearer {token}" if token else None
    async with IwhdClient(found.host, found.port, authorization=login) as client:
        yield client


async def tabled_side(context: Context, bucket: str, prefix: str, after: str) -> Side:
    """What tabled has."""
    try:
        async with tabled(context) as client:
            buckets = tuple(await client.list_buckets())
            objects, more = (
                await client.list_page(bucket, prefix=prefix, after=after, limit=SHOWN)
                if bucket in buckets
                else ([], False)
            )
    except (ServiceError, HailboxError) as error:
        return Side("tabled", trouble=str(error))
    return Side("tabled", buckets, tuple(objects), more)


async def iwhd_side(context: Context, bucket: str, prefix: str, after: str, query: str) -> Side:
    """What iwhd has; with a `query` of its language only what that selects."""
    try:
        async with iwhd(context) as client:
            buckets = tuple(await client.buckets())
            keys: list[str] = []
            if bucket in buckets:
                keys = await client.query(bucket, query) if query else await client.keys(bucket)
    except (ServiceError, HailboxError) as error:
        return Side("iwhd", trouble=str(error))
    wanted = sorted(key for key in keys if key.startswith(prefix) and key > after)
    objects = tuple(Listed(key, -1, "", "") for key in wanted[:SHOWN])
    return Side("iwhd", buckets, objects, len(wanted) > SHOWN)


async def describe(context: Context, bucket: str, key: str) -> Described:
    """The attributes of an object in both services."""
    troubles: list[str] = []
    s3 = warehouse = None
    try:
        async with tabled(context) as client:
            found = await client.head_object(bucket, key)
            metadata = [Attribute(f"x-amz-meta-{name}", value) for name, value in found.metadata.items()]
            s3 = (Attribute("size", str(found.size or 0)), Attribute("etag", found.etag), *metadata)
    except (ServiceError, HailboxError) as error:
        troubles.append(f"tabled: {error}")
    try:
        async with iwhd(context) as client:
            names = await client.attribute_names(bucket, key)
            values = [(name, await client.attribute(bucket, key, name)) for name in names]
            warehouse = tuple(
                Attribute(name, (value or b"").decode(errors="backslashreplace")[:_VALUE]) for name, value in values
            )
    except (ServiceError, HailboxError) as error:
        troubles.append(f"iwhd: {error}")
    return Described(s3, warehouse, tuple(troubles))


def placement(context: Context, bucket: str, key: str) -> Mapping[str, Any] | None:
    """What `haild.tabled.whereabouts` says of an object, in the container of tabled. Raises HailboxError."""
    replica = access(context, "tabled").replica
    directory = context.catalog.services["tabled"].data or ""
    words = [urllib.parse.quote(word, safe="", errors="surrogateescape") for word in (bucket, key)]
    said = execute(context, replica, ["python3", "-m", "haild.tabled.whereabouts", directory, *words])
    try:
        found = json.loads(said.output)
    except ValueError as error:
        raise NotWorkingError(
            f"{replica} does not tell where it keeps objects: {said.errors.decode(errors='replace').strip()[-200:]}",
            f"bring it up to date: hailbox --stack {context.stack} up",
        ) from error
    return found if isinstance(found, dict) else None


async def whereabouts(context: Context, found: Mapping[str, Any], *, read_all: bool) -> Whereabouts:
    """The copies of an object, each read and compared with its checksum unless it is large and not asked for."""
    size = int(found["size"])
    reads = read_all or size <= READ
    bodies = []
    for segment in found["segments"]:
        key = str(segment["key"])
        copies = [await _copy(context, f"chunkd-{node}", key, reads) for node in segment["nodes"]]
        bodies.append(Body(key, segment["offset"], segment["length"], segment["size"], tuple(copies)))
    return Whereabouts(size, bool(found["encrypted"]), tuple(bodies))


async def _copy(context: Context, replica: str, key: str, reads: bool) -> Copy:
    if not reads:
        return Copy(replica, "not read", "it is large")
    try:
        found = await in_thread(lambda: access(context, "chunkd", replica))
        connection = await Connection.open(
            found.host, found.port, user=found.user, secret=found.secret.encode(), table=TABLE, create=False
        )
    except UnknownServiceError:
        return Copy(replica, "unreachable", "the stack has no such node")
    except (ChunkError, OSError) as error:
        return Copy(replica, "unreachable", str(error) or type(error).__name__)
    try:
        reader = await connection.get(key.encode() + b"\0")
        digest = hashlib.sha1(usedforsecurity=False)
        async for block in reader:
            digest.update(block)
        if digest.digest() != reader.sha1:
            return Copy(replica, "damaged", "it does not match its SHA-1")
        return Copy(replica, "verified", f"SHA-1 {reader.sha1.hex()}")
    except ChunkError as error:
        missing = error.code == ResponseCode.NO_SUCH_KEY
        return Copy(replica, "missing" if missing else "damaged", f"the node says {_code(error.code)}")
    except OSError as error:
        return Copy(replica, "damaged", f"the node broke off: {error or type(error).__name__}")
    finally:
        connection.abort()


def _code(code: int) -> str:
    return ResponseCode(code).name if code in set(ResponseCode) else str(code)


async def blocks(context: Context, service: str, bucket: str, key: str) -> AsyncGenerator[StoredObject | bytes, None]:
    """An object for a download: first what is known of it, then its blocks. Raises ServiceError, HailboxError."""
    opened = tabled if service == "tabled" else iwhd
    async with opened(context) as client, client.get_object(bucket, key) as found:
        yield found
        async for block in found:
            yield block


def file_name(key: str) -> Iterator[str]:
    """The value of Content-Disposition for a download of that key (RFC 6266, 4.3), in pieces."""
    last = key.rstrip("/").rpartition("/")[2] or "object"
    plain = "".join(each if each.isascii() and (each.isalnum() or each in "._- ") else "_" for each in last)[:150]
    yield f'attachment; filename="{plain}"'
    yield f"; filename*=UTF-8''{urllib.parse.quote(last[:150], safe='', errors='replace')}"
