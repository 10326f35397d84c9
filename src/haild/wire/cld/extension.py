"""What hailbox adds to the CLD protocol, in ways that neither an original client nor an original server notices.

* A client of ours says so in its session id, which is eight opaque bytes to everybody else (cld.md 3.1): three
  bytes of magic, the lease it asks for in whole seconds, four random bytes.
* A server of ours that meets such a session id adds a `Grant` after the body of its NEW_SESS response. Bytes after
  the last field of a body are ignored by all other clients (section 4), which never ask for them.
* Only when both have thus recognised each other, RESUME is used: the client sends it, on a new connection or after
  silence, to go on with its session; both sequences start again with it, requests that were not answered are
  sent again with their old message ids, and those that had been executed get their old answer. The response is a
  `Resumed`: what the session still owns. Sent by the server without a sequence id of its own (as 8.5 says), RESUME
  asks the client for that.
* A NOP with a `Lifeline` as its body tells the number of a UDP port that the client keeps open for as long as it
  believes in its session, on the address its connection comes from. The server tests it with a PING; once it was
  answered, a port found closed is proof that the client is gone, also when there is no connection left to tell
  (after a restart of the server).
* A NOP with a `RENEWAL` as its body, on UDP, is answered outside the server's sequence (as 8.5 says of errors), and
  again if it comes again: nothing has to be acknowledged. A server that does not know it answers as to any NOP.
* EMPTY, in a session of the user of `haild.wire.emptying` alone, has the server discard all files, and end all
  sessions, except those of daemons. Its body: paths of directories, each ended by a NUL. A session that has a lock of
  a file below one of these is a daemon's, and such a file stays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from haild.wire.cld import xdr

DEFAULT_LEASE: Final = 10.0
"""Seconds a session of our clients lives without contact."""
MAXIMUM_LEASE: Final = 120
_SID_MAGIC: Final = b"\xe8hb"
_MAGIC: Final = 0x68627831
_LIFELINE_MAGIC: Final = 0x68627832
RENEWAL: Final = b"hbx3"
"""Body of a NOP whose answer needs no place in the server's sequence."""
_GRANT: Final = struct.Struct(">II")
_LIFELINE: Final = struct.Struct(">II")
_OWNED: Final = struct.Struct(">QI")
_GENERIC_SIZE: Final = 12


def make_sid(lease: float, randomness: bytes) -> bytes:
    """The session id of a client that wants a lease of `lease` seconds (1 to 120, whole); `randomness`: 4 bytes."""
    seconds = int(lease)
    if not 1 <= seconds <= MAXIMUM_LEASE or len(randomness) != 4:
        raise ValueError("a lease has 1 to 120 seconds, a session id 4 random bytes")
    return _SID_MAGIC + bytes([seconds]) + randomness


def lease_of(sid: bytes) -> float | None:
    """Seconds of the lease a session id asks for; None for a session id of an original client."""
    if sid[:3] == _SID_MAGIC and 1 <= sid[3] <= MAXIMUM_LEASE:
        return float(sid[3])
    return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What follows the generic body of the response to NEW_SESS: the lease the server granted, in milliseconds."""

    lease: int

    def encode(self) -> bytes:
        return _GRANT.pack(_MAGIC, self.lease)

    @classmethod
    def decode(cls, body: bytes) -> Grant | None:
        """Find the grant in the body of a NEW_SESS response; None where the server is not one of ours."""
        if len(body) < _GENERIC_SIZE + _GRANT.size:
            return None
        magic, lease = _GRANT.unpack_from(body, _GENERIC_SIZE)
        return cls(lease) if magic == _MAGIC else None


@dataclass(frozen=True, slots=True)
class Owned:
    """One handle of a resumed session, and whether it holds a lock."""

    handle: int
    locked: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """What follows the generic body of the response to RESUME: every handle of the session."""

    owned: tuple[Owned, ...]

    def encode(self) -> bytes:
        entries = b"".join(_OWNED.pack(entry.handle, entry.locked) for entry in self.owned)
        return _GRANT.pack(_MAGIC, len(self.owned)) + entries

    @classmethod
    def decode(cls, body: bytes) -> Resumed:
        """Raises XdrError where the body of the response holds none."""
        offset = _GENERIC_SIZE + _GRANT.size
        if len(body) < offset:
            raise xdr.XdrError("cut short in a resume response")
        magic, count = _GRANT.unpack_from(body, _GENERIC_SIZE)
        if magic != _MAGIC or len(body) < offset + count * _OWNED.size:
            raise xdr.XdrError("not a resume response")
        entries = _OWNED.iter_unpack(body[offset : offset + count * _OWNED.size])
        return cls(tuple(Owned(handle, bool(locked)) for handle, locked in entries))


@dataclass(frozen=True, slots=True)
class Lifeline:
    """Body of a NOP: the UDP port the client keeps open while it believes in its session."""

    port: int

    def encode(self) -> bytes:
        return _LIFELINE.pack(_LIFELINE_MAGIC, self.port)

    @classmethod
    def decode(cls, body: bytes) -> Lifeline | None:
        """None where the body is not one (the NOP of anybody else has no body at all)."""
        if len(body) < _LIFELINE.size:
            return None
        magic, port = _LIFELINE.unpack_from(body)
        return cls(port) if magic == _LIFELINE_MAGIC and 1 <= port <= 65535 else None
