"""The server as a state machine: packets and time in, packets and changed rows out; no I/O.

**The rule: never two holders of one lock.** A lock leaves its holder only when

1. the holder gives it up (UNLOCK, CLOSE, END_SESS), or the file is deleted;
2. the holder is proven dead: its TCP connection came to its end (end of file or reset), or a packet to its UDP port
   was answered by its kernel with "port unreachable". Silence, unreachable hosts and networks prove nothing;
3. its lease is over: a whole lease has passed since the server last had a packet of it.

*Argument.* In case 1 the holder knows. In case 2 the socket that the session is bound to is closed, so the process
is dead or has itself let go of the session. Case 3: a client of ours believes in its session until 0.8 of the lease
after the sending of the latest request that was answered (`haild.client.cld.machine`). That request came here after
it was sent, so by real time our lease ends at least 0.2 of it after the client has stopped to believe, whatever was
lost or delayed on the way; this holds as long as the two clocks run at speeds that differ by less than a fifth. The
client's clock counts while its machine sleeps. A restart does not weaken it: a lock is acknowledged only after it
is stored, stored sessions get a full new lease at the start, counted from a moment after every contact before it.
A client that was connected when the server stopped closes that connection itself, the server's end of it proves
nothing about the client, so the session waits for RESUME on a new connection or for the end of its lease (or for the
proof that its lifeline is closed).

*What it rests on.* Only a client's own kernel ends its connection or closes its port: a proxy that ends
connections of live clients breaks the rule, and so does an address that is given to another machine within a lease.

*Original clients* believe in their session until 120 s after the last packet they accepted, and the server ends it
60 s after the last packet it got (cld.md 8.2, 8.3). So an original client that is alive but cut off for more than
60 s can for up to a minute believe in a lock that another one holds; the protocol leaves no way to prevent that. An
original client on TCP does not notice the end of its connection at all (1.2): after a restart of the server it
believes for ever, while its lock is free.

**What leaves when.** `registry.output` fills up in the order of sending. The caller holds it back until the rows in
`changes` are stored, so that nothing is acknowledged that a crash could undo.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from haild.cld.challenge import Challenger
from haild.cld.changes import Changes, Row, Table
from haild.cld.files import FileTree, Inode
from haild.cld.locks import Lock
from haild.cld.operations import CHANGING, Operations, Request, Response
from haild.cld.outgoing import Outgoing
from haild.cld.refusal import RefusedError
from haild.cld.registry import Registry
from haild.cld.session import PING_INTERVAL, Datagrams, Handle, Peer, Session, Stream, from_row, move
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld import xdr
from haild.wire.cld.messages import ErrorCode, Op

MAXIMUM_SESSIONS: Final = 10_000
MAXIMUM_PER_STREAM: Final = 64
_MAXIMUM_EARLY: Final = 64
_SORT: Final = 0.2
"""Seconds in which the packets an original client repeats after a restart are gathered and put in order."""
_LATE: Final = 1.0
_SID: Final = slice(8, 16)
_STORE_AFTER: Final = 8
"""Acknowledged packets after which the acknowledgement is stored."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Stored:
    """What a store holds, for `Machine.restore`. Locks are in the order of their numbers."""

    inodes: Iterable[Inode]
    sessions: Iterable[tuple[bytes, Row]]
    handles: Iterable[Handle]
    locks: Iterable[Lock]


