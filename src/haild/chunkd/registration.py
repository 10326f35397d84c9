"""chunkd's entry in CLD: a locked file with the node's record, for as long as the daemon runs (discovery.md 3.1)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from haild.chunkd.configuration import CldServer
from haild.client.cld import Address, OpenMode, Session, keep_session
from haild.client.cld.discovery import MAXIMUM_SERVERS, DiscoveryError, find_servers
from haild.daemon.settings import SettingsError, port_number

DIRECTORY_MODE: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE | OpenMode.DIRECTORY
FILE_MODE: Final = OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between looks at what is not there yet: a port file, a record in DNS."""

logger = logging.getLogger(__name__)


def parents(path: str) -> list[str]:
    """The directories above the absolute CLD path `path`, from the top."""
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


async def publish(session: Session, info_path: str, record: bytes) -> None:
    """Write `record` to the locked file `info_path` and keep the lock until the session is lost.

    Raises CldError.
    """
    for directory in parents(info_path):
        await session.close_handle(await session.open(directory, DIRECTORY_MODE))
    handle = await session.open(info_path, FILE_MODE)
    await session.lock(handle)
    await session.put(handle, record)
    logger.info("registered in CLD as %s", info_path)
    await session.wait_lost()


async def keep_registered(
    servers: Sequence[CldServer], host: str, user: str, key: str, info_path: str, record: bytes
) -> None:
    """Register, and again whenever the session is lost; runs until it is cancelled.

    Without `servers` CLD is looked for in the domain of `host`.
    """

    async def addresses() -> list[Address]:
        """Where CLD is now: a restarted server may have another port, or another name in DNS."""
        if servers:
            return [await _address(server) for server in servers[:MAXIMUM_SERVERS]]
        return await _discover(host)

    async def use(session: Session) -> None:
        await publish(session, info_path, record)

    await keep_session(addresses, user, key.encode(), use, name=f"registration {info_path}")


async def _discover(host: str) -> list[Address]:
    """The CLD servers in DNS, as soon as there are any."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await find_servers(host)
        except DiscoveryError as error:
            if pause == FIRST_PAUSE:
                logger.warning("looking for CLD: %s", error)
        pause = await _rest(pause)


async def _rest(pause: float) -> float:
    """Wait about `pause` seconds; returns the next pause."""
    await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
    return min(2 * pause, LONGEST_PAUSE)


async def _address(server: CldServer) -> Address:
    if server.port is not None:
        return Address(server.host, server.port)
    assert server.port_file is not None  # noqa: S101 - one of them is set
    return Address(server.host, await _await_port(server.port_file))


async def _await_port(path: Path) -> int:
    """The port in the file at `path`, as soon as it holds one."""
    pause = FIRST_PAUSE
    while True:
        try:
            return port_number(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError, SettingsError):
            if pause == FIRST_PAUSE:
                logger.info("waiting for CLD's port in %s", path)
        pause = await _rest(pause)
