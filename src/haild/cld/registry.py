"""All sessions of a server: how packets leave to them, when their timers fire, how they end."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from haild.cld.changes import Changes, Table
from haild.cld.locks import Owner
from haild.cld.session import PING_INTERVAL, Datagrams, Peer, Session, Stream
from haild.wire import emptying
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld.messages import Op

ENDED: Final = 15.0
"""Seconds an ended session is kept to repeat the answer to END_SESS."""
MAXIMUM_QUEUED: Final = 32_768
"""Packets that wait in all sessions on UDP together; beyond that, who makes more than its share wait is given up."""
_SHARE: Final = 64
MAXIMUM_PARTIAL: Final = 32 << 20
"""Bytes of messages that are not complete yet, of all sessions together."""
_EVENTS_PER_PING: Final = 4
_TOGETHER: Final = 0.25
"""Seconds: ends of leases, PINGs and repeats wait for the next multiple of this, so that those of many sessions are
seen to together. Most are not due any more by then, and to wake for each costs as much as to answer a request."""

logger = logging.getLogger(__name__)


class Registry:
    """Sessions by id. `output` fills up with packets in the order of sending; `now`: the time of the current call."""

    def __init__(self, changes: Changes, secrets: Mapping[bytes, bytes] | None, rng: random.Random) -> None:
        """`secrets`: the key of each user; None: the key of a user is its name (cld.md 3.4)."""
        self.sessions: dict[bytes, Session] = {}
        self.output: list[tuple[Peer, bytes]] = []
        self.now = 0.0
        self.on_end: list[Callable[[Session], None]] = []
        self._changes = changes
        self._secrets = secrets
        self._rng = rng
        self._keys: dict[bytes, wire.Key] = {}
        self._heap: list[tuple[float, int, bytes]] = []
        self._ticket = itertools.count()
        self._trailing: dict[bytes, Session] = {}
        self._doomed: list[Session] = []
        self._queued = 0
        self._partial = 0

    # Keys.

    def key(self, user: bytes) -> wire.Key | None:
        """The key of a user; None for a user that has none."""
        key = self._keys.get(user)
        if key is not None:
            return key
        if not 1 <= len(user) <= wire.MAXIMUM_USER:
            return None
        if self._secrets is None:
            # Not remembered: anybody can invent names.
            return wire.Key(user)
        secret = self._secrets.get(user)
        if secret is None:
            return None
        return self._keys.setdefault(user, wire.Key(secret))

    def may_empty(self, session: Session) -> bool:
        """Whether it is the driver's session: only a server with secrets can tell."""
        return session.user == emptying.CLD_USER and self._secrets is not None and session.user in self._secrets

    # Sending.

    def random_id(self) -> int:
        """64 random bits, for message and sequence ids."""
        return self._rng.getrandbits(64)

    def send(self, session: Session, op: int, body: bytes) -> None:
        """Send a message of the session's sequence."""
        session.outgoing.add(op, body, self.random_id())
        self.pump(session)

    def pump(self, session: Session) -> None:
        """Send what the session's window lets through."""
        packets = session.outgoing.ready(self.now)
        self.emit(session, packets)
        if packets and not session.outgoing.reliable:
            self.schedule(session)
        self._count(session)
        crowded = self._queued > MAXIMUM_QUEUED and session.queued > _SHARE
        if crowded or session.outgoing.overflows():
            self._doomed.append(session)

    def _count(self, session: Session) -> None:
        queued = 0 if session.sid not in self.sessions else session.outgoing.queued()
        self._queued += queued - session.queued
        session.queued = queued

    def assemble(self, session: Session, packet: wire.Packet) -> wire.Message | None:
        """Put a packet to the fragments of its message. Raises TooLongError, also where all together are too much."""
        reassembly = session.reassembly
        self._partial -= reassembly.size
        try:
            message = reassembly.feed(packet)
            if self._partial + reassembly.size > MAXIMUM_PARTIAL:
                xid, op = reassembly.xid, reassembly.op
                session.reassembly = reassembly = wire.Reassembly()
                raise wire.TooLongError(xid, op)
        finally:
            self._partial += reassembly.size
        return message

    def disassemble(self, session: Session) -> None:
        """Drop the fragments of a message that will not be completed."""
        self._partial -= session.reassembly.size
        session.reassembly = wire.Reassembly()

    def emit(self, session: Session, packets: list[bytes]) -> None:
        """Send packets as they are; without a connection they are lost."""
        if session.peer is not None:
            self.output += [(session.peer, packet) for packet in packets]

    def unsequenced(self, peer: Peer, packet: wire.Packet, code: int, key: wire.Key) -> None:
        """Answer with an error outside any sequence: it carries the sequence id of the offending packet (8.5)."""
        body = cld.Generic(code, packet.xid).encode()
        reply = packet._replace(order=wire.Order.ONLY, xid=self.random_id(), chunk=body)
        self.output.append((peer, wire.seal(reply, key)))

    def bare(self, session: Session, peer: Peer, op: int, sequence: int, body: bytes = b"") -> None:
        """Send a packet outside the session's sequence."""
        packet = wire.Packet(session.sid, session.user, wire.Order.ONLY, self.random_id(), op, body, sequence)
        self.output.append((peer, wire.seal(packet, session.key)))

    def notify(self, owner: Owner, bits: int) -> None:
        """Send an event to the handle's session."""
        sid, handle = owner
        session = self.sessions.get(sid)
        if session is None or session.ended:
            return
        self.send(session, Op.EVENT, cld.EventBody(handle, bits).encode())
        if session.ours or session.outgoing.reliable:
            return
        # An original client never acknowledges an EVENT, only what comes after it (5.2).
        session.events += 1
        if session.events >= _EVENTS_PER_PING:
            self.ping(session)
        else:
            self._trailing[sid] = session

    def ping(self, session: Session) -> None:
        """Send a PING; `session.pinged` is its sequence id until it is acknowledged."""
        session.events = 0
        session.pinged = session.outgoing.sequence
        self.send(session, Op.PING, b"")

    def finish(self) -> None:
        """Do what has to be done at the end of each call from outside."""
        if self._trailing:
            trailing, self._trailing = self._trailing, {}
            for session in trailing.values():
                if session.events and not session.ended and session.outgoing.last_op == Op.EVENT:
                    self.ping(session)
                session.events = 0
        while self._doomed:
            self.end(self._doomed.pop(), "does not take what is sent to it")

    # Storing.

    def save(self, session: Session) -> None:
        """Note that the session has to be stored."""
        if not session.ended:
            self._changes.put(Table.SESSIONS, (session.sid,), session.row())

    # Beginning and end.

    def add(self, session: Session) -> None:
        """Enter a session."""
        self.sessions[session.sid] = session
        if not session.ours:
            session.ping_at = self.now + PING_INTERVAL
        self.schedule(session)

    def end(self, session: Session, reason: str, *, keep: bool = False) -> None:
        """End a session: its handles and locks go. `keep`: for as long as its last answer may have to be repeated."""
        if session.ended:
            return
        transport, host, port = session.address
        # A session that ends as it should, or with nothing in it, is not worth a line in the log.
        level = logging.DEBUG if keep or not session.handles else logging.INFO
        text = "session %s of %s at %s %s:%d: %s; %d handles closed"
        user = session.user.decode("latin-1")
        logger.log(level, text, session.sid.hex(), user, transport, host, port, reason, len(session.handles))
        session.ended = True
        for listener in self.on_end:
            listener(session)
        self._changes.delete(Table.SESSIONS, (session.sid,))
        if keep:
            session.forget_at = self.now + ENDED
            self.schedule(session)
        else:
            self.forget(session)

    def forget(self, session: Session) -> None:
        """Drop what is left of an ended session."""
        if isinstance(session.peer, Stream):
            session.peer.sids.discard(session.sid)
        self.sessions.pop(session.sid, None)
        self._count(session)
        self.disassemble(session)

    # Timers.

    def schedule(self, session: Session) -> None:
        """See to it that `due` returns the session when its next timer fires."""
        when = session.forget_at if session.ended else session.expires_at()
        if not session.ended and 0 < session.ping_at < when:
            when = session.ping_at
        repeat = session.outgoing.repeat_at()
        if repeat is not None and repeat < when:
            when = repeat
        when = math.ceil(when / _TOGETHER) * _TOGETHER
        if not session.ended:
            for moment in (session.challenge_at, session.sort_at):
                if 0 < moment < when:
                    when = moment
        if when < session.wake_at:
            session.wake_at = when
            heapq.heappush(self._heap, (when, next(self._ticket), session.sid))

    def deadline(self) -> float | None:
        """When the next timer fires."""
        return self._heap[0][0] if self._heap else None

    def due(self) -> list[tuple[Session, float]]:
        """Sessions whose timer has fired, with the time it was set to. They have to be scheduled again."""
        fired: list[tuple[Session, float]] = []
        while self._heap and self._heap[0][0] <= self.now:
            when, _, sid = heapq.heappop(self._heap)
            session = self.sessions.get(sid)
            if session is not None and session.wake_at == when:
                session.wake_at = float("inf")
                fired.append((session, when))
        return fired

    def at_address(self, session: Session, address: Datagrams) -> bool:
        """Whether the session is bound to that UDP address."""
        return isinstance(session.peer, Datagrams) and session.peer[:2] == address[:2]
