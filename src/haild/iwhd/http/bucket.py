"""Requests on buckets: create, delete, list, query, and attributes set through the bucket (iwhd.md 6 and 7.4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from haild.http.request import Request
from haild.iwhd.http.attributes import store
from haild.iwhd.http.document import writer
from haild.iwhd.http.errors import RequestError
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.iwhd.metadata import records
from haild.iwhd.metadata.evaluation import QUERY_SECONDS, Meter, matching
from haild.iwhd.metadata.port import Connection
from haild.iwhd.metadata.records import Page
from haild.iwhd.provider.base import ProviderError, UnavailableError
from haild.wire.iwhd import query as iwhql
from haild.wire.iwhd.query import ExpressionError
from haild.wire.iwhd.target import MAXIMUM_NAME, RESERVED_ATTRIBUTES, RESERVED_BUCKETS, Target, is_path_segment

logger = logging.getLogger(__name__)


async def put_bucket(site: Site, _request: Request, target: Target) -> Reply:
    """Create a bucket; a body is not looked at."""
    return await _create(site, target.bucket)


async def _create(site: Site, bucket: str) -> Reply:
    if bucket in RESERVED_BUCKETS or not is_path_segment(bucket):
        raise RequestError(400, close=True)
    try:
        await site.buckets.create(bucket)
    except UnavailableError as error:
        logger.warning("bucket %s: %s", bucket, error)
        raise RequestError(503, close=True) from error
    except ProviderError as error:
        # Upstream's status for a bucket that exists, and what clients take it for.
        logger.debug("bucket %s: %s", bucket, error)
        raise RequestError(500, close=True) from error
    return Reply(201, close=True)


async def delete_bucket(site: Site, _request: Request, target: Target) -> Reply:
    """Delete an empty bucket (our addition)."""
    await site.buckets.delete(target.bucket)
    return Reply()


async def post_bucket(site: Site, request: Request, target: Target) -> Reply:
    """Create the bucket that the form names (`_new`), or set attributes of the object that it names."""
    form = await site.bodies.form(request)
    if target.bucket == "_new":
        name = form.get("name")
        if name is None:
            raise RequestError(400)
        return await _create(site, name.decode("utf-8", "replace"))
    raw_key = form.pop("_key", None)
    if raw_key is None or form.keys() & RESERVED_ATTRIBUTES:
        raise RequestError(400)
    key = raw_key[:MAXIMUM_NAME].decode("utf-8", "ignore")
    if not is_path_segment(key):
        raise RequestError(400)
    policy = form.get(records.POLICY_ATTRIBUTE)
    override = None if policy is None else policy.decode("utf-8", "surrogateescape")
    await store(site, target.bucket, key, form, override)
    return Reply()


async def get_bucket(site: Site, request: Request, target: Target) -> Reply:
    """List the objects of a bucket."""

    def first(connection: Connection) -> Page | None:
        return records.page(connection, target.bucket) if records.is_bucket(connection, target.bucket) else None

    async def following(position: int) -> Page:
        return await site.database.read(partial(records.page, bucket=target.bucket, position=position))

    page = await site.database.read(first)
    if page is None:
        raise RequestError(404)
    return _listed(request, page, following)


async def post_query(site: Site, request: Request, target: Target) -> Reply:
    """List the objects that an expression selects; 404 if there is none. What cannot be parsed selects none."""
    body = await site.bodies.collected(request)
    source = body.decode("utf-8", "surrogateescape").strip()
    if not source:
        raise RequestError(400)
    try:
        # Not in the event loop: a long one takes a tenth of a second.
        expression = await asyncio.to_thread(iwhql.parse, source)
    except ExpressionError as error:
        logger.debug("query on %s: %s", target.bucket, error)
        raise RequestError(404) from error
    meter = Meter(QUERY_SECONDS)

    async def following(position: int) -> Page:
        """The next page in which anything was found, or the last one."""
        while True:
            if request.client_has_left:
                raise ConnectionResetError("the client is gone")
            search = partial(matching, bucket=target.bucket, position=position, expression=expression, meter=meter)
            page = await site.database.search(search)
            if page.found or page.position is None:
                return page
            position = page.position

    page = await following(0)
    if not page.found:
        raise RequestError(404)
    return _listed(request, page, following)


def _listed(request: Request, first: Page, following: Callable[[int], Awaitable[Page]]) -> Reply:
    """A list that begins with the page `first`; `following` gives the page after a position."""
    form, content_type = writer(request)

    async def parts() -> AsyncIterator[bytes]:
        page, empty = first, True
        text = form.objects_begin()
        while True:
            text += form.objects(page.listed, first=empty)
            empty = empty and not page.listed
            if page.position is None:
                break
            yield text.encode()
            text = ""
            page = await following(page.position)
        yield (text + form.objects_end(empty=empty)).encode()

    return Reply(200, parts(), content_type)
