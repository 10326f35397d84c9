"""Answers of DNS in which CLD is found: `haild.wire.dns`."""

import struct
from collections.abc import Iterator

from haild.wire import dns

NUMBER = 0x1234
TOKENS = (b"\xc0\x0c", b"\0\x21\0\x01")


def seeds() -> Iterator[bytes]:
    question = dns.encode_query(NUMBER, "_cld._udp.example.com")[12:]
    data = struct.pack(">HHH", 10, 50, 8081) + b"\x05host1\x07example\x03com\0"
    record = b"\xc0\x0c" + struct.pack(">HHIH", dns.SRV, 1, 60, len(data)) + data
    other = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes(4)
    head = struct.Struct(">6H")
    yield head.pack(NUMBER, 0x8180, 1, 2, 0, 0) + question + record + other
    yield head.pack(NUMBER, 0x8183, 1, 0, 0, 0) + question


def fuzz(data: bytes) -> None:
    try:
        services = dns.decode_answer(NUMBER, data)
    except dns.DnsError:
        return
    for service in services:
        assert 0 <= service.port <= 65535
        assert len(service.target) <= len(data) * 160
