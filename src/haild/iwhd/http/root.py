"""Requests on the root, the provider list and the health check (iwhd.md section 5)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Final

from haild.daemon.plaintext import printable
from haild.http.request import Request
from haild.iwhd import provider
from haild.iwhd.configuration import from_values
from haild.iwhd.http import reply
from haild.iwhd.http.document import base_address, writer
from haild.iwhd.http.errors import RequestError
from haild.iwhd.http.reply import Reply
from haild.iwhd.http.site import Site
from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import DatabaseError
from haild.iwhd.settings import ProviderSettings, ProviderSettingsError
from haild.iwhd.warehouse.health import UnhealthyError
from haild.iwhd.warehouse.scrub import Scrubbed, Scrubber
from haild.wire.iwhd.form import Form
from haild.wire.iwhd.listing import Link, ProviderEntry
from haild.wire.iwhd.target import Target, path_of

PRIMARY: Final = "_primary"
"""Stands for the name of the present primary provider."""

_MAXIMUM_PORT_TEXT: Final = 5


logger = logging.getLogger(__name__)


async def get_root(site: Site, request: Request, _target: Target) -> Reply:
    """Two fixed links and one per bucket; without the database the fixed ones only."""
    base = base_address(request)
    links = [Link("bucket_factory", f"{base}/_new"), Link("provider_list", f"{base}/_providers")]
    try:
        buckets = await site.database.read(records.buckets)
    except DatabaseError:
        buckets = []
    links += [Link("bucket", base + path_of(bucket)) for bucket in buckets]
    form, content_type = writer(request)
    return reply.pieces(form.root(links), content_type)


async def post_root(site: Site, request: Request, _target: Target) -> Reply:
    """The control operations `rep_status` and, our addition, `scrub`."""
    form = await site.bodies.form(request)
    operation = form.get("op")
    if operation is None:
        raise RequestError(400, "missing op")
    if operation == b"scrub":
        return Reply(200, _scrubbed(site, request), "text/plain; charset=utf-8")
    if operation != b"rep_status":
        raise RequestError(400, "unknown op")
    return reply.text(f"{await site.queue.length()} requests\n")


async def _scrubbed(site: Site, request: Request) -> AsyncIterator[bytes]:
    """A line for each damaged body or attribute, then the counts. Ends when the client leaves."""
    result = Scrubbed()
    async for trouble in Scrubber(site.database, site.directory, site.objects).scrub(result):
        if request.client_has_left:
            raise ConnectionResetError("the client is gone")
        if trouble:
            logger.error("scrub: %s", trouble)
            yield f"{printable(trouble)}\n".encode()
    counts = f"{result.bodies} bodies and {result.attributes} attributes read"
    yield f"{counts}, {result.damaged} damaged, {result.mended} of these mended\n".encode()


async def get_health(site: Site, _request: Request, _target: Target) -> Reply:
    """A round trip through the primary: 200, or 503 with the reason (our addition)."""
    try:
        await site.health.check()
    except UnhealthyError as error:
        raise RequestError(503, f"{error}\n") from error
    return reply.text("ok\n")


async def get_providers(site: Site, request: Request, _target: Target) -> Reply:
    """All providers, sorted bytewise by name."""
    entries = sorted((_entry(provider.settings) for provider in site.directory), key=lambda each: each.name.encode())
    form, content_type = writer(request)
    return reply.pieces(form.providers(entries), content_type)


def _entry(settings: ProviderSettings) -> ProviderEntry:
    """A provider for the list; credentials only where a client gave them itself."""
    key, secret = ("", "") if settings.configured else (settings.key, settings.secret)
    return ProviderEntry(settings.name, settings.type, settings.host, settings.port, key, secret)


async def get_provider(site: Site, _request: Request, target: Target) -> Reply:
    """The name of the primary; nothing else can be asked for."""
    if target.name != PRIMARY:
        raise RequestError(400)
    return reply.text(site.directory.primary.name)


async def post_provider(site: Site, request: Request, target: Target) -> Reply:
    """Add a provider, or replace the one of that name."""
    form = await site.bodies.form(request)
    if target.name == PRIMARY:
        raise RequestError(400)
    try:
        await site.directory.add(site.access.check_added(_added(target.name, form), site.metadata))
    except ProviderSettingsError as error:
        logger.warning("provider %s not added: %s", target.name, error)
        raise
    site.queue.announce()
    return Reply()


def _added(name: str, form: Form) -> ProviderSettings:
    """Settings from a form. Raises ProviderSettingsError."""
    try:
        fields = {key: value.decode() for key, value in form.items()}
    except UnicodeDecodeError as error:
        raise ProviderSettingsError("a value is not UTF-8") from error
    port = fields.get("port", "")
    if not (port.isascii() and port.isdecimal() and len(port) <= _MAXIMUM_PORT_TEXT):
        raise ProviderSettingsError("port must be a positive number")
    if "name" in fields:
        raise ProviderSettingsError("the name is in the address")
    kind = fields.get("type", "").lower()
    back_end = provider.back_end(kind)
    if back_end is None or kind != back_end.types[0]:
        raise ProviderSettingsError(f"no provider of type {kind!r} can be added")
    reserved: Mapping[str, object] = {
        key: fields[key] for key in ("type", "host", "key", "secret", "path") if key in fields
    }
    own = {key: value for key, value in fields.items() if key not in reserved and key != "port"}
    known = {**reserved, "name": name, "port": int(port)}
    return from_values(f"provider {name}", known, own, needed=("name", "type", "port"))


async def delete_provider(site: Site, _request: Request, target: Target) -> Reply:
    """Delete a provider; not the primary."""
    if not await site.directory.remove(target.name):
        raise RequestError(404)
    site.queue.announce()
    return Reply()


async def put_primary(site: Site, request: Request, target: Target) -> Reply:
    """Make a provider the primary for all following requests."""
    provider = site.directory.get(target.name)
    if provider is None:
        raise RequestError(400)
    await site.bodies.collected(request)
    site.directory.primary = provider
    return Reply()
