"""One CLD session as its client sees it, without I/O: packets and time in, packets and outcomes out.

Sequence ids, acknowledgements, retransmission, duplicates: cld.md section 5. Time is any clock in seconds that
also counts while the machine sleeps; the caller asks `deadline()` when to call `tick()`.

**The lease.** A response proves that the server had contact no earlier than the request was first sent. The server
ends a session only when a whole lease has passed without contact. So after `FENCE` of a lease, counted from the
sending of the latest request that was answered, the session is `LOST` here, before it can end there. What remains
of the lease covers clocks that run at different speeds. Of a server of the reference, which ends sessions after 60 s,
the same is true with a lease of 60 s.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from haild.wire.cld import extension, xdr
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld.messages import ErrorCode, Op

FENCE: Final = 0.8
"""Part of the lease after which the client itself gives up a session that it could not renew."""
RENEW: Final = 0.4
"""Part of the lease after which a quiet session is renewed, or a little earlier: see `TOGETHER`."""
TOGETHER: Final = 0.01
"""Part of the lease: leases are renewed at multiples of it by the caller's clock. Where that is the same for all
sessions of a host, their renewals come to the server in groups; to wake for one costs it more than to answer it."""
WINDOW: Final = 8
"""Requests on their way at once; a server remembers that many answers for a client that resumes."""
_REPEAT_REFERENCE: Final = 5.0
_REPEAT: Final = 1.0
_RESUME_REPEAT: Final = (0.1, 0.2, 0.4, 0.5)
_PADDING: Final = 512
"""Bytes of body of NEW_SESS and RESUME over UDP, ignored by servers (cld.md section 4). A server of ours sends an
address that is not proven no more than came from it (`haild.cld.reflection`): 512 are room for 40 handles in the
answer to RESUME."""
_SILENCE: Final = 0.25
"""Part of the lease a request may wait for its answer before the way to the server is taken for broken."""
_UNSEQUENCED: Final = frozenset({ErrorCode.SESS_INVAL, ErrorCode.SESS_EXISTS, ErrorCode.SIG_INVAL})


class State(Enum):
    STARTING = "starting"
    LIVE = "live"
    RESUMING = "resuming"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Answered:
    """A request was answered; `body` is the whole body of the response."""

    xid: int
    code: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the server."""

    handle: int
    bits: int


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The connection is of no use any more: make a new one and call `connected()`."""


@dataclass(frozen=True, slots=True)
class BackAgain:
    """The session goes on after a gap in which events may have been missed."""

    owned: tuple[extension.Owned, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The session is lost: every request that is open fails with this code."""

    code: ErrorCode
    reason: str


Outcome = Answered | Happened | Reconnect | BackAgain | Lost


@dataclass(slots=True)
class _Request:
    message: wire.Message
    packets: list[bytes] = field(default_factory=list)
    first_sent: float = 0.0
    sent: float = 0.0
    repeat_at: float = 0.0
    repeats: int = 0


