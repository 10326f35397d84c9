"""Packets of CLD: header, signature, fragments, and the frames around them on TCP (cld.md sections 1.2, 3, 4).

Both directions, no I/O. A packet is `header || at most 1024 bytes of body || sequence id || HMAC-SHA1`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from haild.wire.cld import messages as cld
from haild.wire.cld import xdr

MAXIMUM_CHUNK: Final = 1024
"""Body bytes in one packet (3.5)."""
MAXIMUM_FRAME: Final = 4096
MAXIMUM_USER: Final = 31
SEQUENCE_MODULUS: Final = 1 << 64

_MAGIC: Final = b"tkp1cDLC"
_MAGIC_BIG_ENDIAN: Final = b"CLDc1pkt"
_FRAME_MAGIC: Final = b"CLD1"
_FOOTER: Final = 28
_MAC: Final = 20
_FIXED: Final = struct.Struct(">8s8sI")
_WORD: Final = struct.Struct(">I")
_XID_OP: Final = struct.Struct(">QI")
_SEQUENCE: Final = struct.Struct("<Q")
_USER_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class PacketError(ValueError):
    """The bytes are no packet: too short, wrong magic, undecodable header."""


class FrameError(ValueError):
    """The byte stream is not framed as it must be; the connection cannot be used any more (1.2)."""


class Order(IntEnum):
    """Place of a packet in its message; the values are bits: 1 first, 2 last (3.1)."""

    MIDDLE = 0
    FIRST = 1
    LAST = 2
    ONLY = 3


class Direction(IntEnum):
    """Who sent a frame on TCP (1.2)."""

    TO_SERVER = 1
    TO_CLIENT = 2


class Key:
    """A shared secret that signs packets with HMAC-SHA1 (3.4). The two padded blocks are hashed only once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) > 64:
            secret = hashlib.sha1(secret, usedforsecurity=False).digest()
        block = secret.ljust(64, b"\0")
        self._inner = hashlib.sha1(block.translate(_INNER), usedforsecurity=False)
        self._outer = hashlib.sha1(block.translate(_OUTER), usedforsecurity=False)

    def mac(self, data: bytes) -> bytes:
        """The 20 bytes of HMAC-SHA1 over `data`."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def verifies(self, packet: bytes) -> bool:
        """Whether the last 20 bytes of the packet are its signature by this key."""
        return hmac.compare_digest(self.mac(packet[:-_MAC]), packet[-_MAC:])


class Packet(NamedTuple):
    """A packet without its signature. `xid` and `op` mean something only in a first packet."""

    sid: bytes
    user: bytes
    order: int
    xid: int
    op: int
    chunk: bytes
    sequence: int

    @property
    def first(self) -> bool:
        return bool(self.order & Order.FIRST)


class Message(NamedTuple):
    """A whole message."""

    xid: int
    op: int
    body: bytes


def parse(data: bytes) -> Packet:
    """Take a packet apart; the signature is not looked at. Raises PacketError."""
    if len(data) < _FIXED.size + 4 + _FOOTER:
        raise PacketError("too short for a packet")
    magic, sid, size = _FIXED.unpack_from(data)
    if magic not in (_MAGIC, _MAGIC_BIG_ENDIAN):
        raise PacketError("wrong magic")
    end = len(data) - _FOOTER
    offset = 20 + size + (-size & 3)
    if size > MAXIMUM_USER + 1 or offset + 4 > end:
        raise PacketError("undecodable user name")
    user = data[20 : 20 + size]
    (order,) = _WORD.unpack_from(data, offset)
    offset += 4
    xid = op = 0
    if order & Order.FIRST:
        if offset + 12 > end:
            raise PacketError("cut short in the header")
        xid, op = _XID_OP.unpack_from(data, offset)
        offset += 12
    if order > Order.ONLY:
        raise PacketError(f"unknown order {order}")
    (sequence,) = _SEQUENCE.unpack_from(data, end)
    return Packet(sid, user, order, xid, op, data[offset:end], sequence)


def seal(packet: Packet, key: Key) -> bytes:
    """The signed bytes of a packet."""
    user = packet.user
    head = _FIXED.pack(_MAGIC, packet.sid, len(user)) + user + _USER_PADDING[len(user) & 3]
    order = _WORD.pack(packet.order)
    if packet.order & Order.FIRST:
        order += _XID_OP.pack(packet.xid, packet.op)
    data = head + order + packet.chunk + _SEQUENCE.pack(packet.sequence)
    return data + key.mac(data)


def fragments(sid: bytes, user: bytes, message: Message, sequence: int) -> list[Packet]:
    """Cut a message into packets with consecutive sequence ids from `sequence` on (section 4)."""
    xid, op, body = message
    if len(body) <= MAXIMUM_CHUNK:
        return [Packet(sid, user, Order.ONLY, xid, op, body, sequence)]
    starts = range(0, len(body), MAXIMUM_CHUNK)
    packets: list[Packet] = []
    for number, start in enumerate(starts):
        order = (Order.FIRST if number == 0 else 0) | (Order.LAST if number == len(starts) - 1 else 0)
        chunk = body[start : start + MAXIMUM_CHUNK]
        packets.append(Packet(sid, user, order, xid, op, chunk, (sequence + number) % SEQUENCE_MODULUS))
    return packets


def newer(first: int, second: int) -> int:
    """How far the sequence id `first` is ahead of `second`, modulo 2^64: negative where it is older."""
    difference = (first - second) % SEQUENCE_MODULUS
    return difference - SEQUENCE_MODULUS if difference >= SEQUENCE_MODULUS // 2 else difference


class TooLongError(ValueError):
    """A message is longer than 196608 bytes (3.5); the rest of its fragments is ignored."""

    def __init__(self, xid: int, op: int) -> None:
        super().__init__("message too long")
        self.xid = xid
        self.op = op


@dataclass(slots=True)
class Reassembly:
    """Puts the fragments of one direction of one session together (section 4). `size`: bytes kept so far."""

    xid: int = 0
    op: int = 0
    chunks: list[bytes] | None = None
    size: int = 0

    def feed(self, packet: Packet) -> Message | None:
        """Take the next packet; return the message it completes. Raises TooLongError once for a long one."""
        if packet.order == Order.ONLY:
            self.chunks, self.size = None, 0
            return Message(packet.xid, packet.op, packet.chunk)
        if packet.order & Order.FIRST:
            self.xid, self.op, self.chunks, self.size = packet.xid, packet.op, [], 0
        if self.chunks is None:
            return None
        self.size += len(packet.chunk)
        if self.size > cld.MAXIMUM_BODY:
            self.chunks, self.size = None, 0
            raise TooLongError(self.xid, self.op)
        self.chunks.append(packet.chunk)
        if not packet.order & Order.LAST:
            return None
        body = b"".join(self.chunks)
        self.chunks, self.size = None, 0
        return Message(self.xid, self.op, body)


def frame(packet: bytes, direction: Direction) -> bytes:
    """The packet with the 8-byte header that it has on TCP (1.2)."""
    return _FRAME_MAGIC + (direction | len(packet) << 8).to_bytes(4, "little") + packet


class FrameReader:
    """Cuts the byte stream of one direction of a TCP connection into packets (1.2)."""

    __slots__ = ("_buffer", "_direction")

    def __init__(self, direction: Direction) -> None:
        self._buffer = bytearray()
        self._direction = direction

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came, return the packets they complete.

        Raises FrameError for a wrong magic, direction or length; the reader is of no use after that.
        """
        buffer = self._buffer
        if not buffer and len(data) > 8 and data[:4] == _FRAME_MAGIC and data[4] == self._direction:
            size = int.from_bytes(data[5:8], "little")
            if size == len(data) - 8 and size <= MAXIMUM_FRAME:
                # The usual case: exactly one frame.
                return [data[8:]]
        buffer += data
        packets: list[bytes] = []
        offset = 0
        while True:
            if not _FRAME_MAGIC.startswith(buffer[offset : offset + 4]):
                raise FrameError("wrong magic")
            if len(buffer) - offset < 8:
                break
            word = int.from_bytes(buffer[offset + 4 : offset + 8], "little")
            size = word >> 8
            if word & 0xFF != self._direction or not 0 < size <= MAXIMUM_FRAME:
                raise FrameError("wrong direction or length")
            if len(buffer) - offset - 8 < size:
                break
            packets.append(bytes(buffer[offset + 8 : offset + 8 + size]))
            offset += 8 + size
        del buffer[:offset]
        return packets


def check_user(user: bytes) -> None:
    """Raise XdrError for a user name that cannot have a key: empty, or longer than 31 bytes (3.4)."""
    if not 1 <= len(user) <= MAXIMUM_USER:
        raise xdr.XdrError("a user name has 1 to 31 bytes")
