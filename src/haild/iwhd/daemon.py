"""One run of iwhd: from its settings to a served port, and back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from haild.daemon import emptying
from haild.daemon.errors import StartError, refusal
from haild.iwhd.access import Access
from haild.iwhd.configuration import Configuration
from haild.iwhd.http.body import BodyReader
from haild.iwhd.http.emptying import Wish
from haild.iwhd.http.server import Front, listening
from haild.iwhd.http.site import Site
from haild.iwhd.metadata.port import Database
from haild.iwhd.metadata.sqlite import SqliteDatabase
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
    proof = emptying.proof("iwhd")
    wish = None if proof is None else Wish(proof)
    front = Front(None if wish is None else wish.handle)
    places = [*access.paths, *(each.path for each in providers if each.path)]
    async with contextlib.AsyncExitStack() as listener:
        listens = False
        while not stop.is_set():
            _finish_emptying(metadata, places)
            async with _opened(options, access, metadata, providers) as site:
                if not listens:
                    listens = True
                    await listener.enter_async_context(listening(front, options.port))
                    _announce(options, site.directory)
                elif wish is not None:
                    await wish.fulfilled(stop)
                front.site = site
                await _until(stop, wish)
                if stop.is_set():
                    await listener.aclose()
                elif wish is not None and front.server is not None:
                    front.site = None
                    await wish.cut_off_others(front.server)
            if not stop.is_set():
                emptying.begin(metadata)


def _finish_emptying(metadata: Path, places: Sequence[str]) -> None:
    """Discard everything, if that was begun. Raises StartError."""
    try:
        emptying.finish(metadata, [Path(place) for place in places])
    except OSError as error:
        raise refusal(str(metadata), error) from error


async def _until(stop: asyncio.Event, wish: Wish | None) -> None:
    """Return when the daemon has to stop, or to discard everything."""
    ends = [asyncio.create_task(event.wait()) for event in (stop, *([] if wish is None else [wish.asked]))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()


@contextlib.asynccontextmanager
async def _opened(
    options: Options, access: Access, metadata: Path, providers: Sequence[ProviderSettings]
) -> AsyncIterator[Site]:
    """The parts of the daemon, at work. Raises StartError."""
    async with contextlib.AsyncExitStack() as stack:
        database = SqliteDatabase(metadata)
        stack.push_async_callback(database.close)
        spool = _spool(metadata)
        try:
            directory = ProviderDirectory(providers, spool)
        except ProviderSettingsError as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(directory.close)
        yield await stack.enter_async_context(_working(options, access, database, directory, spool))


def _spool(metadata: Path) -> Path:
    """The directory of temporary files, emptied of what a killed daemon left."""
    spool = metadata / "spool"
    try:
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(f"{spool}: {error.strerror}") from error
    return spool


@contextlib.asynccontextmanager
async def _working(
    options: Options, access: Access, database: Database, directory: ProviderDirectory, spool: Path
) -> AsyncIterator[Site]:
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
        yield site
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


def _announce(options: Options, directory: ProviderDirectory) -> None:
    primary = directory.primary.settings
    logger.debug("primary %s (%s), location %s", primary.name, primary.type, directory.location)
    logger.debug("master %s, port %d", options.master, options.port)
    sys.stdout.write(f"{len(list(directory)) - 1} replication servers defined\n")
    sys.stdout.flush()
