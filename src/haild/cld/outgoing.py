"""Packets to one client: sequence ids, window, retransmission (cld.md sections 4 and 5.2).

On TCP all is sent at once and nothing repeated. On UDP at most `WINDOW` packets are on their way; each is repeated
2 s after it was sent and every 5 s from then on, until it or a later one is acknowledged.

An original client on UDP accepts only the packet it expects or one of the 25 before it, for as long as its session
lives. So that a restarted server can go on, what it stores as acknowledged (`stored`) is kept close to what it
sends: a restarted server begins there, and the client takes its packets for repeated ones until it has caught up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from haild.wire.cld import packet as wire
from haild.wire.cld.messages import Op

WINDOW: Final = 8
STORED_WINDOW: Final = 24
"""Packets that may be sent beyond the stored acknowledgement; below the 25 an original client looks back."""
MAXIMUM_QUEUE: Final = 4096
"""Packets waiting for an acknowledgement or to be sent; a client that lets more gather is given up."""
_FIRST_REPEAT: Final = 2.0
_REPEAT: Final = 5.0


@dataclass(slots=True)
class _Entry:
    sequence: int
    op: int
    data: bytes
    fragment: bool = False
    repeat_at: float = 0.0


class Outgoing:
    """The sending side of a session."""

    __slots__ = (
        "_key",
        "_sid",
        "_user",
        "acknowledged",
        "last_op",
        "reliable",
        "sent",
        "sequence",
        "stored",
        "waiting",
    )

    def __init__(self, sid: bytes, user: bytes, key: wire.Key, sequence: int, *, reliable: bool) -> None:
        """`sequence` is the id of the first packet; `reliable`: the carrier is TCP."""
        self._sid = sid
        self._user = user
        self._key = key
        self.reliable = reliable
        self.last_op = 0
        self.sequence = sequence
        self.acknowledged = sequence
        self.stored: int | None = None
        self.waiting: deque[_Entry] = deque()
        self.sent: deque[_Entry] = deque()

    def add(self, op: int, body: bytes, xid: int) -> None:
        """Queue a message; `ready` returns its packets when they may go."""
        self.last_op = op
        if self.reliable and len(body) <= wire.MAXIMUM_CHUNK:
            # The usual case: nothing to repeat, nothing to cut.
            packet = wire.Packet(self._sid, self._user, wire.Order.ONLY, xid, op, body, self.sequence)
            self.waiting.append(_Entry(self.sequence, op, wire.seal(packet, self._key)))
            self.sequence = (self.sequence + 1) % wire.SEQUENCE_MODULUS
            return
        packets = wire.fragments(self._sid, self._user, wire.Message(xid, op, body), self.sequence)
        for packet in packets:
            self.waiting.append(_Entry(packet.sequence, op, wire.seal(packet, self._key), len(packets) > 1))
        self.sequence = (self.sequence + len(packets)) % wire.SEQUENCE_MODULUS

    def ready(self, now: float) -> list[bytes]:
        """Packets to send now."""
        if self.reliable:
            packets = [entry.data for entry in self.waiting]
            self.waiting.clear()
            return packets
        packets = []
        # Nothing is sent after the answer to NEW_SESS: repeated after it, that would turn the client's window back
        # (5.2).
        while self.waiting and len(self.sent) < WINDOW and not self._greeting:
            entry = self.waiting[0]
            if self.stored is not None and wire.newer(entry.sequence, self.stored) >= STORED_WINDOW:
                break
            self.waiting.popleft()
            entry.repeat_at = now + _FIRST_REPEAT
            self.sent.append(entry)
            packets.append(entry.data)
        return packets

    def acknowledge(self, sequence: int) -> bool:
        """The client has everything up to `sequence`. An id that was never sent is ignored.

        Returns whether it was one that the client can only know from what was sent to it.
        """
        if not self.sent or wire.newer(sequence, self.sent[-1].sequence) > 0:
            return False
        known = wire.newer(sequence, self.sent[0].sequence) >= 0
        while self.sent and wire.newer(self.sent[0].sequence, sequence) <= 0:
            entry = self.sent.popleft()
            self.acknowledged = (entry.sequence + 1) % wire.SEQUENCE_MODULUS
        return known

    @property
    def _greeting(self) -> bool:
        """Whether the client is not known to have got the reply to NEW_SESS."""
        return bool(self.sent) and self.sent[0].op == Op.NEW_SESS

    def contact(self) -> None:
        """A packet beyond NEW_SESS came: the reply to that has arrived and must not be repeated (5.2)."""
        if self._greeting:
            self.acknowledge(self.sent[0].sequence)

    def first_again(self) -> list[bytes]:
        """The reply to NEW_SESS, while nothing was sent after it; for a repeated NEW_SESS."""
        return [self.sent[0].data] if self._greeting else []

    @property
    def in_fragments(self) -> bool:
        """Whether part of a long message is on its way; libhail would put it into the message twice (5.2)."""
        return any(entry.fragment for entry in self.sent)

    def latest(self) -> bytes | None:
        """The packet sent last, while it is not acknowledged."""
        return self.sent[-1].data if self.sent else None

    def repeat_at(self) -> float | None:
        """When something has to be repeated."""
        return min(entry.repeat_at for entry in self.sent) if self.sent else None

    def repeats(self, now: float) -> list[bytes]:
        """Packets to repeat now."""
        packets: list[bytes] = []
        for entry in self.sent:
            if now >= entry.repeat_at:
                entry.repeat_at = now + _REPEAT
                packets.append(entry.data)
        return packets

    def queued(self) -> int:
        """Packets that are kept."""
        return len(self.waiting) + len(self.sent)

    def overflows(self) -> bool:
        """Whether more has gathered than one client may make the server keep."""
        return self.queued() > MAXIMUM_QUEUE

    def renew(self, *, reliable: bool) -> None:
        """Begin again after RESUME: what was on its way is asked for again by the client."""
        self.reliable = reliable
        self.waiting.clear()
        self.sent.clear()
        self.acknowledged = self.sequence
