"""Challenges to the holders of locks that others want; see the rule in `haild.cld.machine`.

The holder is pinged at once. Its answer, or the proof of its death, comes within milliseconds; until then, but at
most `PATIENCE` seconds, the answer to a TRYLOCK is put off, so that a restarted client gets its old lock at the first
try (the reference's daemons would try again only after 10 s). While a LOCK waits, the challenge is repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from haild.cld.operations import Operations, Request, Response
from haild.cld.refusal import RefusedError
from haild.cld.registry import Registry
from haild.cld.session import Datagrams, Peer, Session, Stream
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld.messages import Op

PATIENCE: Final = 0.25
INTERVAL: Final = 0.5
"""Seconds between challenges while a lock is waited for."""
_TOGETHER: Final = 0.1
"""Seconds within which a challenge that was not answered yet serves all who ask."""
_HINTS: Final = 6
_MAXIMUM_DEFERRED: Final = 1000


@dataclass(slots=True)
class _Deferred:
    call: Request
    until: float
    settled: bool = False


class Challenger:
    """Knows which requests wait for a sign of life of which sessions.

    `respond` sends the response to a request that was kept waiting.
    """

    def __init__(
        self, registry: Registry, operations: Operations, respond: Callable[[Request, Response], None]
    ) -> None:
        self._registry = registry
        self._operations = operations
        self._respond = respond
        self._by_holder: dict[bytes, list[_Deferred]] = {}
        self._queue: deque[_Deferred] = deque()
        registry.on_end.append(self._ended)

    # Locks that are wanted.

    def wanted(self, call: Request) -> None:
        """A LOCK was queued: challenge those in its way until it is granted."""
        for sid in self._operations.holders(call):
            if sid != call.session.sid:
                self._challenge(self._registry.sessions[sid])

    def defer(self, call: Request) -> bool:
        """Keep a refused TRYLOCK until a holder has shown life; False where there is nothing to wait for."""
        holders = self._operations.holders(call)
        if call.session.sid in holders or not holders or len(self._queue) >= _MAXIMUM_DEFERRED:
            return False
        deferred = _Deferred(call, self._registry.now + PATIENCE)
        self._queue.append(deferred)
        for sid in holders:
            self._by_holder.setdefault(sid, []).append(deferred)
            self._challenge(self._registry.sessions[sid])
        return True

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        while self._queue and self._queue[0].settled:
            self._queue.popleft()
        return self._queue[0].until if self._queue else None

    def tick(self) -> None:
        """Answer those whose patience is at its end."""
        while self._queue and (self._queue[0].settled or self._queue[0].until <= self._registry.now):
            self._settle(self._queue.popleft())
        for sid in [sid for sid, waiting in self._by_holder.items() if all(entry.settled for entry in waiting)]:
            del self._by_holder[sid]

    def alive(self, session: Session) -> None:
        """A packet of the session came."""
        for deferred in self._by_holder.pop(session.sid, ()):
            self._settle(deferred)

    def repeat(self, session: Session) -> None:
        """The session's challenge timer fired."""
        session.challenge_at = 0.0
        if session.restored and session.hints < _HINTS:
            session.hints += 1
            self._probe(session)
            session.challenge_at = self._registry.now + 0.1 * 2**session.hints
        elif session.sid in self._by_holder or self._operations.awaited(session):
            self._challenge(session)

    # Lifelines.

    def new_lifeline(self, session: Session, body: bytes) -> None:
        """The client tells its lifeline; it counts once it has answered from the address of the connection."""
        announced = cld_extension.Lifeline.decode(body)
        if announced is None or not session.ours or not isinstance(session.peer, Stream):
            return
        session.lifeline = announced.port
        session.lifeline_proven = False
        session.nonce = self._registry.random_id()
        self._registry.bare(session, self._lifeline_of(session), Op.PING, session.nonce)

    def lifeline(self, session: Session, packet: wire.Packet, peer: Peer) -> bool:
        """Whether an ACK from elsewhere is the answer of the session's lifeline."""
        if not isinstance(peer, Datagrams) or peer[:2] != self._lifeline_of(session)[:2]:
            return False
        if packet.sequence != session.nonce:
            return False
        if not session.lifeline_proven:
            session.lifeline_proven = True
            self._registry.save(session)
        self.alive(session)
        return True

    def is_lifeline(self, session: Session, address: Datagrams) -> bool:
        """Whether the session's proven lifeline is at that address."""
        return session.lifeline_proven and address[:2] == self._lifeline_of(session)[:2]

    def announced(self, session: Session, address: Datagrams) -> bool:
        """Whether the session has told that address as its lifeline, on the connection that proves the host."""
        return bool(session.lifeline) and address[:2] == self._lifeline_of(session)[:2]

    # Parts.

    def _lifeline_of(self, session: Session) -> Datagrams:
        return Datagrams(session.address[1], session.lifeline)

    def _challenge(self, session: Session) -> None:
        now = self._registry.now
        if session.last_contact >= session.challenged or now >= session.challenged + _TOGETHER:
            session.challenged = now
            self._probe(session)
        # A TCP connection tells by itself when it ends.
        if not (isinstance(session.peer, Stream) and not session.lifeline_proven):
            session.challenge_at = now + (_TOGETHER if session.sid in self._by_holder else INTERVAL)
            self._registry.schedule(session)

    def _probe(self, session: Session) -> None:
        registry = self._registry
        if session.ended:
            return
        if session.lifeline_proven and not isinstance(session.peer, Datagrams):
            registry.bare(session, self._lifeline_of(session), Op.PING, session.nonce)
        if session.peer is None:
            return
        if session.ours and session.restored:
            registry.bare(session, session.peer, Op.RESUME, 0)
            return
        latest = session.outgoing.latest()
        if session.outgoing.in_fragments:
            # Far outside the client's window: it is dropped there, unless the client is gone.
            away = (session.outgoing.sequence + (1 << 63)) % wire.SEQUENCE_MODULUS
            registry.bare(session, session.peer, Op.PING, away)
        elif latest is not None:
            registry.emit(session, [latest])
        elif session.pinged is None or not session.outgoing.reliable:
            registry.ping(session)

    def _ended(self, session: Session) -> None:
        self._operations.release(session)
        for deferred in self._by_holder.pop(session.sid, ()):
            if not deferred.settled and self._operations.holders(deferred.call):
                continue
            self._settle(deferred)

    def _settle(self, deferred: _Deferred) -> None:
        if deferred.settled:
            return
        deferred.settled = True
        call = deferred.call
        if call.session.ended:
            return
        try:
            response = self._operations.execute(call)
        except RefusedError as refusal:
            response = Response(call.op, refusal.code, cld.Generic(refusal.code, call.xid).encode())
        self._respond(call, response)
