"""Requests on attributes (iwhd.md 7.5 and 7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from haild.http.request import Request
from haild.iwhd.http import reply
from haild.iwhd.http.document import base_address, writer
from haild.iwhd.http.errors import RequestError
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Connection
from haild.wire.iwhd.target import RESERVED_ATTRIBUTES, VALUE_HEADER, Target


async def store(
    site: Site, bucket: str, key: str, attributes: Mapping[str, bytes], policy_override: str | None = None
) -> None:
    """Set attributes and evaluate the policy, in one transaction. Raises DatabaseError."""

    def change(connection: Connection) -> None:
        records.set_attributes(connection, bucket, key, attributes.items())
        site.queue.object_changed(connection, bucket, key, policy_override)

    await site.database.write(change)
    site.queue.announce()


async def put_attribute(site: Site, request: Request, target: Target) -> Reply:
    """Set an attribute to the body, or to the value of a header."""
    if target.name in RESERVED_ATTRIBUTES:
        raise RequestError(400, close=True)
    in_header = request.headers.get(VALUE_HEADER)
    if in_header is not None:
        value = in_header.encode("utf-8", "surrogateescape")
    else:
        value = await site.bodies.collected(request)
    await store(site, target.bucket, target.key, {target.name: value.partition(b"\0")[0]})
    return Reply(201, close=in_header is not None)


async def get_attribute(site: Site, _request: Request, target: Target) -> Reply:
    """The bare value; an empty one counts as missing."""
    value = await site.database.read(
        partial(records.attribute, bucket=target.bucket, key=target.key, name=target.name)
    )
    if site.master is not None and target.name not in RESERVED_ATTRIBUTES:
        record = await site.database.read(partial(records.find, bucket=target.bucket, key=target.key))
        if record is not None and record.upstream is not None:
            value = await site.master.refreshed(target.bucket, target.key, target.name, value)
    if not value:
        raise RequestError(404)
    return Reply(200, value, "text/plain")


async def delete_attribute(site: Site, _request: Request, target: Target) -> Reply:
    """Remove an attribute (our addition)."""
    if target.name in RESERVED_ATTRIBUTES:
        raise RequestError(400)

    def change(connection: Connection) -> bool:
        removed = records.unset_attribute(connection, target.bucket, target.key, target.name)
        if removed:
            site.queue.attribute_unset(connection, target.bucket, target.key, target.name)
        return removed

    if not await site.database.write(change):
        raise RequestError(404)
    site.queue.announce()
    return Reply()


async def get_attributes(site: Site, request: Request, target: Target) -> Reply:
    """The names of all attributes."""
    stored = await site.database.read(partial(records.attribute_names, bucket=target.bucket, key=target.key))
    if stored is None:
        raise RequestError(404)
    form, content_type = writer(request)
    return reply.pieces(form.attributes(base_address(request), target.bucket, target.key, stored), content_type)
