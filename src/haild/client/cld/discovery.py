"""Finding CLD servers through DNS (discovery.md section 1.1), for daemons whose configuration names none."""

from __future__ import annotations

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Final

from haild.client.cld.addresses import MAXIMUM_SERVERS, Address, DiscoveryError, service_name
from haild.wire import dns

RESOLVER_FILE: Final = Path("/etc/resolv.conf")
ATTEMPTS: Final = 10
"""Queries after temporary failures, over all name servers."""
ANSWER_DEADLINE: Final = 2.0
"""Seconds."""
DNS_PORT: Final = 53


def name_servers(file: Path = RESOLVER_FILE) -> list[str]:
    """The addresses of the name servers that the host uses."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = (line.split() for line in lines)
    return [each[1] for each in words if len(each) >= 2 and each[0] == "nameserver"] or ["127.0.0.1"]


async def find_servers(host: str, *, servers: list[Address] | None = None) -> list[Address]:
    """The CLD servers for the daemon on `host`, in DNS's order, at most 10; those that do not resolve are left out.

    `servers` are the name servers to ask (default: the host's). Raises DiscoveryError if there are none.
    """
    name = service_name(host)
    asked = servers or [Address(each, DNS_PORT) for each in name_servers()]
    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            found = await _query(asked[attempt % len(asked)], name)
            break
        except (OSError, dns.DnsError) as error:
            failure = error
    else:
        raise DiscoveryError(f"{name}: {failure}") from failure
    usable = [Address(each.target, each.port) for each in found if await _resolves(each)]
    if not usable:
        raise DiscoveryError(f"{name}: no SRV record with a target that resolves")
    return usable[:MAXIMUM_SERVERS]


async def _resolves(service: dns.Service) -> bool:
    try:
        loop = asyncio.get_running_loop()
        return bool(await loop.getaddrinfo(service.target, service.port, type=socket.SOCK_DGRAM))
    except (OSError, UnicodeError):
        return False


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, number: int) -> None:
        self._number = number
        self.found: asyncio.Future[list[dns.Service]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _address: object) -> None:
        if self.found.done() or int.from_bytes(data[:2], "big") != self._number:
            return
        try:
            self.found.set_result(dns.decode_answer(self._number, data))
        except dns.DnsError as error:
            self.found.set_exception(error)

    def error_received(self, error: Exception) -> None:
        if not self.found.done():
            self.found.set_exception(error)


async def _query(server: Address, name: str) -> list[dns.Service]:
    number = secrets.randbelow(1 << 16)
    loop = asyncio.get_running_loop()
    query = dns.encode_query(number, name)
    transport, answers = await loop.create_datagram_endpoint(lambda: _Answers(number), remote_addr=server)
    try:
        transport.sendto(query)
        async with asyncio.timeout(ANSWER_DEADLINE):
            return await answers.found
    except dns.TruncatedError:
        async with asyncio.timeout(ANSWER_DEADLINE):
            return dns.decode_answer(number, await _ask_over_tcp(server, query))
    finally:
        transport.close()


async def _ask_over_tcp(server: Address, query: bytes) -> bytes:
    """Query and answer each follow their length there (RFC 1035, section 4.2.2)."""
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    except asyncio.IncompleteReadError as error:
        raise dns.DnsError("the answer ends too early") from error
    finally:
        writer.close()
