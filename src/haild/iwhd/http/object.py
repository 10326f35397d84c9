"""Requests on bodies, and control operations on objects (iwhd.md 7.1 to 7.3 and section 8)."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web

from haild.iwhd.http import attributes as attributeapi
from haild.iwhd.http.errors import RequestError
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.iwhd.metadata import records
from haild.iwhd.metadata.database import DatabaseError
from haild.iwhd.metadata.records import Record
from haild.iwhd.provider.base import MissingError, ProviderError, UnavailableError
from haild.wire.iwhd.form import Form
from haild.wire.iwhd.target import MASTER_ROLE, RESERVED_ATTRIBUTES, RESERVED_OBJECTS, ROLE_HEADER, Target

BINARY: Final = "application/octet-stream"

logger = logging.getLogger(__name__)


async def put_object(site: Site, request: web.BaseRequest, target: Target) -> Reply:
    """Store the body of the request. No body is an empty one."""
    role = request.headers.get(ROLE_HEADER)
    if role != (None if site.master is None else MASTER_ROLE) or target.key in RESERVED_OBJECTS:
        raise RequestError(403, close=True)
    length = request.content_length if request.body_exists else 0
    try:
        put = await site.objects.start_put(target.bucket, target.key, length)
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


async def get_object(site: Site, request: web.BaseRequest, target: Target) -> Reply:
    """The body, streamed; without the database whatever the provider has."""
    record: Record | None = None
    with contextlib.suppress(DatabaseError):
        record = await site.objects.find(target.bucket, target.key)
        if record is None:
            return await _pulled(site, target)
        if request.headers.get("If-None-Match") == record.etag:
            return Reply(304)
    length = None if record is None else record.size
    if request.method == "HEAD" and record is not None:
        return Reply(200, _nothing(), BINARY, length=length)
    async with contextlib.AsyncExitStack() as stack:
        try:
            body = await stack.enter_async_context(site.objects.open(target.bucket, target.key))
        except MissingError as error:
            logger.warning("get of %s/%s: %s", target.bucket, target.key, error)
            raise RequestError(404 if record is None else site.directory.primary.lost_body_status) from error
        return Reply(200, body, BINARY, length=length, resources=stack.pop_all())


async def _pulled(site: Site, target: Target) -> Reply:
    """A body that only the master has: streamed, and kept."""
    if site.master is None or target.key in RESERVED_OBJECTS:
        raise RequestError(404)
    async with contextlib.AsyncExitStack() as stack:
        body = await stack.enter_async_context(site.master.pulled(target.bucket, target.key))
        return Reply(200, body, BINARY, length=body.size, resources=stack.pop_all())


async def _nothing() -> AsyncIterator[bytes]:
    """The content of an answer that is not sent."""
    return
    yield b""


async def delete_object(site: Site, _request: web.BaseRequest, target: Target) -> Reply:
    """Delete body and attributes. The pseudo-objects of a bucket are not for deleting."""
    if target.key in RESERVED_OBJECTS:
        raise RequestError(404)
    await site.objects.delete(target.bucket, target.key)
    return Reply()


async def post_object(site: Site, request: web.BaseRequest, target: Target) -> Reply:
    """A control operation."""
    form = await site.bodies.form(request)
    operation = _OPERATIONS.get(form.get("op", b""))
    if form.keys() & RESERVED_ATTRIBUTES or operation is None:
        raise RequestError(400)
    return await operation(site, request, target, form)


async def _parts(site: Site, request: web.BaseRequest, target: Target, _form: Form) -> Reply:
    return await attributeapi.get_attributes(site, request, target)


async def _push(site: Site, _request: web.BaseRequest, target: Target, form: Form) -> Reply:
    """Evaluate the policy now; `_policy` in the form takes the stored one's place for this once."""
    policy = form.get(records.POLICY_ATTRIBUTE)
    override = None if policy is None else policy.decode("utf-8", "surrogateescape")

    def change(connection: sqlite3.Connection) -> None:
        site.queue.object_pushed(connection, target.bucket, target.key, override)

    await site.database.write(change)
    site.queue.announce()
    return Reply()


async def _check(site: Site, _request: web.BaseRequest, target: Target, form: Form) -> Reply:
    """Whether the provider that `depot` names holds the body."""
    depot = form.get("depot")
    if depot is None:
        raise RequestError(400)
    record = await site.database.read(partial(records.find, bucket=target.bucket, key=target.key))
    held = record is not None and depot.decode("utf-8", "replace") in record.locations
    if not held:
        raise RequestError(404)
    return Reply()


async def _register(site: Site, _request: web.BaseRequest, target: Target, form: Form) -> Reply:
    """Make the image known to a cloud; the answer waits for that."""
    await site.registration.register(target.bucket, target.key, form)
    return Reply()


_Operation = Callable[[Site, web.BaseRequest, Target, Form], Awaitable[Reply]]
_OPERATIONS: Final[Mapping[bytes, _Operation]] = {
    b"parts": _parts,
    b"push": _push,
    b"check": _check,
    b"register": _register,
}
