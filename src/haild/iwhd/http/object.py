"""Requests on bodies, and control operations on objects (iwhd.md 7.1 to 7.3 and section 8)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from haild.http.conditional import Part, UnsatisfiableError, content_range, date_of, part_of, precondition
from haild.http.request import Request
from haild.iwhd.http import attributes as attributeapi
from haild.iwhd.http.errors import RequestError
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Connection
from haild.iwhd.provider.base import MissingError, ProviderError, UnavailableError
from haild.iwhd.warehouse.object import ChangedError, Reading
from haild.wire.iwhd.form import Form
from haild.wire.iwhd.target import (
    ETAG_HEADER,
    MASTER_ROLE,
    RESERVED_ATTRIBUTES,
    RESERVED_OBJECTS,
    ROLE_HEADER,
    Target,
)

BINARY: Final = "application/octet-stream"

_ATTEMPTS: Final = 10
"""How often a body may be replaced just while it is opened, before its reader is told to come again."""

logger = logging.getLogger(__name__)


async def put_object(site: Site, request: Request, target: Target) -> Reply:
    """Store the body of the request. No body is an empty one."""
    role = request.headers.get(ROLE_HEADER)
    if role != (None if site.master is None else MASTER_ROLE) or target.key in RESERVED_OBJECTS:
        raise RequestError(403, close=True)
    if "Content-Range" in request.headers:
        text = "a PUT stores a whole body; Content-Range in it means a part, which cannot be stored alone\n"
        raise RequestError(400, text, close=True)
    try:
        upstream = None if site.master is None else request.headers.get(ETAG_HEADER)
        put = await site.objects.start_put(target.bucket, target.key, request.length, upstream=upstream)
    except UnavailableError as error:
        logger.warning("put of %s/%s: %s", target.bucket, target.key, error)
        raise RequestError(503, close=True) from error
    except ProviderError as error:
        logger.warning("put of %s/%s: %s", target.bucket, target.key, error)
        raise RequestError(500, close=True) from error
    try:
        stored = await put.take(site.bodies.pieces(request))
    except MissingError as error:
        logger.warning("put of %s/%s: %s", target.bucket, target.key, error)
        raise RequestError(500) from error
    return Reply(201, headers={} if site.master is not None else {"ETag": stored.etag})


async def get_object(site: Site, request: Request, target: Target) -> Reply:
    """The body or a part of it, streamed; without the database whatever the provider has."""
    for _ in range(_ATTEMPTS):
        reading = await site.objects.reading(target.bucket, target.key)
        if await _is_at_master(site, reading):
            try:
                return await _pulled(site, request, target)
            except UnavailableError:
                if reading.record is None:
                    raise
        try:
            return await _read(site, request, reading)
        except ChangedError:
            continue  # replaced in between
    raise RequestError(503, "the body is being replaced all the time\n")


async def _is_at_master(site: Site, reading: Reading) -> bool:
    """Whether the body is to be had from the master: we have none, or an old copy. Raises RequestError(404)."""
    if not reading.is_known:
        return False
    if site.master is not None and reading.key not in RESERVED_OBJECTS:
        return reading.record is None or await site.master.has_replaced(reading.bucket, reading.key, reading.record)
    if reading.record is None:
        raise RequestError(404)
    return False


async def _read(site: Site, request: Request, reading: Reading) -> Reply:
    """The answer from our own provider. Raises ChangedError, ProviderError."""
    record = reading.record
    headers: dict[str, str] = {}
    part: Part | None = None
    if record is not None and record.etag is not None:
        headers = {"ETag": f'"{record.etag}"', "Last-Modified": date_of(record.date), "Accept-Ranges": "bytes"}
        if (status := precondition(request.headers, record.etag, record.date)) is not None:
            return Reply(status, headers=headers)
        if request.method == "HEAD":
            return Reply(200, _nothing(), BINARY, headers, length=record.size)
        try:
            part = part_of(request.headers, record.size, record.etag, record.date)
        except UnsatisfiableError as error:
            raise RequestError(416, headers={"Content-Range": f"bytes */{record.size}"}) from error
    async with contextlib.AsyncExitStack() as stack:
        try:
            opening = reading.open() if part is None else reading.open(part.offset, part.length)
            body = await stack.enter_async_context(opening)
        except MissingError as error:
            logger.warning("get of %s/%s: %s", reading.bucket, reading.key, error)
            raise RequestError(404 if record is None else site.directory.primary.lost_body_status) from error
        if part is None or record is None:
            length = None if record is None else record.size
            return Reply(200, body, BINARY, headers, length=length, resources=stack.pop_all())
        headers["Content-Range"] = content_range(part, record.size)
        return Reply(206, body, BINARY, headers, length=part.length, resources=stack.pop_all())


async def _pulled(site: Site, request: Request, target: Target) -> Reply:
    """A body that only the master has: streamed, and kept; a part of one is only passed on."""
    if site.master is None:
        raise RequestError(404)
    asked = {name: request.headers[name] for name in ("Range", "If-Range") if name in request.headers}
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(site.master.pulled(target.bucket, target.key, asked))
        status = 200 if found.content_range is None else 206
        headers = {} if found.content_range is None else {"Content-Range": found.content_range}
        if found.etag:
            headers["ETag"] = f'"{found.etag}"'
        body = found.body
        return Reply(status, body, BINARY, headers, length=body.size, resources=stack.pop_all())


async def _nothing() -> AsyncIterator[bytes]:
    """The content of an answer that is not sent."""
    return
    yield b""


async def delete_object(site: Site, _request: Request, target: Target) -> Reply:
    """Delete body and attributes. The pseudo-objects of a bucket are not for deleting."""
    if target.key in RESERVED_OBJECTS:
        raise RequestError(404)
    await site.objects.delete(target.bucket, target.key)
    return Reply()


async def post_object(site: Site, request: Request, target: Target) -> Reply:
    """A control operation."""
    form = await site.bodies.form(request)
    operation = _OPERATIONS.get(form.get("op", b""))
    if form.keys() & RESERVED_ATTRIBUTES or operation is None:
        raise RequestError(400)
    return await operation(site, request, target, form)


async def _parts(site: Site, request: Request, target: Target, _form: Form) -> Reply:
    return await attributeapi.get_attributes(site, request, target)


async def _push(site: Site, _request: Request, target: Target, form: Form) -> Reply:
    """Evaluate the policy now; `_policy` in the form takes the stored one's place for this once."""
    policy = form.get(records.POLICY_ATTRIBUTE)
    override = None if policy is None else policy.decode("utf-8", "surrogateescape")

    def change(connection: Connection) -> None:
        site.queue.object_pushed(connection, target.bucket, target.key, override)

    await site.database.write(change)
    site.queue.announce()
    return Reply()


async def _check(site: Site, _request: Request, target: Target, form: Form) -> Reply:
    """Whether the provider that `depot` names holds the body."""
    depot = form.get("depot")
    if depot is None:
        raise RequestError(400)
    record = await site.database.read(partial(records.find, bucket=target.bucket, key=target.key))
    held = record is not None and depot.decode("utf-8", "replace") in record.locations
    if not held:
        raise RequestError(404)
    return Reply()


async def _register(site: Site, _request: Request, target: Target, form: Form) -> Reply:
    """Make the image known to a cloud; the answer waits for that."""
    await site.registration.register(target.bucket, target.key, form)
    return Reply()


_Operation = Callable[[Site, Request, Target, Form], Awaitable[Reply]]
_OPERATIONS: Final[Mapping[bytes, _Operation]] = {
    b"parts": _parts,
    b"push": _push,
    b"check": _check,
    b"register": _register,
}
