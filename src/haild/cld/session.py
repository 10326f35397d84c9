"""One client's session on the server (cld.md section 8): what belongs to it and when it ends."""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from haild.cld.changes import Row
from haild.cld.outgoing import Outgoing
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld import xdr

ANSWERS: Final = 8
"""Answers kept per session: as many as a client of ours has requests on their way."""
PING_INTERVAL: Final = 20.0


class Datagrams(NamedTuple):
    """A UDP address. `local` is the server's own address in the form of `haild.cld.udp`, empty for any."""

    host: str
    port: int
    local: bytes = b""


class Stream:
    """A TCP connection; compared by identity. `used`: it ever carried a session."""

    __slots__ = ("host", "port", "sids", "used")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.sids: set[bytes] = set()
        self.used = False


Peer = Datagrams | Stream


@dataclass(slots=True)
class Handle:
    """An open file or directory (9.3)."""

    sid: bytes
    number: int
    inum: int
    mode: int
    events: int

    def row(self) -> Row:
        return (self.inum, self.mode, self.events)


@dataclass(slots=True)
class Session:
    """The state of one session. Times are the caller's clock; `began` is seconds since 1970."""

    sid: bytes
    user: bytes
    key: wire.Key
    peer: Peer | None
    outgoing: Outgoing
    expected: int
    last_contact: float
    began: int
    lease: float = cld.SESSION_TIMEOUT
    ours: bool = False
    first_sequence: int = 0
    next_handle: int = 2
    handles: dict[int, Handle] = field(default_factory=dict)
    answers: OrderedDict[int, tuple[int, bytes]] = field(default_factory=OrderedDict)
    packed_answers: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    reassembly: wire.Reassembly = field(default_factory=wire.Reassembly)
    ended: bool = False
    forget_at: float = 0.0
    ping_at: float = 0.0
    pinged: int | None = None
    challenge_at: float = 0.0
    challenged: float = float("-inf")
    events: int = 0
    queued: int = 0
    wake_at: float = float("inf")
    restored: bool = False
    proven: bool = True
    """Whether the client has shown that it gets what is sent to `peer`; see `haild.cld.reflection`."""
    early: list[tuple[wire.Packet, Peer]] = field(default_factory=list)
    sort_at: float = 0.0
    hints: int = 0
    lifeline: int = 0
    lifeline_proven: bool = False
    nonce: int = 0
    address: tuple[str, str, int] = ("tcp", "", 0)

    @property
    def durable(self) -> bool:
        """Whether the session can go on after a restart: that of an original client on TCP cannot (8.6).

        It is stored all the same, for `admin`.
        """
        return self.ours or self.address[0] == "udp"

    def expires_at(self) -> float:
        """When the session ends without further contact."""
        return self.last_contact + self.lease

    def remember(self, xid: int, op: int, body: bytes) -> None:
        """Keep the answer to a request that changed something, should the client ask again."""
        self.answers[xid] = (op, body)
        self.packed_answers[xid] = _ANSWER.pack(xid, op) + xdr.opaque(body)
        while len(self.answers) > ANSWERS:
            self.answers.popitem(last=False)
            self.packed_answers.popitem(last=False)

    def row(self) -> Row:
        """The session as it is stored."""
        transport, host, port = self.address
        answers = b"".join(self.packed_answers.values())
        return (
            self.user,
            transport,
            host,
            port,
            self.began,
            self.expected.to_bytes(8, "big"),
            self.outgoing.acknowledged.to_bytes(8, "big"),
            self.next_handle,
            answers,
            self.lifeline if self.lifeline_proven else 0,
        )


_ANSWER: Final = struct.Struct(">QI")


def move(session: Session, peer: Peer) -> None:
    """Bind the session to another address or connection."""
    if isinstance(session.peer, Stream):
        session.peer.sids.discard(session.sid)
    if isinstance(peer, Datagrams):
        known = isinstance(session.peer, Datagrams) and session.peer[:2] == peer[:2]
        session.proven = session.proven and known
    else:
        session.proven = True
    session.peer = peer
    if isinstance(peer, Stream):
        peer.sids.add(session.sid)
        peer.used = True
        session.address = ("tcp", peer.host, peer.port)
    else:
        session.address = ("udp", peer.host, peer.port)


def from_row(sid: bytes, row: Row, key: wire.Key, now: float) -> Session:
    """A session as it was stored, for a server that was restarted. Raises XdrError for a damaged row."""
    user, transport, host, port, began, client_sequence, server_sequence, next_handle, answers, lifeline = row
    peer = Datagrams(host, port) if transport == "udp" else None
    outgoing = Outgoing(sid, user, key, int.from_bytes(server_sequence, "big"), reliable=transport == "tcp")
    session = Session(sid, user, key, peer, outgoing, int.from_bytes(client_sequence, "big"), now, began)
    session.address = (transport, host, port)
    session.next_handle = next_handle
    session.restored = True
    session.lifeline = lifeline
    session.lifeline_proven = bool(lifeline)
    lease = cld_extension.lease_of(sid)
    if lease is not None:
        session.ours, session.lease = True, lease
    decoder = xdr.Decoder(answers)
    while decoder.offset < len(answers):
        xid, op = decoder.hyper(), decoder.word()
        session.remember(xid, op, decoder.opaque(cld.MAXIMUM_BODY))
    return session
