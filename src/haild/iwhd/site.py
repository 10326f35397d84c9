"""One running image warehouse: its parts, for the handlers of requests."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from haild.iwhd.metadata.database import Database
from haild.iwhd.registration.register import Registration
from haild.iwhd.warehouse.body import BodyReader
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.health import HealthCheck
from haild.iwhd.warehouse.master import Master
from haild.iwhd.warehouse.object import Objects
from haild.iwhd.warehouse.queue import ReplicationQueue


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of a daemon. With a `master` it is the slave of that iwhd."""

    database: Database
    directory: ProviderDirectory
    queue: ReplicationQueue
    objects: Objects
    buckets: Buckets
    health: HealthCheck
    bodies: BodyReader
    registration: Registration
    master: Master | None = None


def wants_json(request: web.BaseRequest) -> bool:
    """Whether the client takes JSON; everything else gets XML (iwhd.md 4.1)."""
    return "/json" in request.headers.get("Accept", "")


def base_address(request: web.BaseRequest) -> str:
    """`http://HOST` as the client called us, for absolute addresses in answers."""
    return f"http://{request.headers.get('Host') or request.host}"
