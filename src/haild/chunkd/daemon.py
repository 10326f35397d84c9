"""chunkd as a whole: opens the store, serves clients, registers in CLD, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from haild.chunkd.check import Checker
from haild.chunkd.configuration import Configuration
from haild.chunkd.server import BoundSocket, Server, bind, tls_context
from haild.chunkd.session import Service
from haild.chunkd.store import Store
from haild.daemon import emptying
from haild.wire.chunk.record import encode_record


async def serve(configuration: Configuration, secrets: dict[bytes, bytes] | None, stop: asyncio.Event) -> None:
    """Run chunkd until `stop` is set. Raises StartError.

    Clients are served at once; the registration goes on beside it for as long as it takes.
    """
    tls = None if configuration.tls is None else tls_context(configuration.tls)
    store = Store.open(configuration.path)
    checker = Checker(store, configuration.scrub_days)
    registration: asyncio.Task[None] | None = None
    try:
        bound = bind(configuration.listeners)
        proof = emptying.proof("chunkd")
        service = Service(
            store, checker, secrets, configuration.check_users, tls, None if proof is None else proof.encode()
        )
        server = Server(service, configuration.timeout)
        await server.serve(bound)
        checker.start_scrub()
        registration = _register(configuration, bound)
        await stop.wait()
        await server.close()
    finally:
        await _end(registration)
        await checker.close()
        store.close()


def _register(configuration: Configuration, bound: list[BoundSocket]) -> asyncio.Task[None] | None:
    if configuration.nid is None:
        return None
    from haild.chunkd.registration import keep_registered

    host = configuration.force_host or socket.gethostname()
    record = encode_record(configuration.nid, [(each.node or host, each.port) for each in bound])
    return asyncio.create_task(
        keep_registered(
            configuration.cld_servers,
            host,
            configuration.cld_user,
            configuration.cld_key,
            configuration.info_path,
            record,
        )
    )


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
