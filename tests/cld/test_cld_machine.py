"""The client's side of a session, packet by packet, in made-up time (cld.md section 5)."""

import asyncio
import random

import pytest

from haild.client.cld import carrier as cld_carrier
from haild.client.cld.machine import (
    FENCE,
    RENEW,
    TOGETHER,
    Answered,
    BackAgain,
    Happened,
    Lost,
    Machine,
    Reconnect,
    State,
)
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op

KEY = cld_packet.Key(b"u")
LEASE = 10.0


class Peer:
    """Plays the server for one machine."""

    def __init__(self, *, reliable: bool, ours: bool = True) -> None:
        self.machine = Machine(
            user=b"u", secret=b"u", reliable=reliable, lease=LEASE, randomness=random.Random(1).randbytes
        )
        self.sequence = 500
        self.machine.start(0.0)
        (start,) = self.sent()
        grant = cld_extension.Grant(int(LEASE * 1000)).encode() if ours else b""
        self.reply(Op.NEW_SESS, start.xid, 0.0, extra=grant)
        self.outcomes()
        self.sent()

    def sent(self) -> list[cld_packet.Packet]:
        packets, self.machine.outbox = self.machine.outbox, []
        assert all(KEY.verifies(data) for data in packets)
        return [cld_packet.parse(data) for data in packets]

    def outcomes(self) -> list[object]:
        outcomes = list(self.machine.outcomes)
        self.machine.outcomes.clear()
        return outcomes

    def packet(self, op: int, body: bytes = b"", sequence: int | None = None) -> bytes:
        if sequence is None:
            sequence = self.sequence
            self.sequence += 1
        return cld_packet.seal(cld_packet.Packet(self.machine.sid, b"u", 3, 9, op, body, sequence), KEY)

    def reply(self, op: int, xid: int, now: float, code: int = 0, extra: bytes = b"") -> None:
        self.machine.receive(self.packet(op, cld.Generic(code, xid).encode() + extra), now)


def test_validity_counts_from_the_sending() -> None:
    peer = Peer(reliable=True)
    assert peer.machine.valid_until == FENCE * LEASE
    xid = peer.machine.request(Op.NOP, b"", 3.0)
    peer.reply(Op.NOP, xid, 5.0)
    assert peer.machine.valid_until == 3.0 + FENCE * LEASE
    assert peer.outcomes() == [Answered(xid, 0, cld.Generic(0, xid).encode())]


def test_quiet_session_is_renewed() -> None:
    peer = Peer(reliable=True)
    assert peer.machine.deadline() == RENEW * LEASE
    peer.machine.tick(RENEW * LEASE)
    (renewal,) = peer.sent()
    assert renewal.op == Op.NOP
    peer.reply(Op.NOP, renewal.xid, RENEW * LEASE + 0.1)
    assert peer.outcomes() == [], "no client asked for it"
    assert peer.machine.valid_until == pytest.approx((RENEW + FENCE) * LEASE)


def test_sessions_of_one_clock_are_renewed_together() -> None:
    """Requests at different moments of a tenth of a second: all are renewed at one, and none late."""
    moments = [50.003, 50.051, 50.098]
    deadlines = set()
    for moment in moments:
        peer = Peer(reliable=True)
        peer.machine.valid_until = 100.0
        xid = peer.machine.request(Op.NOP, b"", moment)
        peer.reply(Op.NOP, xid, moment)
        deadline = peer.machine.deadline()
        assert deadline is not None
        deadlines.add(deadline)
        assert moment + (RENEW - TOGETHER) * LEASE <= deadline <= moment + RENEW * LEASE
        peer.sent()
        peer.machine.tick(deadline - 0.001)
        assert peer.sent() == []
        peer.machine.tick(deadline)
        assert [packet.op for packet in peer.sent()] == [Op.NOP]
    assert len(deadlines) == 1


