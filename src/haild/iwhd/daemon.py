"""One run of iwhd: from its settings to a served port, and back."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from haild.daemon.errors import StartError
from haild.iwhd.access import Access
from haild.iwhd.configuration import Configuration
from haild.iwhd.http.body import BodyReader
from haild.iwhd.http.server import listening
from haild.iwhd.http.site import Site
from haild.iwhd.metadata.database import Database
from haild.iwhd.options import Options
from haild.iwhd.registration.register import Registration
from haild.iwhd.settings import OWN_DIRECTORY, ProviderSettings, ProviderSettingsError
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.health import HealthCheck
from haild.iwhd.warehouse.master import Master
from haild.iwhd.warehouse.object import Objects
from haild.iwhd.warehouse.queue import ReplicationQueue
from haild.iwhd.warehouse.replication import Replicator

DEFAULT_METADATA: Final = Path("/var/lib/iwhd/_db")

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that computes lets another go on. With Python's 0.005 a GET takes 100 ms beside
a long query: it changes threads some ten times."""

logger = logging.getLogger(__name__)


def metadata_directory(options: Options, primary: ProviderSettings) -> Path:
    """Where the metadata are kept: as asked for, or beside the bodies, or where upstream kept its state."""
    if options.metadata is not None:
        return options.metadata
    if primary.path:
        return Path(primary.path) / OWN_DIRECTORY / "db"
    return DEFAULT_METADATA


def check_paths(providers: Sequence[ProviderSettings]) -> None:
    """Raises StartError for a directory of a provider that cannot be entered (iwhd.md section 3)."""
    for provider in providers:
        if provider.path and not (os.path.isdir(provider.path) and os.access(provider.path, os.X_OK)):
            raise StartError(f"provider {provider.name}: cannot enter directory {provider.path}")


async def serve(options: Options, configuration: Configuration, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises StartError."""
    providers = configuration.providers
    access = configuration.access.with_configured(providers, options.master)
    access = replace(access, hosts=access.hosts | {socket.gethostname().lower()})
    check_paths(providers)
    sys.setswitchinterval(SWITCH_INTERVAL)
    metadata = metadata_directory(options, providers[0])
    database = Database(metadata)
    try:
        spool = _spool(metadata)
        try:
            directory = ProviderDirectory(providers, spool)
        except ProviderSettingsError as error:
            raise StartError(str(error)) from error
        try:
            await _serve(options, access, database, directory, spool, stop)
        finally:
            await directory.close()
    finally:
        await database.close()


def _spool(metadata: Path) -> Path:
    """The directory of temporary files, emptied of what a killed daemon left."""
    spool = metadata / "spool"
    try:
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(f"{spool}: {error.strerror}") from error
    return spool


async def _serve(
    options: Options,
    access: Access,
    database: Database,
    directory: ProviderDirectory,
    spool: Path,
    stop: asyncio.Event,
) -> None:
    queue = ReplicationQueue(database, directory)
    objects = Objects(database, directory, queue)
    buckets = Buckets(database, directory, queue)
    master = (
        None
        if options.master is None
        else Master(*options.master, database, objects, buckets, access.authorization())
    )
    site = Site(
        access=access,
        metadata=spool.parent,
        database=database,
        directory=directory,
        queue=queue,
        objects=objects,
        buckets=buckets,
        health=HealthCheck(database, directory),
        bodies=BodyReader(),
        registration=Registration(database, directory, queue, access, spool),
        master=master,
    )
    await objects.start()
    replication = asyncio.create_task(Replicator(database, directory, queue, objects).run())
    replication.add_done_callback(_report)
    try:
        await _listen(options, site, stop)
    finally:
        replication.cancel()
        await asyncio.gather(replication, return_exceptions=True)
        await objects.close()
        if master is not None:
            await master.close()


def _report(task: asyncio.Task[None]) -> None:
    """Log it if a part that should run for ever ends by a defect."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("replication ended", exc_info=task.exception())


async def _listen(options: Options, site: Site, stop: asyncio.Event) -> None:
    directory = site.directory
    async with listening(site, options.port):
        primary = directory.primary.settings
        logger.debug("primary %s (%s), location %s", primary.name, primary.type, directory.location)
        logger.debug("master %s, port %d", options.master, options.port)
        sys.stdout.write(f"{len(list(directory)) - 1} replication servers defined\n")
        sys.stdout.flush()
        await stop.wait()
