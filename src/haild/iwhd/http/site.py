"""One running image warehouse: its parts, for the handlers of requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from haild.iwhd.access import Access
from haild.iwhd.http.body import BodyReader
from haild.iwhd.metadata.port import Database
from haild.iwhd.registration.register import Registration
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.health import HealthCheck
from haild.iwhd.warehouse.master import Master
from haild.iwhd.warehouse.object import Objects
from haild.iwhd.warehouse.queue import ReplicationQueue


@dataclass(frozen=True, slots=True)
class Site:
    """The parts of a daemon. With a `master` it is the slave of that iwhd."""

    access: Access
    metadata: Path
    """The directory of the daemon's own files."""
    database: Database
    directory: ProviderDirectory
    queue: ReplicationQueue
    objects: Objects
    buckets: Buckets
    health: HealthCheck
    bodies: BodyReader
    registration: Registration
    master: Master | None = None
