"""chunkd's entry in CLD: a locked file with the node's record, for as long as the daemon runs (discovery.md 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from haild.client.cld import Address, OpenMode, Session, keep_session
from haild.client.cld.addresses import ConfiguredServer, find

DIRECTORY_MODE: Final = OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE | OpenMode.DIRECTORY
FILE_MODE: Final = OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE

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
    servers: Sequence[ConfiguredServer], host: str, user: str, key: str, info_path: str, record: bytes
) -> None:
    """Register, and again whenever the session is lost; runs until it is cancelled.

    Without `servers` CLD is looked for in the domain of `host`.
    """

    async def addresses() -> list[Address]:
        """Where CLD is now: a restarted server may have another port, or another name in DNS."""
        return await find(servers, host)

    async def use(session: Session) -> None:
        await publish(session, info_path, record)

    await keep_session(addresses, user, key.encode(), use, name=f"registration {info_path}")
