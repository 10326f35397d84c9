"""Where CLD is: from the configuration, else from DNS (discovery.md section 1). Waited for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random

from haild.client.cld import Address
from haild.client.cld.discovery import DiscoveryError, find_servers, service_name
from haild.daemon.errors import StartError
from haild.daemon.settings import decimal
from haild.tabled.configuration import CldAddress, Configuration

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between looks at what is not there yet: a port file, a record in DNS."""

logger = logging.getLogger(__name__)


def check(configuration: Configuration) -> None:
    """Raise StartError where neither the configuration nor the host's name can lead to CLD."""
    if not configuration.cld:
        try:
            service_name(configuration.host)
        except DiscoveryError as error:
            raise StartError(f"no <CLD> in the configuration, and {error}") from error


async def find(configuration: Configuration) -> list[Address]:
    """The addresses of the CLD servers, as soon as they are known."""
    if configuration.cld:
        return [await _forced(address) for address in configuration.cld]
    pause = FIRST_PAUSE
    while True:
        try:
            return await find_servers(configuration.host)
        except DiscoveryError as error:
            if pause == FIRST_PAUSE:
                logger.warning("looking for CLD: %s", error)
        pause = await _rest(pause)


async def _forced(address: CldAddress) -> Address:
    pause = FIRST_PAUSE
    while address.port_file is not None:
        try:
            text = address.port_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            text = ""
        port = decimal(text, 1, 65535)
        if port is not None:
            return Address(address.host, port)
        if pause == FIRST_PAUSE:
            logger.info("waiting for a port number in %s", address.port_file)
        pause = await _rest(pause)
    return Address(address.host, address.port)


async def _rest(pause: float) -> float:
    """Wait about `pause` seconds; returns the next pause."""
    await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
    return min(2 * pause, LONGEST_PAUSE)
