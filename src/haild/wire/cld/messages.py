"""Numbers and message bodies of the CLD protocol (cld.md sections 6, 7 and 9.2).

Every body is a frozen value with `encode()` and, as a class method, `decode(bytes)`, which raises
`haild.wire.cld.xdr.XdrError` where the bytes do not hold it. Bytes after the last field are ignored (section 4).
Packets, signatures and fragments: `haild.wire.cld.packet`. What hailbox adds: `haild.wire.cld.extension`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from haild.wire.cld import xdr

DEFAULT_PORT: Final = 8081
MAXIMUM_DATA: Final = 131072
"""Bytes of a file or a directory."""
MAXIMUM_PATH: Final = 256
MAXIMUM_BODY: Final = 196608
"""Bytes of a reassembled message."""
SESSION_TIMEOUT: Final = 60.0
"""Seconds without contact after which a server of the reference ends a session (8.2)."""
CLIENT_TIMEOUT: Final = 120.0
"""Seconds without a packet after which a client of the reference gives up its session (8.3)."""


class Op(IntEnum):
    """Opcodes (6.1); RESUME and EMPTY are additions of hailbox, see `haild.wire.cld.extension`."""

    NOP = 0
    NEW_SESS = 1
    OPEN = 2
    GET_META = 3
    GET = 4
    PUT = 6
    CLOSE = 7
    DEL = 8
    LOCK = 9
    UNLOCK = 10
    TRYLOCK = 11
    ACK = 12
    END_SESS = 13
    PING = 14
    NOT_MASTER = 15
    EVENT = 16
    ACK_FRAG = 17
    RESUME = 0x68627801
    EMPTY = 0x68627802


class ErrorCode(IntEnum):
    """Result of a request (6.2)."""

    OK = 0
    SESS_EXISTS = 1
    SESS_INVAL = 2
    DB_ERR = 3
    BAD_PKT = 4
    INODE_INVAL = 5
    NAME_INVAL = 6
    OOM = 7
    FH_INVAL = 8
    DATA_INVAL = 9
    LOCK_INVAL = 10
    LOCK_CONFLICT = 11
    LOCK_PENDING = 12
    MODE_INVAL = 13
    INODE_EXISTS = 14
    DIR_NOTEMPTY = 15
    INTERNAL_ERR = 16
    TIMEOUT = 17
    SIG_INVAL = 18


class OpenMode(IntFlag):
    """What a handle may do (6.3)."""

    READ = 0x01
    WRITE = 0x02
    LOCK = 0x04
    ACL = 0x08
    CREATE = 0x10
    EXCL = 0x20
    DIRECTORY = 0x40


class EventMask(IntFlag):
    """What an event tells (6.4)."""

    UPDATED = 0x01
    DELETED = 0x02
    LOCKED = 0x04
    MASTER_FAILOVER = 0x08
    SESS_FAILED = 0x10


LOCK_SHARED: Final = 0x01
"""Lock flag: shared; without it exclusive (6.5)."""
INODE_DIRECTORY: Final = 0x01
"""Inode flag (6.5)."""

_GENERIC: Final = struct.Struct(">IQ")
_OPEN_REPLY: Final = struct.Struct(">IQQ")
_OPEN: Final = struct.Struct(">II")
_LOCK: Final = struct.Struct(">QI")
_EVENT: Final = struct.Struct(">QI")
_METADATA: Final = struct.Struct(">IQQQQQI")


@dataclass(frozen=True, slots=True)
class Generic:
    """Response without a result: a code, and the message id of the request."""

    code: int
    xid_in: int

    def encode(self) -> bytes:
        return _GENERIC.pack(self.code, self.xid_in)

    @classmethod
    def decode(cls, body: bytes) -> Generic:
        if len(body) < _GENERIC.size:
            raise xdr.XdrError("cut short in a generic response")
        return cls(*_GENERIC.unpack_from(body))


@dataclass(frozen=True, slots=True)
class HandleRequest:
    """GET, GET_META, CLOSE and UNLOCK."""

    handle: int

    def encode(self) -> bytes:
        return xdr.hyper(self.handle)

    @classmethod
    def decode(cls, body: bytes) -> HandleRequest:
        return cls(xdr.Decoder(body).hyper())


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """OPEN. `mode` and `events` are bit sets as sent, known bits or not."""

    mode: int
    events: int
    path: bytes

    def encode(self) -> bytes:
        return _OPEN.pack(self.mode, self.events) + xdr.opaque(self.path)

    @classmethod
    def decode(cls, body: bytes) -> OpenRequest:
        decoder = xdr.Decoder(body)
        return cls(decoder.word(), decoder.word(), decoder.opaque(MAXIMUM_PATH))


@dataclass(frozen=True, slots=True)
class OpenReply:
    """Successful response to OPEN."""

    code: int
    xid_in: int
    handle: int

    def encode(self) -> bytes:
        return _OPEN_REPLY.pack(self.code, self.xid_in, self.handle)

    @classmethod
    def decode(cls, body: bytes) -> OpenReply:
        if len(body) < _OPEN_REPLY.size:
            raise xdr.XdrError("cut short in an open response")
        return cls(*_OPEN_REPLY.unpack_from(body))


@dataclass(frozen=True, slots=True)
class GetReply:
    """Successful response to GET and GET_META. Times are seconds since 1970 UTC."""

    code: int
    xid_in: int
    inum: int
    version: int
    created: int
    modified: int
    flags: int
    path: bytes
    data: bytes

    def encode(self) -> bytes:
        head = _METADATA.pack(
            self.code, self.xid_in, self.inum, self.version, self.created, self.modified, self.flags
        )
        return head + xdr.opaque(self.path) + xdr.opaque(self.data)

    @classmethod
    def decode(cls, body: bytes) -> GetReply:
        if len(body) < _METADATA.size:
            raise xdr.XdrError("cut short in a get response")
        decoder = xdr.Decoder(body, _METADATA.size)
        code, xid_in, inum, version, created, modified, flags = _METADATA.unpack_from(body)
        path = decoder.opaque(MAXIMUM_PATH)
        data = decoder.opaque(MAXIMUM_DATA)
        return cls(code, xid_in, inum, version, created, modified, flags, path, data)


@dataclass(frozen=True, slots=True)
class PutRequest:
    """PUT: replaces the whole content."""

    handle: int
    data: bytes

    def encode(self) -> bytes:
        return xdr.hyper(self.handle) + xdr.opaque(self.data)

    @classmethod
    def decode(cls, body: bytes) -> PutRequest:
        decoder = xdr.Decoder(body)
        return cls(decoder.hyper(), decoder.opaque(MAXIMUM_DATA))


@dataclass(frozen=True, slots=True)
class PathRequest:
    """DEL."""

    path: bytes

    def encode(self) -> bytes:
        return xdr.opaque(self.path)

    @classmethod
    def decode(cls, body: bytes) -> PathRequest:
        return cls(xdr.Decoder(body).opaque(MAXIMUM_PATH))


@dataclass(frozen=True, slots=True)
class LockRequest:
    """LOCK and TRYLOCK."""

    handle: int
    flags: int

    def encode(self) -> bytes:
        return _LOCK.pack(self.handle, self.flags)

    @classmethod
    def decode(cls, body: bytes) -> LockRequest:
        if len(body) < _LOCK.size:
            raise xdr.XdrError("cut short in a lock request")
        return cls(*_LOCK.unpack_from(body))


@dataclass(frozen=True, slots=True)
class EventBody:
    """EVENT: what happened to a handle."""

    handle: int
    bits: int

    def encode(self) -> bytes:
        return _EVENT.pack(self.handle, self.bits)

    @classmethod
    def decode(cls, body: bytes) -> EventBody:
        if len(body) < _EVENT.size:
            raise xdr.XdrError("cut short in an event")
        return cls(*_EVENT.unpack_from(body))


def directory_record(name: bytes) -> bytes:
    """The record of a child in the data of its directory (9.2)."""
    size = 2 + len(name)
    return len(name).to_bytes(2, "little") + name + bytes(-size & 7)


def directory_names(data: bytes) -> list[bytes]:
    """Names of the children in the data of a directory, in order of creation (9.2).

    Raises XdrError where the data ends inside a record.
    """
    names: list[bytes] = []
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 2], "little")
        name = data[offset + 2 : offset + 2 + size]
        if len(name) != size or offset + 2 > len(data):
            raise xdr.XdrError("a directory record is cut short")
        names.append(name)
        offset += (2 + size + 7) & ~7
    return names