class Machine:
    """The state of one session. `outbox` and `outcomes` fill up with every call; the caller empties them."""

    def __init__(
        self,
        *,
        user: bytes,
        secret: bytes,
        reliable: bool,
        lease: float,
        randomness: Callable[[int], bytes],
    ) -> None:
        """`reliable`: the carrier loses nothing and ends visibly (TCP). `randomness(n)` returns n random bytes."""
        self.state = State.STARTING
        self.lease = cld.SESSION_TIMEOUT
        self.ours = False
        self.valid_until = 0.0
        self.outbox: list[bytes] = []
        self.outcomes: deque[Outcome] = deque()
        self.sid = extension.make_sid(lease, randomness(4))
        self._user = user
        self._key = wire.Key(secret)
        self._reliable = reliable
        self._random = randomness
        self._sequence = int.from_bytes(randomness(8), "little")
        self._expected: int | None = None
        self._reassembly = wire.Reassembly()
        self._waiting: deque[_Request] = deque()
        self._sent: OrderedDict[int, _Request] = OrderedDict()
        self._special: _Request | None = None
        self._connected = True
        self._renewals: set[int] = set()
        self._last_sent = 0.0

    # What the caller asks for.

    def start(self, now: float) -> None:
        """Ask for the session. Answered like a request, with the message id that is returned by `special_xid`."""
        self.valid_until = now + cld.CLIENT_TIMEOUT
        self._send_special(Op.NEW_SESS, now)

    def request(self, op: Op, body: bytes, now: float) -> int:
        """Send a request, or keep it until there is room in the window; returns its message id."""
        xid = int.from_bytes(self._random(8), "big")
        self._waiting.append(_Request(wire.Message(xid, op, body)))
        self._pump(now)
        return xid

    def announce(self, port: int, now: float) -> None:
        """Tell the server the UDP port that stays open while the session is believed in."""
        if self.ours and self.state == State.LIVE:
            self._renewals.add(self.request(Op.NOP, extension.Lifeline(port).encode(), now))

    def lifeline(self, data: bytes) -> bytes | None:
        """What to send back for a datagram that came to that port; None for one that is not the server's."""
        try:
            packet = wire.parse(data)
        except wire.PacketError:
            return None
        if self.state == State.LOST or packet.sid != self.sid or packet.op != Op.PING or not self._key.verifies(data):
            return None
        return self._ack(packet.sequence)

    def connected(self, now: float) -> None:
        """A new connection is there (after `Reconnect`, or on UDP any time): go on with the session on it."""
        if self.state in (State.LIVE, State.RESUMING):
            self._connected = True
            self._resume(now)

    def disconnected(self, now: float) -> None:
        """The connection ended (end of file or reset; on UDP: the server's port was found closed)."""
        if self.state == State.STARTING or (self.state != State.LOST and not self.ours and self._reliable):
            self._lose(ErrorCode.TIMEOUT, "the server closed the connection")
        elif self.state in (State.LIVE, State.RESUMING) and self.ours:
            if not self._reliable:
                if self.state == State.LIVE:
                    self._resume(now)
                return
            self.state = State.RESUMING
            self._special = None
            if self._connected:
                self._connected = False
                self.outcomes.append(Reconnect())

    def abandon(self, reason: str) -> None:
        """Give the session up."""
        self._lose(ErrorCode.TIMEOUT, reason)

    # Time.

    def deadline(self) -> float | None:
        """When `tick` is to be called at the latest; None once the session is lost."""
        if self.state == State.LOST:
            return None
        moments = [self.valid_until]
        if self._special is not None:
            moments.append(self._special.repeat_at)
        if self.state == State.LIVE:
            if self._sent:
                moments.append(min(request.repeat_at for request in self._sent.values()))
            else:
                moments.append(self._renew_at())
        return min(moments)

    def _renew_at(self) -> float:
        together = TOGETHER * self.lease
        return math.floor((self._last_sent + RENEW * self.lease) / together) * together

    def tick(self, now: float) -> None:
        """Do what is due: fence, renew the lease, repeat what was not answered."""
        if self.state == State.LOST:
            return
        if now >= self.valid_until:
            self._lose(ErrorCode.TIMEOUT, "no answer from the server")
            return
        if self._special is not None and now >= self._special.repeat_at:
            self._repeat_special(now)
        if self.state != State.LIVE:
            return
        if not self._sent and now >= self._renew_at():
            body = extension.RENEWAL if self.ours and not self._reliable else b""
            self._renewals.add(self.request(Op.NOP, body, now))
        for request in list(self._sent.values()):
            if self.state == State.LIVE and now >= request.repeat_at:
                self._repeat(request, now)

    def _repeat(self, request: _Request, now: float) -> None:
        if self.ours and now >= request.sent + _SILENCE * self.lease:
            request.repeat_at = now + _SILENCE * self.lease
            self._suspect(now)
            return
        if not self._reliable:
            self.outbox += request.packets
        request.repeat_at = now + self._pause()

    def _suspect(self, now: float) -> None:
        """No answer for so long that the way to the server may be broken: try another connection in time."""
        if self._reliable:
            self.disconnected(now)
        else:
            self._resume(now)

    def _pause(self) -> float:
        if not self.ours:
            return _REPEAT_REFERENCE
        return _SILENCE * self.lease if self._reliable else min(_REPEAT, _SILENCE * self.lease)

    # Sending.

    def _packets(self, message: wire.Message) -> list[bytes]:
        packets = wire.fragments(self.sid, self._user, message, self._sequence)
        self._sequence = (self._sequence + len(packets)) % wire.SEQUENCE_MODULUS
        return [wire.seal(packet, self._key) for packet in packets]

    def _send_special(self, op: Op, now: float) -> None:
        body = b"" if self._reliable else bytes(_PADDING)
        message = wire.Message(int.from_bytes(self._random(8), "big"), op, body)
        self._special = _Request(message, self._packets(message), now, now, now + _RESUME_REPEAT[0])
        if op == Op.NEW_SESS:
            self._special.repeat_at = now + 0.5
        self.outbox += self._special.packets

    def _repeat_special(self, now: float) -> None:
        request = self._special
        if request is None:
            return
        request.repeats += 1
        if request.message.op == Op.RESUME:
            # Each gets a sequence id of its own: the server takes none twice.
            request.packets = self._packets(request.message)
            request.repeat_at = now + _RESUME_REPEAT[min(request.repeats, len(_RESUME_REPEAT) - 1)]
            if self._reliable and request.repeats == len(_RESUME_REPEAT) * 2:
                self.disconnected(now)
                return
            if not self._reliable and request.repeats == len(_RESUME_REPEAT) and self._connected:
                # The server may have another address by now: the carrier looks its name up again. Until it has, this
                # way is tried on.
                self._connected = False
                self.outcomes.append(Reconnect())
        else:
            request.repeat_at = now + min(0.5 * 2**request.repeats, _REPEAT_REFERENCE)
        if not self._reliable:
            self.outbox += request.packets

    def _resume(self, now: float) -> None:
        self.state = State.RESUMING
        self._send_special(Op.RESUME, now)

    def _pump(self, now: float) -> None:
        while self.state == State.LIVE and self._waiting and len(self._sent) < WINDOW:
            request = self._waiting.popleft()
            request.packets = self._packets(request.message)
            if not request.first_sent:
                request.first_sent = now
            request.sent = now
            request.repeat_at = now + self._pause()
            self._sent[request.message.xid] = request
            self.outbox += request.packets
            self._last_sent = now

    def _ack(self, sequence: int) -> bytes:
        packet = wire.Packet(self.sid, self._user, wire.Order.ONLY, 0, Op.ACK, b"", sequence)
        return wire.seal(packet, self._key)

    # Receiving.

    def receive(self, data: bytes, now: float) -> None:
        """Take one packet as it came. What is not a packet of this session is ignored."""
        try:
            packet = wire.parse(data)
        except wire.PacketError:
            return
        if self.state == State.LOST or packet.sid != self.sid or packet.user != self._user:
            return
        if not self._key.verifies(data):
            self._refused(packet)
            return
        if packet.first and packet.op in (Op.ACK_FRAG, Op.NOT_MASTER):
            return
        if self._out_of_sequence(packet, now):
            return
        message = self._admit(packet)
        if message is None:
            return
        if message.op == Op.EVENT:
            self._event(message.body, now)
        elif message.op != Op.PING:
            self._response(message, now)

    def _refused(self, packet: wire.Packet) -> None:
        """A wrong signature: worth a thought only as the answer to NEW_SESS (SIG_INVAL by another secret)."""
        request = self._special
        if request is None or self.state != State.STARTING or packet.op != Op.NEW_SESS:
            return
        try:
            response = cld.Generic.decode(packet.chunk)
        except xdr.XdrError:
            return
        if response == cld.Generic(ErrorCode.SIG_INVAL, request.message.xid):
            self._lose(ErrorCode.SIG_INVAL, "the server has another secret for this user")

    def _out_of_sequence(self, packet: wire.Packet, now: float) -> bool:
        """Deal with packets outside the server's sequence: errors, requests to resume, answers that start it."""
        if not packet.first:
            return False
        if packet.op == Op.RESUME and not packet.chunk:
            if self.ours and self.state == State.LIVE:
                self._resume(now)
            return True
        try:
            response = cld.Generic.decode(packet.chunk)
        except xdr.XdrError:
            return False
        special = self._special
        if special is not None and response.xid_in == special.message.xid:
            if response.code == ErrorCode.OK:
                # The answer to NEW_SESS or RESUME is where the server's sequence starts.
                self._expected = packet.sequence
                return False
            self._lose(_error_code(response.code), "the server refused the session")
            return True
        if response.xid_in not in self._sent:
            return False
        outside = not self._reliable and packet.sequence != self._expected
        if outside and response.code == ErrorCode.OK and response.xid_in in self._renewals:
            self._response(wire.Message(packet.xid, packet.op, packet.chunk), now)
            return True
        if response.code in _UNSEQUENCED:
            if response.code == ErrorCode.SESS_INVAL:
                self._lose(ErrorCode.SESS_INVAL, "the server does not know the session any more")
            return True
        return False

    def _admit(self, packet: wire.Packet) -> wire.Message | None:
        """Sequence check, acknowledgement, reassembly (5.2)."""
        if self._expected is None:
            return None
        ahead = wire.newer(packet.sequence, self._expected)
        if ahead > 0 and not self._reliable:
            return None
        if not (self.ours and self._reliable) or packet.op in (Op.PING, Op.END_SESS):
            self.outbox.append(self._ack(packet.sequence))
        if ahead < 0:
            return None
        self._expected = (packet.sequence + 1) % wire.SEQUENCE_MODULUS
        try:
            return self._reassembly.feed(packet)
        except wire.TooLongError:
            return None

    def _event(self, body: bytes, now: float) -> None:
        if self._fenced(now):
            return
        try:
            event = cld.EventBody.decode(body)
        except xdr.XdrError:
            return
        self.outcomes.append(Happened(event.handle, event.bits))

    def _response(self, message: wire.Message, now: float) -> None:
        special = self._special
        try:
            response = cld.Generic.decode(message.body)
            if special is not None and response.xid_in == special.message.xid:
                self._begin(special, message.body, now)
                return
        except xdr.XdrError:
            return
        request = self._sent.pop(response.xid_in, None)
        if request is None:
            return
        self.valid_until = max(self.valid_until, request.first_sent + FENCE * self.lease)
        if self._fenced(now):
            return
        if response.xid_in in self._renewals:
            self._renewals.discard(response.xid_in)
        else:
            self.outcomes.append(Answered(response.xid_in, response.code, message.body))
        self._pump(now)

    def _fenced(self, now: float) -> bool:
        """Whether the lease is over; a caller that was stopped for long may come here before it comes to `tick`."""
        if now < self.valid_until:
            return False
        self._lose(ErrorCode.TIMEOUT, "no answer from the server")
        return True

    def _begin(self, special: _Request, body: bytes, now: float) -> None:
        """NEW_SESS or RESUME was answered with OK. Raises XdrError."""
        if special.message.op == Op.NEW_SESS:
            grant = extension.Grant.decode(body)
            self.ours = grant is not None
            self.lease = grant.lease / 1000 if grant is not None else cld.SESSION_TIMEOUT
            self.valid_until = special.first_sent + FENCE * self.lease
            outcome: Outcome = Answered(0, ErrorCode.OK, body)
        else:
            self.valid_until = max(self.valid_until, special.first_sent + FENCE * self.lease)
            outcome = BackAgain(extension.Resumed.decode(body).owned)
        if self._fenced(now):
            return
        self.outcomes.append(outcome)
        self._special = None
        self.state = State.LIVE
        self._last_sent = now
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._pump(now)

    def _lose(self, code: ErrorCode, reason: str) -> None:
        if self.state == State.LOST:
            return
        self.state = State.LOST
        self._special = None
        self._sent.clear()
        self._waiting.clear()
        self.outcomes.append(Lost(code, reason))


def _error_code(value: int) -> ErrorCode:
    try:
        return ErrorCode(value)
    except ValueError:
        return ErrorCode.INTERNAL_ERR
