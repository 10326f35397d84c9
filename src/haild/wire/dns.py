"""The little of DNS that finding CLD takes: a query for SRV records and its answer (RFC 1035, RFC 2782)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

SRV: Final = 33
_INTERNET: Final = 1
_RECURSION_DESIRED: Final = 0x0100
_RESPONSE: Final = 0x8000
_TRUNCATED: Final = 0x0200
_HEADER: Final = struct.Struct(">6H")
_RECORD: Final = struct.Struct(">HHIH")
_SRV_DATA: Final = struct.Struct(">HHH")
_MAXIMUM_POINTERS: Final = 32
_NAME_ERROR: Final = 3


class DnsError(Exception):
    """The answer cannot be used; it may be another time."""


class TruncatedError(DnsError):
    """The answer did not fit into a datagram: it has to be asked for over TCP."""


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record."""

    priority: int
    weight: int
    port: int
    target: str


def encode_query(number: int, name: str) -> bytes:
    """A query for the SRV records of `name`; `number` (16 bits) comes back in the answer. Raises ValueError."""
    labels = name.rstrip(".").encode("idna" if not name.isascii() else "ascii").split(b".")
    if any(not 1 <= len(label) <= 63 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise ValueError(f"{name!r} is not a name in DNS")
    question = b"".join(bytes([len(label)]) + label for label in labels)
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + question + struct.pack(">xHH", SRV, _INTERNET)


def decode_answer(number: int, data: bytes) -> list[Service]:
    """The SRV records in the answer to query `number`, in their order; none if the name does not exist.

    Raises DnsError if it is not the answer, is damaged or cut short, or says that the server failed.
    """
    try:
        answered, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        if answered != number or not flags & _RESPONSE:
            raise DnsError("not the answer to this query")
        if flags & _TRUNCATED:
            raise TruncatedError("the answer is cut short")
        code = flags & 15
        if code and code != _NAME_ERROR:
            raise DnsError(f"the server answers with code {code}")
        position = _HEADER.size
        for _ in range(questions):
            _, position = _name(data, position)
            position += 4
        found = []
        for _ in range(answers):
            service, position = _record(data, position)
            if service is not None:
                found.append(service)
        return found
    except (struct.error, IndexError) as error:
        raise DnsError("the answer is damaged") from error


def _record(data: bytes, position: int) -> tuple[Service | None, int]:
    _, position = _name(data, position)
    kind, _, _, length = _RECORD.unpack_from(data, position)
    position += _RECORD.size
    if kind != SRV:
        return None, position + length
    priority, weight, port = _SRV_DATA.unpack_from(data, position)
    target, _ = _name(data, position + _SRV_DATA.size)
    return Service(priority, weight, port, target), position + length


def _name(data: bytes, position: int) -> tuple[str, int]:
    """The name at `position`, and where what follows it begins."""
    labels: list[str] = []
    end = 0
    for _ in range(_MAXIMUM_POINTERS + 128):
        length = data[position]
        if length >= 0xC0:
            end = end or position + 2
            position = (length & 0x3F) << 8 | data[position + 1]
        elif length:
            labels.append(data[position + 1 : position + 1 + length].decode("ascii", "replace"))
            position += 1 + length
        else:
            return ".".join(labels), end or position + 1
    raise DnsError("a name has no end")