@pytest.mark.parametrize("knows", [True, False])
def test_answer_to_a_renewal_on_udp(knows: bool) -> None:
    """Outside the sequence, and not acknowledged, from a server that knows RENEWAL; in it from one that does not."""
    peer = Peer(reliable=False)
    peer.machine.tick(RENEW * LEASE)
    (renewal,) = peer.sent()
    assert (renewal.op, renewal.chunk) == (Op.NOP, cld_extension.RENEWAL)
    body = cld.Generic(0, renewal.xid).encode()
    sequence = renewal.sequence if knows else None
    peer.machine.receive(peer.packet(Op.NOP, body, sequence), RENEW * LEASE + 0.1)
    assert [packet.op for packet in peer.sent()] == ([] if knows else [Op.ACK])
    assert peer.machine.valid_until == pytest.approx((RENEW + FENCE) * LEASE)
    xid = peer.machine.request(Op.LOCK, cld.LockRequest(2, 0).encode(), 5.0)
    peer.sent()
    peer.reply(Op.LOCK, xid, 5.1)
    assert [packet.op for packet in peer.sent()] == [Op.ACK], "the sequence goes on"
    assert peer.outcomes() == [Answered(xid, 0, cld.Generic(0, xid).encode())]


def test_only_renewals_are_answered_outside_the_sequence() -> None:
    peer = Peer(reliable=False)
    xid = peer.machine.request(Op.LOCK, cld.LockRequest(2, 0).encode(), 1.0)
    (request,) = peer.sent()
    peer.machine.receive(peer.packet(Op.LOCK, cld.Generic(0, xid).encode(), request.sequence), 1.1)
    assert peer.outcomes() == []
    assert peer.machine.valid_until == FENCE * LEASE


@pytest.mark.parametrize("late", ["event", "answer", "tick"])
def test_what_comes_after_the_lease_does_not_count(late: str) -> None:
    """A process that was stopped finds packets in its socket before it looks at the clock."""
    peer = Peer(reliable=True)
    xid = peer.machine.request(Op.LOCK, cld.LockRequest(2, 0).encode(), 1.0)
    now = 1.0 + FENCE * LEASE
    if late == "event":
        peer.machine.receive(peer.packet(Op.EVENT, cld.EventBody(2, 4).encode()), now)
    elif late == "answer":
        peer.reply(Op.LOCK, xid, now)
    else:
        peer.machine.tick(now)
    (outcome,) = peer.outcomes()
    assert isinstance(outcome, Lost)
    assert outcome.code == ErrorCode.TIMEOUT


def test_unanswered_request_is_repeated_unchanged_to_a_server_of_the_reference() -> None:
    peer = Peer(reliable=False, ours=False)
    peer.machine.request(Op.NOP, b"", 1.0)
    first = peer.machine.outbox[0]
    peer.sent()
    for now in (6.0, 11.0):
        peer.machine.tick(now)
        assert peer.machine.outbox == [first]
        peer.sent()


def test_duplicates_are_acknowledged_again_and_dropped() -> None:
    peer = Peer(reliable=False)
    event = peer.packet(Op.EVENT, cld.EventBody(2, 1).encode())
    for _ in range(2):
        peer.machine.receive(event, 1.0)
    assert [(packet.op, packet.xid, packet.sequence) for packet in peer.sent()] == [(Op.ACK, 0, 501)] * 2
    assert peer.outcomes() == [Happened(2, 1)]
    peer.machine.receive(peer.packet(Op.EVENT, cld.EventBody(2, 1).encode(), sequence=510), 1.0)
    assert peer.sent() == []
    assert peer.outcomes() == [], "a gap: what is missing comes first"


def test_window_of_requests() -> None:
    peer = Peer(reliable=True)
    xids = [peer.machine.request(Op.NOP, b"", 1.0) for _ in range(20)]
    assert [packet.xid for packet in peer.sent()] == xids[:8]
    peer.reply(Op.NOP, xids[0], 1.0)
    assert [packet.xid for packet in peer.sent()] == xids[8:9]


