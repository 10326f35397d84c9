"""Finding CLD servers through DNS (discovery.md section 1.1), for daemons whose configuration names none.

Imported where it is needed only: dnspython takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdtypes.IN.SRV
import dns.resolver

from haild.client.cld.addresses import MAXIMUM_SERVERS, Address, DiscoveryError, service_name

RESOLVER_FILE: Final = Path("/etc/resolv.conf")
ATTEMPTS: Final = 10
"""Queries after temporary failures, over all name servers."""
ANSWER_DEADLINE: Final = 2.0
"""Seconds that one name server has to answer."""
DNS_PORT: Final = 53


def name_servers(file: Path = RESOLVER_FILE) -> list[Address]:
    """The name servers that the host uses; one on the host itself if it names none."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    try:
        resolver.read_resolv_conf(str(file))
    except dns.resolver.NoResolverConfiguration:
        return [Address("127.0.0.1", DNS_PORT)]
    return [Address(str(server), DNS_PORT) for server in resolver.nameservers]


async def find_servers(host: str, *, servers: Sequence[Address] | None = None) -> list[Address]:
    """The CLD servers for the daemon on `host`, in DNS's order, at most 10; those that do not resolve are left out.

    `servers` are the name servers to ask (default: the host's). Raises DiscoveryError if there are none.
    """
    name = service_name(host)
    asked = servers or name_servers()
    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            found = await _query(asked[attempt % len(asked)], name)
            break
        except (OSError, dns.exception.DNSException) as error:
            failure = error
    else:
        raise DiscoveryError(f"{name}: {failure}") from failure
    usable = [address for address in found if await _resolves(address)]
    if not usable:
        raise DiscoveryError(f"{name}: no SRV record with a target that resolves")
    return usable[:MAXIMUM_SERVERS]


async def _query(server: Address, name: str) -> list[Address]:
    """The targets of the SRV records of `name`. Raises OSError and DNSException."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(server.host, server.port)]
    try:
        answer = await resolver.resolve(
            dns.name.from_text(name), "SRV", raise_on_no_answer=False, lifetime=ANSWER_DEADLINE
        )
    except dns.resolver.NXDOMAIN:
        return []
    records = [record for record in answer.rrset or () if isinstance(record, dns.rdtypes.IN.SRV.SRV)]
    return [Address(record.target.to_text(omit_final_dot=True), record.port) for record in records]


async def _resolves(address: Address) -> bool:
    try:
        return bool(await asyncio.get_running_loop().getaddrinfo(*address, type=socket.SOCK_DGRAM))
    except (OSError, UnicodeError):
        return False