class Machine:
    """The whole server but its I/O. Every call takes the time: seconds of a clock that never goes back."""

    def __init__(
        self,
        *,
        secrets: Mapping[bytes, bytes] | None,
        rng: random.Random,
        wall: Callable[[], float],
        load: Callable[[int], bytes],
    ) -> None:
        """`secrets`: see Registry; `wall`: seconds since 1970; `load`: the stored content of a file by number."""
        self.changes = Changes()
        self.registry = Registry(self.changes, secrets, rng)
        self.tree = FileTree(self.changes, rng, load)
        sessions = self.registry.sessions
        self.operations = Operations(self.changes, self.tree, sessions, self.registry.notify, wall)
        self.challenger = Challenger(self.registry, self.operations, self._respond)
        self._wall = wall
        self.on_answer: Callable[[Request, int], None] = lambda call, code: None
        """Hears of each request of a session that was answered, and the code; without I/O, please."""

    def restore(self, stored: Stored, now: float) -> None:
        """Take what the store holds, before anything else. Sessions get a full new lease."""
        registry = self.registry
        registry.now = now
        self.tree.restore(stored.inodes, int(self._wall()))
        for sid, row in stored.sessions:
            key = registry.key(row[0])
            session = from_row(sid, row, key, now) if key is not None else None
            if session is None or not session.durable:
                self.changes.delete(Table.SESSIONS, (sid,))
                continue
            session.challenge_at = now + 0.001
            if not session.ours:
                session.outgoing.stored = session.outgoing.sequence
            registry.add(session)
        for handle in stored.handles:
            owner = registry.sessions.get(handle.sid)
            if owner is None:
                self.changes.delete(Table.HANDLES, (handle.sid, handle.number))
                continue
            owner.handles[handle.number] = handle
            self.operations.restore_handle(handle)
        for lock in stored.locks:
            if lock.owner[0] in registry.sessions:
                self.operations.locks.restore(lock)
            else:
                self.changes.delete(Table.LOCKS, (lock.number,))

    # Packets.

    def receive(self, data: bytes, peer: Peer, now: float) -> None:
        """Take one packet from the network (8.5)."""
        self.registry.now = now
        try:
            packet = wire.parse(data)
        except wire.PacketError:
            return
        self._admit(packet, data, peer)
        self.registry.finish()

    def _admit(self, packet: wire.Packet, data: bytes, peer: Peer) -> None:
        registry = self.registry
        session = registry.sessions.get(packet.sid)
        if session is None and not packet.first:
            return
        same_user = session is not None and session.user == packet.user
        key = session.key if session is not None and same_user else registry.key(packet.user)
        if key is None:
            return
        if not key.verifies(data):
            self._refuse(peer, packet, ErrorCode.SIG_INVAL, key)
        elif session is None:
            if packet.op == Op.NEW_SESS:
                self._new_session(packet, peer, key)
            else:
                self._refuse(peer, packet, ErrorCode.SESS_INVAL, key)
        elif not same_user or not self._from(session, peer):
            self._from_elsewhere(session, packet, peer, key, same_user=same_user)
        else:
            self._known(session, packet, peer)

    def _refuse(self, peer: Peer, packet: wire.Packet, code: ErrorCode, key: wire.Key) -> None:
        if packet.first and packet.op != Op.ACK:
            self.registry.unsequenced(peer, packet, code, key)

    def _from(self, session: Session, peer: Peer) -> bool:
        if isinstance(peer, Stream) or session.peer is None:
            return session.peer is peer
        return self.registry.at_address(session, peer)

    def _from_elsewhere(
        self, session: Session, packet: wire.Packet, peer: Peer, key: wire.Key, *, same_user: bool
    ) -> None:
        if same_user and not session.ended:
            if packet.op == Op.RESUME and packet.first and session.ours:
                self._resume(session, packet, peer)
                return
            if packet.op == Op.ACK and packet.first and self.challenger.lifeline(session, packet, peer):
                return
        self._refuse(peer, packet, ErrorCode.SESS_EXISTS if packet.op == Op.NEW_SESS else ErrorCode.SESS_INVAL, key)

    def _known(self, session: Session, packet: wire.Packet, peer: Peer) -> None:
        """A packet of a session, from where it has to come from."""
        registry = self.registry
        if isinstance(peer, Datagrams):
            session.peer = peer
        if not session.ended:
            session.last_contact = registry.now
            self.challenger.alive(session)
        if packet.first and packet.op == Op.ACK:
            self._acknowledged(session, packet.sequence)
            return
        if packet.first and packet.op == Op.NEW_SESS:
            if session.restored and wire.newer(session.expected, packet.sequence) == 1:
                # We stored the session and were killed before the reply got there.
                self._greet(session, packet.xid)
            elif packet.sequence == session.first_sequence and not session.restored:
                registry.emit(session, session.outgoing.first_again())
            else:
                self._refuse(peer, packet, ErrorCode.SESS_EXISTS, session.key)
            return
        if packet.first and packet.op == Op.RESUME and session.ours and not session.ended:
            self._resume(session, packet, peer)
            return
        if session.restored and not session.ended:
            self._after_restart(session, packet, peer)
            return
        self._in_sequence(session, packet, peer)

    def _in_sequence(self, session: Session, packet: wire.Packet, peer: Peer) -> None:
        ahead = wire.newer(packet.sequence, session.expected)
        renewal = session.ours and not session.ended and isinstance(peer, Datagrams) and _renews(packet)
        if renewal and ahead <= 0:
            # Answered as often as it comes, because a lost answer is not repeated.
            answer = cld.Generic(ErrorCode.OK, packet.xid).encode()
            self.registry.bare(session, peer, packet.op, packet.sequence, answer)
        if ahead < 0 or (ahead > 0 and not isinstance(peer, Stream)):
            return
        session.expected = (packet.sequence + 1) % wire.SEQUENCE_MODULUS
        session.outgoing.contact()
        if renewal:
            return
        if session.ended:
            self._refuse(peer, packet, ErrorCode.SESS_INVAL, session.key)
            return
        try:
            message = self.registry.assemble(session, packet)
        except wire.TooLongError as error:
            body = cld.Generic(ErrorCode.BAD_PKT, error.xid).encode()
            self.registry.send(session, error.op, body)
            return
        if message is not None:
            self._message(session, message)

    def _after_restart(self, session: Session, packet: wire.Packet, peer: Peer) -> None:
        """A client goes on after our restart and repeats what it sent meanwhile; the earliest has to come first."""
        if session.ours:
            if isinstance(peer, Datagrams):
                self.registry.bare(session, peer, Op.RESUME, 0)
            return
        if wire.newer(packet.sequence, session.expected) >= 0 and len(session.early) < _MAXIMUM_EARLY:
            session.early.append((packet, peer))
            if not session.sort_at:
                session.sort_at = self.registry.now + _SORT
                self.registry.schedule(session)

    def _sort(self, session: Session) -> None:
        session.sort_at = 0.0
        session.restored = False
        base = session.expected
        early, session.early = session.early, []
        early.sort(key=lambda entry: wire.newer(entry[0].sequence, base))
        session.expected = early[0][0].sequence
        for packet, peer in early:
            self._in_sequence(session, packet, peer)

    def _acknowledged(self, session: Session, sequence: int) -> None:
        outgoing = session.outgoing
        if outgoing.acknowledge(sequence):
            session.proven = True
        outgoing.contact()
        if session.pinged is not None and wire.newer(sequence, session.pinged) >= 0:
            session.pinged = None
        if session.ended:
            if not outgoing.sent and not outgoing.waiting:
                self.registry.forget(session)
            return
        if outgoing.stored is not None and wire.newer(outgoing.acknowledged, outgoing.stored) >= _STORE_AFTER:
            self.registry.save(session)
        self.registry.pump(session)

    # Sessions.

    def _new_session(self, packet: wire.Packet, peer: Peer, key: wire.Key) -> None:
        registry = self.registry
        crowded = isinstance(peer, Stream) and len(peer.sids) >= MAXIMUM_PER_STREAM
        if packet.order != wire.Order.ONLY:
            return
        if crowded or len(registry.sessions) >= MAXIMUM_SESSIONS:
            self._refuse(peer, packet, ErrorCode.OOM, key)
            return
        reliable = isinstance(peer, Stream)
        outgoing = Outgoing(packet.sid, packet.user, key, registry.random_id(), reliable=reliable)
        expected = (packet.sequence + 1) % wire.SEQUENCE_MODULUS
        session = Session(packet.sid, packet.user, key, None, outgoing, expected, registry.now, int(self._wall()))
        session.first_sequence = packet.sequence
        move(session, peer)
        lease = cld_extension.lease_of(packet.sid)
        if lease is not None:
            session.ours, session.lease = True, lease
        elif not reliable:
            outgoing.stored = outgoing.sequence
        registry.add(session)
        registry.save(session)
        self._greet(session, packet.xid)

    def _greet(self, session: Session, xid: int) -> None:
        session.restored = False
        body = cld.Generic(ErrorCode.OK, xid).encode()
        if session.ours:
            body += cld_extension.Grant(int(session.lease * 1000)).encode()
        self.registry.send(session, Op.NEW_SESS, body)

    def _resume(self, session: Session, packet: wire.Packet, peer: Peer) -> None:
        """Go on with a session of our client where it is now (`haild.wire.cld.extension`)."""
        if packet.order != wire.Order.ONLY or wire.newer(packet.sequence, session.expected) < 0:
            return
        registry = self.registry
        move(session, peer)
        session.expected = (packet.sequence + 1) % wire.SEQUENCE_MODULUS
        registry.disassemble(session)
        session.last_contact = registry.now
        session.restored = False
        session.pinged = None
        session.lifeline, session.lifeline_proven = 0, False
        session.outgoing.renew(reliable=isinstance(peer, Stream))
        self.challenger.alive(session)
        owned = tuple(
            cld_extension.Owned(handle.number, self.operations.holds(handle)) for handle in session.handles.values()
        )
        registry.save(session)
        body = cld.Generic(ErrorCode.OK, packet.xid).encode() + cld_extension.Resumed(owned).encode()
        registry.send(session, Op.RESUME, body)

    # Messages.

    def _message(self, session: Session, message: wire.Message) -> None:
        xid, op, body = message
        known = session.answers.get(xid)
        if known is not None:
            self._answer_again(Request(session, op, xid, body), *known)
        elif op == Op.END_SESS:
            self.registry.send(session, op, cld.Generic(ErrorCode.OK, xid).encode())
            self.registry.end(session, "as the client asked", keep=True)
        elif op == Op.EMPTY and self.registry.may_empty(session):
            self._empty(session, xid, body)
        elif self.operations.knows(op):
            if op == Op.NOP and body:
                self.challenger.new_lifeline(session, body)
            self._request(Request(session, op, xid, body))

    def _empty(self, session: Session, xid: int, body: bytes) -> None:
        """Discard what clients own; the answer leaves when that is stored."""
        operations, registry = self.operations, self.registry
        daemons = operations.locking_below([path for path in body.split(b"\0") if path])
        for other in list(registry.sessions.values()):
            if other is not session and other.sid not in daemons and not other.ended:
                registry.end(other, "the stack is being emptied")
                registry.forget(other)
        operations.empty(kept=daemons)
        self.changes.purge = True
        registry.send(session, Op.EMPTY, cld.Generic(ErrorCode.OK, xid).encode())

    def _answer_again(self, call: Request, op: int, answer: bytes) -> None:
        """The client has resumed and asks for an answer that it did not get."""
        with contextlib.suppress(xdr.XdrError):
            if call.op == Op.LOCK and self.operations.lock_is_held(call):
                # It was queued and has been granted since; the event may be lost.
                answer = cld.Generic(ErrorCode.OK, call.xid).encode()
        self.registry.send(call.session, op, answer)

    def _request(self, call: Request) -> None:
        try:
            response = self.operations.execute(call)
        except RefusedError as refusal:
            if call.op == Op.TRYLOCK and refusal.code == ErrorCode.LOCK_CONFLICT and self.challenger.defer(call):
                return
            response = _error(call, refusal.code)
        except xdr.XdrError:
            response = _error(call, ErrorCode.BAD_PKT)
        self.on_answer(call, response.code)
        self._respond(call, response)
        if response.code == ErrorCode.LOCK_PENDING:
            self.challenger.wanted(call)

    def _respond(self, call: Request, response: Response) -> None:
        self.registry.send(call.session, response.op, response.body)
        if call.op in CHANGING and response.code in (ErrorCode.OK, ErrorCode.LOCK_PENDING):
            call.session.remember(call.xid, response.op, response.body)
            self.registry.save(call.session)

    # What the network tells.

    def stream_closed(self, stream: Stream, now: float) -> None:
        """A TCP connection came to its end by its client's doing: proof of death of its sessions."""
        self.registry.now = now
        for sid in list(stream.sids):
            session = self.registry.sessions[sid]
            if session.ended:
                self.registry.forget(session)
            else:
                self.registry.end(session, "its connection was closed")
        self.registry.finish()

    def stream_given_up(self, stream: Stream) -> None:
        """A TCP connection is gone, not provably by its client's doing: its sessions wait for RESUME or their end."""
        for sid in list(stream.sids):
            self.registry.sessions[sid].peer = None
        stream.sids.clear()

    def port_closed(self, sid: bytes, address: Datagrams, now: float) -> None:
        """A packet of session `sid` met a closed port at `address`: proof of death, if the session is there."""
        self.registry.now = now
        session = self.registry.sessions.get(sid)
        if session is None:
            return
        if self.registry.at_address(session, address):
            self.registry.end(session, "its port is closed")
            self.registry.forget(session)
        elif self.challenger.is_lifeline(session, address):
            self.registry.end(session, "its lifeline is closed")
        self.registry.finish()

    def proven(self, data: bytes, address: Datagrams) -> bool:
        """Whether the client of the session that a packet `data` is of has shown that it receives at `address`."""
        session = self.registry.sessions.get(data[_SID])
        if session is None:
            return False
        if self.registry.at_address(session, address):
            return session.proven
        return self.challenger.announced(session, address)

    # Time.

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        moments = [self.registry.deadline(), self.challenger.deadline()]
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self, now: float) -> None:
        """Do what is due: pings, repeats, challenges, ends of leases."""
        self.registry.now = now
        self.challenger.tick()
        for session, planned in self.registry.due():
            self._tick(session, now, late=now - planned > _LATE)
        self.registry.finish()

    def _tick(self, session: Session, now: float, *, late: bool) -> None:
        if session.ended:
            if now >= session.forget_at:
                self.registry.forget(session)
                return
        elif now >= session.expires_at():
            if not late:
                self.registry.end(session, "its lease is over")
                return
            # We did not run when we should have; what it has sent may not be read yet.
            session.last_contact = now - session.lease + _LATE
        if session.sort_at and now >= session.sort_at:
            self._sort(session)
        if session.challenge_at and now >= session.challenge_at:
            self.challenger.repeat(session)
        if session.ping_at and now >= session.ping_at and not session.ended:
            session.ping_at = now + PING_INTERVAL
            if session.pinged is None:
                self.registry.ping(session)
        self.registry.emit(session, session.outgoing.repeats(now))
        if session.sid in self.registry.sessions:
            self.registry.schedule(session)

    # Storing.

    def stored(self, batch: Changes) -> None:
        """Changes that were taken have been stored."""
        for (sid,), row in batch.tables[Table.SESSIONS].items():
            session = self.registry.sessions.get(sid)
            if session is not None and row is not None and session.outgoing.stored is not None:
                session.outgoing.stored = int.from_bytes(row[6], "big")
                self.registry.pump(session)
        self.tree.evict(lambda inum: not self.changes.has(Table.CONTENTS, (inum,)))


def _renews(packet: wire.Packet) -> bool:
    return packet.order == wire.Order.ONLY and packet.op == Op.NOP and packet.chunk == cld_extension.RENEWAL


def _error(call: Request, code: ErrorCode) -> Response:
    return Response(call.op, code, cld.Generic(code, call.xid).encode())
