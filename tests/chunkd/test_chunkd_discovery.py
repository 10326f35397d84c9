"""Finding CLD through DNS (discovery.md section 1.1), with a name server of our own on loopback."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haild.client.cld import Address
from haild.client.cld.addresses import DiscoveryError, service_name
from haild.client.cld.discovery import find_servers, name_servers
from support.ports import free_port


class NameServer(asyncio.DatagramProtocol):
    """Answers every query with `records`; the first `failures` of them with a server failure."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str]] = []
        self.failures = 0
        self.broken = False
        self.questions: list[bytes] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:  # type: ignore[override]
        answer = self.answer(data)
        if len(answer) > 512:
            answer = answer[:2] + bytes([answer[2] | 2]) + answer[3:6] + bytes(6) + data[12:]
        self.transport.sendto(answer, address)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer over TCP, where nothing is cut; `broken`: the answer ends in its middle."""
        answer = self.answer(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        writer.write(len(answer).to_bytes(2, "big") + (answer[:100] if self.broken else answer))
        writer.close()

    def answer(self, data: bytes) -> bytes:
        self.questions.append(data[12:])
        failed = len(self.questions) <= self.failures
        records = b"" if failed else b"".join(self._record(port, target) for port, target in self.records)
        count = 0 if failed else len(self.records)
        header = data[:2] + (b"\x81\x82" if failed else b"\x81\x80") + struct.pack(">4H", 1, count, 0, 0)
        return header + data[12:] + records

    @staticmethod
    def _record(port: int, target: str) -> bytes:
        name = b"".join(bytes([len(label)]) + label.encode() for label in target.split(".")) + b"\0"
        body = struct.pack(">3H", 10, 50, port) + name
        return b"\xc0\x0c" + struct.pack(">HHIH", 33, 1, 60, len(body)) + body


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    port = free_port()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", port))
    streams = await asyncio.start_server(server.stream, "127.0.0.1", port)
    yield server
    streams.close()
    transport.close()


def _address(server: NameServer) -> list[Address]:
    return [Address(*server.transport.get_extra_info("sockname")[:2])]


async def test_servers_in_the_order_of_the_answer_without_those_that_do_not_resolve(name_server: NameServer) -> None:
    name_server.records = [(8081, "127.0.0.1"), (8082, "no-such-host.invalid"), (8083, "127.0.0.1")]
    found = await find_servers("node.example.com", servers=_address(name_server))
    assert found == [("127.0.0.1", 8081), ("127.0.0.1", 8083)]
    assert name_server.questions == [b"\x04_cld\x04_udp\x07example\x03com\x00\x00\x21\x00\x01"]


async def test_at_most_ten(name_server: NameServer) -> None:
    name_server.records = [(port, "127.0.0.1") for port in range(1, 15)]
    found = await find_servers("node.example.com", servers=_address(name_server))
    assert [each.port for each in found] == list(range(1, 11))


async def test_an_answer_too_long_for_a_datagram_is_asked_for_over_tcp(name_server: NameServer) -> None:
    name_server.records = [(8081, f"{'long' * 10}.example.invalid")] * 9 + [(8082, "127.0.0.1")]
    assert await find_servers("node.example.com", servers=_address(name_server)) == [("127.0.0.1", 8082)]
    name_server.broken = True
    with pytest.raises(DiscoveryError, match="EOF"):
        await find_servers("node.example.com", servers=_address(name_server))


async def test_a_temporary_failure_is_asked_again(name_server: NameServer) -> None:
    name_server.records = [(8081, "127.0.0.1")]
    name_server.failures = 3
    assert await find_servers("a.b", servers=_address(name_server)) == [("127.0.0.1", 8081)]
    name_server.failures = 100
    with pytest.raises(DiscoveryError, match="SERVFAIL"):
        await find_servers("a.b", servers=_address(name_server))


async def test_no_record_and_no_domain(name_server: NameServer) -> None:
    with pytest.raises(DiscoveryError, match="no SRV record"):
        await find_servers("a.b", servers=_address(name_server))
    with pytest.raises(DiscoveryError, match="no domain"):
        await find_servers("host", servers=_address(name_server))
    assert service_name("host1.example.com") == "_cld._udp.example.com"


def test_name_servers_of_the_host(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# comment\nsearch x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    assert name_servers(file) == [("192.0.2.1", 53), ("2001:db8::1", 53)]
    assert name_servers(tmp_path / "missing") == [("127.0.0.1", 53)]


def test_only_a_daemon_that_is_told_no_address_loads_the_resolver() -> None:
    text = "import sys, haild.chunkd.registration, haild.tabled.daemon; print('dns' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