def test_connection_is_lost_and_the_session_resumed() -> None:
    peer = Peer(reliable=True)
    first, second = (peer.machine.request(Op.NOP, b"", 1.0) for _ in range(2))
    before = peer.sent()
    peer.machine.disconnected(2.0)
    assert peer.outcomes() == [Reconnect()]
    third = peer.machine.request(Op.NOP, b"", 2.0)
    assert peer.sent() == []
    peer.machine.connected(2.1)
    (resume,) = peer.sent()
    assert resume.op == Op.RESUME
    assert resume.sequence == before[-1].sequence + 1
    peer.sequence = 7_000_000
    owned = (cld_extension.Owned(2, True),)
    peer.reply(Op.RESUME, resume.xid, 2.2, extra=cld_extension.Resumed(owned).encode())
    assert peer.outcomes() == [BackAgain(owned)]
    assert [packet.xid for packet in peer.sent()] == [first, second, third]
    assert peer.machine.state == State.LIVE


def test_server_of_the_reference_is_not_resumed() -> None:
    peer = Peer(reliable=True, ours=False)
    peer.machine.disconnected(1.0)
    (outcome,) = peer.outcomes()
    assert isinstance(outcome, Lost)


def test_server_asks_for_resumption() -> None:
    peer = Peer(reliable=False)
    peer.machine.receive(peer.packet(Op.RESUME, sequence=0), 1.0)
    assert [packet.op for packet in peer.sent()] == [Op.RESUME]
    peer.machine.tick(1.2)
    again = peer.sent()
    assert [packet.op for packet in again] == [Op.RESUME]


def test_unknown_session_is_lost_at_once() -> None:
    peer = Peer(reliable=False)
    xid = peer.machine.request(Op.NOP, b"", 1.0)
    body = cld.Generic(ErrorCode.SESS_INVAL, xid + 1).encode()
    peer.machine.receive(peer.packet(Op.NOP, body, sequence=3), 1.1)
    assert peer.outcomes() == [], "not an answer to a request of ours"
    peer.machine.receive(peer.packet(Op.NOP, cld.Generic(ErrorCode.SESS_INVAL, xid).encode(), sequence=3), 1.1)
    (outcome,) = peer.outcomes()
    assert isinstance(outcome, Lost)
    assert outcome.code == ErrorCode.SESS_INVAL


def test_signatures_and_users_are_checked() -> None:
    peer = Peer(reliable=True)
    xid = peer.machine.request(Op.NOP, b"", 1.0)
    body = cld.Generic(0, xid).encode()
    wrong_key = cld_packet.Packet(peer.machine.sid, b"u", 3, 9, Op.NOP, body, peer.sequence)
    wrong_user = wrong_key._replace(user=b"v")
    for data in (
        cld_packet.seal(wrong_key, cld_packet.Key(b"x")),
        cld_packet.seal(wrong_user, cld_packet.Key(b"v")),
        cld_packet.seal(wrong_user, KEY),
    ):
        peer.machine.receive(data, 1.1)
    assert peer.outcomes() == []


def test_fragment_acknowledgements_and_not_master_are_ignored() -> None:
    peer = Peer(reliable=True)
    for op in (Op.ACK_FRAG, Op.NOT_MASTER):
        peer.machine.receive(peer.packet(op, bytes(8), sequence=0xDEADBEEF), 1.0)
    assert peer.outcomes() == []
    assert peer.sent() == []


async def test_what_comes_on_the_connection_before_is_ignored() -> None:
    peer = Peer(reliable=True)
    carrier = cld_carrier.Carrier(peer.machine, "nowhere", 0, "tcp")
    old, new = cld_carrier._Stream(carrier), cld_carrier._Stream(carrier)
    carrier._link = new
    xid = peer.machine.request(Op.NOP, b"", cld_carrier.clock())
    refusal = peer.packet(Op.NOP, cld.Generic(ErrorCode.SESS_INVAL, xid).encode(), sequence=1)
    carrier.received([refusal], old)
    assert peer.machine.state == State.LIVE
    carrier.received([refusal], new)
    assert peer.machine.state == State.LOST
    carrier.close()
    await asyncio.sleep(0)
