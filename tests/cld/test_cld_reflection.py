"""cld is no amplifier: an address that has proved nothing gets no more bytes than came from it."""

import asyncio
import random
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.cld.reflection import MAXIMUM_ADDRESSES, Reflection
from haild.cld.server import Server
from haild.cld.session import Datagrams
from haild.client.cld import EventMask, OpenMode, Session
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as wire
from haild.wire.cld.extension import make_sid
from haild.wire.cld.messages import Op
from support.cld_harness import World

VICTIM = Datagrams("victim", 53)
USER = b"tabled"


class Attacker:
    """Sends packets in the victim's name, which never answers. Knows the secret, as every user of a default cld."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reflection = Reflection()
        self.sent = self.got = 0
        self.sid = bytes(8)
        self.sequence = 1

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self.reflection.received(VICTIM, len(data))
        self.world.receive(data, VICTIM)
        self.collect()

    def collect(self) -> None:
        for data in self.world.mail.pop(VICTIM[:2], []):
            if self.reflection.may_send(VICTIM, len(data), proven=self.world.service.proven(data, VICTIM)):
                self.got += len(data)

    def packet(self, op: int, body: bytes = b"", key: bytes = USER) -> bytes:
        packet = wire.Packet(self.sid, USER, wire.Order.ONLY, self.sequence, op, body, self.sequence)
        self.sequence += 1
        return wire.seal(packet, wire.Key(key))

    def step(self, what: str) -> None:
        if what == "new session":
            self.send(self.packet(Op.NEW_SESS))
        elif what == "other session":
            self.sid = random.Random(self.sequence).randbytes(8)
            self.send(self.packet(Op.NEW_SESS))
        elif what == "our session":
            self.sid = make_sid(120, self.sequence.to_bytes(4, "big"))
            self.send(self.packet(Op.NEW_SESS))
        elif what == "resume":
            self.send(self.packet(Op.RESUME))
        elif what == "bad signature":
            self.send(self.packet(Op.NEW_SESS, key=b"wrong"))
        elif what == "open":
            self.send(self.packet(Op.OPEN, cld.OpenRequest(OpenMode(15), EventMask(3), b"/big").encode()))
        elif what == "get":
            self.send(self.packet(Op.GET, cld.HandleRequest(2).encode()))
        elif what == "acknowledge":
            self.send(self.packet(Op.ACK))
        elif what == "end":
            self.send(self.packet(Op.END_SESS))
        else:
            for _ in range(70):
                self.world.pass_time(1.0)
                self.collect()


STEPS = [
    *("new session", "other session", "our session", "resume", "bad signature", "open", "get", "acknowledge", "end"),
    "a minute",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_whatever_is_sent_in_the_name_of_another_it_does_not_get_more(steps: list[str]) -> None:
    world = World()
    attacker = Attacker(world)
    for step in steps:
        attacker.step(step)
        assert attacker.got <= attacker.sent
    attacker.step("a minute")
    assert attacker.got <= attacker.sent


def test_counts_of_many_addresses_are_bounded() -> None:
    reflection = Reflection()
    for number in range(MAXIMUM_ADDRESSES + 10):
        reflection.received(Datagrams("a", number), 100)
    assert not reflection.may_send(Datagrams("a", 3), 10, proven=False)
    assert reflection.may_send(Datagrams("a", 100), 100, proven=False)
    assert not reflection.may_send(Datagrams("a", 100), 1, proven=False)


# With a socket


@pytest.fixture
def sock() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


async def _gather(sock: socket.socket, seconds: float) -> list[bytes]:
    got: list[bytes] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            got.append(sock.recv(4096))
        except BlockingIOError:
            await asyncio.sleep(0.02)
    return got


async def test_an_original_client_gets_in_with_its_second_new_sess(tmp_path: Path, sock: socket.socket) -> None:
    server = await Server.start(tmp_path, 0, None)
    key = wire.Key(USER)
    first = wire.seal(wire.Packet(b"original", USER, wire.Order.ONLY, 7, Op.NEW_SESS, b"", 100), key)
    sock.sendto(first, ("127.0.0.1", server.port))
    # The server would repeat its answer after 2 s.
    assert await _gather(sock, 2.5) == []
    sock.sendto(first, ("127.0.0.1", server.port))
    (answer,) = await _gather(sock, 0.3)
    packet = wire.parse(answer)
    assert packet.op == Op.NEW_SESS
    for data in (
        wire.Packet(b"original", USER, wire.Order.ONLY, 0, Op.ACK, b"", packet.sequence),
        wire.Packet(b"original", USER, wire.Order.ONLY, 8, Op.NOP, b"", 101),
        wire.Packet(b"original", USER, wire.Order.ONLY, 9, Op.NOP, b"", 102),
        wire.Packet(b"original", USER, wire.Order.ONLY, 10, Op.NOP, b"", 103),
    ):
        sock.sendto(wire.seal(data, key), ("127.0.0.1", server.port))
    assert [wire.parse(data).op for data in await _gather(sock, 0.3)] == [Op.NOP] * 3
    await server.close()


async def test_our_client_gets_in_at_once_and_reads_what_is_large(tmp_path: Path) -> None:
    server = await Server.start(tmp_path, 0, None)
    started = time.monotonic()
    session = await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled", transport="udp")
    handle = await session.open("/large", OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE)
    await session.put(handle, bytes(100_000))
    assert len((await session.get(handle)).data) == 100_000
    assert time.monotonic() - started < 1
    await session.end()
    await server.close()
