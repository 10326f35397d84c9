"""Where CLD is: from the configuration, else from DNS (discovery.md section 1). Waited for as long as it takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from haild.backoff import retry
from haild.wire.numbers import decimal

MAXIMUM_SERVERS: Final = 10
"""Servers that a daemon tries; more in a configuration or in DNS are left out."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between looks at what is not there yet: a port file, a record in DNS."""

logger = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """One CLD element of a configuration: a host, and a port or the file that will hold it."""

    host: str
    port: int | None = None
    port_file: Path | None = None


class DiscoveryError(Exception):
    """DNS does not lead to a CLD server; the text says why."""


class _NoPortYetError(Exception):
    """The port file is not there, or holds no port number."""


def service_name(host: str) -> str:
    """The name in DNS under which the CLD servers for the daemon on `host` are found. Raises DiscoveryError."""
    _, dot, domain = host.partition(".")
    if not dot or not domain:
        raise DiscoveryError(f"host name {host!r} has no domain in which to look for CLD")
    return f"_cld._udp.{domain}"


async def find(servers: Sequence[ConfiguredServer], host: str) -> list[Address]:
    """The addresses of CLD, as soon as they are known: those of `servers`, else those in DNS for `host`."""
    if servers:
        return [await _address(server) for server in servers[:MAXIMUM_SERVERS]]
    # Here, as only a daemon without <CLD> needs it: a tenth of a second of imports.
    from haild.client.cld import discovery

    return await retry(
        lambda: discovery.find_servers(host),
        on=DiscoveryError,
        first=FIRST_PAUSE,
        longest=LONGEST_PAUSE,
        told=lambda error: logger.warning("looking for CLD: %s", error),
    )


async def _address(server: ConfiguredServer) -> Address:
    file = server.port_file
    if file is None:
        return Address(server.host, server.port or 0)

    async def look() -> Address:
        return Address(server.host, _port_in(file))

    return await retry(
        look,
        on=_NoPortYetError,
        first=FIRST_PAUSE,
        longest=LONGEST_PAUSE,
        told=lambda _error: logger.info("waiting for CLD's port in %s", file),
    )


def _port_in(file: Path) -> int:
    try:
        port = decimal(file.read_text(encoding="ascii").strip(), 1, 65535)
    except (OSError, UnicodeDecodeError) as error:
        raise _NoPortYetError from error
    if port is None:
        raise _NoPortYetError
    return port
