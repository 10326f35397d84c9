"""The lifeline of a client on TCP: when its end is proof of death, and when it is not."""

import random

import pytest

from haild.cld.session import Datagrams, Stream
from haild.client.cld.machine import Machine, State
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import Op
from support.cld_harness import World


class Ours:
    """Our client's machine on a stream of a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.peer = Stream("client", 4000)
        self.machine = Machine(user=b"u", secret=b"u", reliable=True, lease=10, randomness=random.Random(1).randbytes)
        self.machine.start(world.now)
        self.exchange()
        assert self.machine.state == State.LIVE

    def exchange(self) -> None:
        while True:
            packets, self.machine.outbox = self.machine.outbox, []
            for data in packets:
                self.world.receive(data, self.peer)
            arrived = self.world.mail.pop(self.peer, [])
            if not packets and not arrived:
                return
            for data in arrived:
                self.machine.receive(data, self.world.now)

    def lock(self) -> None:
        self.machine.request(Op.OPEN, cld.OpenRequest(0x14, 0, b"/lock").encode(), self.world.now)
        self.machine.request(Op.LOCK, cld.LockRequest(2, 0).encode(), self.world.now)
        self.exchange()

    def announce(self) -> list[bytes]:
        self.machine.announce(4001, self.world.now)
        self.exchange()
        return self.world.mail.pop(("client", 4001))

    def answer(self, probes: list[bytes], port: int = 4001) -> None:
        for data in probes:
            answer = self.machine.lifeline(data)
            assert answer is not None
            self.world.receive(answer, Datagrams("client", port))

    def is_there(self) -> bool:
        return self.machine.sid in self.world.service.registry.sessions

    def port_closed(self, port: int = 4001) -> None:
        self.world.service.port_closed(self.machine.sid, Datagrams("client", port), self.world.now)


@pytest.fixture
def ours() -> Ours:
    client = Ours(World())
    client.lock()
    return client


def test_lifeline_that_never_answered_proves_nothing(ours: Ours) -> None:
    ours.announce()
    ours.port_closed()
    assert ours.is_there()


def test_answer_from_another_port_does_not_count(ours: Ours) -> None:
    ours.answer(ours.announce(), port=4002)
    for port in (4001, 4002):
        ours.port_closed(port)
    assert ours.is_there()


def test_closed_lifeline_is_proof(ours: Ours) -> None:
    ours.answer(ours.announce())
    assert ours.is_there()
    ours.port_closed()
    assert not ours.is_there()
    assert list(ours.world.service.operations.locks) == []


def test_lifeline_is_tried_after_a_restart(ours: Ours) -> None:
    ours.answer(ours.announce())
    ours.world.restart()
    ours.world.pass_time(0.1)
    probes = ours.world.mail.pop(("client", 4001))
    assert [cld_packet.parse(data).op for data in probes] == [Op.PING]
    ours.answer(probes)
    assert ours.is_there()
    ours.port_closed()
    assert not ours.is_there()


def test_lifeline_of_a_resumed_session_is_told_anew(ours: Ours) -> None:
    ours.answer(ours.announce())
    ours.world.restart()
    ours.peer = Stream("client", 4003)
    ours.machine.disconnected(ours.world.now)
    ours.machine.connected(ours.world.now)
    ours.exchange()
    assert ours.machine.state == State.LIVE
    ours.port_closed()
    assert ours.is_there(), "the client may have opened another one"


def test_foreign_packets_on_the_lifeline_get_no_answer(ours: Ours) -> None:
    probe = ours.announce()[0]
    assert ours.machine.lifeline(b"") is None
    assert ours.machine.lifeline(probe[:-1] + b"\0") is None
    packet = cld_packet.parse(probe)._replace(op=Op.EVENT)
    assert ours.machine.lifeline(cld_packet.seal(packet, cld_packet.Key(b"u"))) is None
