"""Whatever comes, the server takes it without an exception and keeps serving those who behave."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.cld.session import Datagrams, Stream
from haild.client.cld.machine import Machine
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op
from support.cld_harness import Original, World

OPS = st.sampled_from([*Op, 5, 99])
MODES = st.integers(0, 0x7F)
PATHS = st.sampled_from([b"/", b"/a", b"/a/b", b"/c", b"", b"//", b"/a/", b"/" + b"x" * 255])
HANDLES = st.integers(0, 6)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda mode, path: cld.OpenRequest(mode, 7, path).encode(), MODES, PATHS),
    st.builds(lambda handle, data: cld.PutRequest(handle, data).encode(), HANDLES, st.binary(max_size=30)),
    HANDLES.map(lambda handle: cld.HandleRequest(handle).encode()),
    PATHS.map(lambda path: cld.PathRequest(path).encode()),
    st.builds(lambda handle, flags: cld.LockRequest(handle, flags).encode(), HANDLES, st.integers(0, 3)),
    st.just(cld_extension.Lifeline(7).encode()),
)
SIDS = st.sampled_from(
    [b"session1", b"session2", cld_extension.make_sid(5, b"1234"), cld_extension.make_sid(9, b"5678")]
)
STREAMS = [Stream("s", 1), Stream("s", 2)]
PEERS = st.sampled_from([*STREAMS, Datagrams("u", 1), Datagrams("u", 2)])
STEPS = st.one_of(
    st.tuples(st.just("packet"), SIDS, OPS, st.sampled_from([3, 3, 3, 1, 0, 2]), BODIES, PEERS, st.integers(0, 2)),
    st.tuples(st.just("time"), st.floats(0, 40)),
    st.tuples(st.just("closed"), PEERS, SIDS),
    st.tuples(st.just("restart")),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=50))
def test_signed_nonsense(steps: list[tuple[object, ...]]) -> None:
    world = World()
    key = cld_packet.Key(b"u")
    sequences: dict[bytes, int] = {}
    for kind, *rest in steps:
        if kind == "packet":
            sid, op, order, body, peer, ahead = rest
            sequences[sid] = sequences.get(sid, 0) + 1
            xid = sequences[sid] * 7
            packet = cld_packet.Packet(sid, b"u", order, xid, op, body, sequences[sid] + ahead)
            world.receive(cld_packet.seal(packet, key), peer)
        elif kind == "time":
            world.pass_time(rest[0])
        elif kind == "restart":
            for stream in STREAMS:
                stream.sids.clear()
            world.restart()
        elif isinstance(rest[0], Stream):
            world.service.stream_closed(rest[0], world.now)
        else:
            world.service.port_closed(rest[1], rest[0], world.now)
        world.flush()
        world.mail.clear()
    well = Original(world).start()
    handle = well.open(b"/well", 0x17)
    assert well.code(Op.PUT, cld.PutRequest(handle, b"data").encode()) == 0
    locks = world.service.operations.locks
    for lock in locks:
        assert lock.owner[1] in world.service.registry.sessions[lock.owner[0]].handles
        others = [other for other in locks.on(lock.inum) if other is not lock and other.held]
        assert not lock.held or lock.shared or not others
    world.pass_time(200)


def test_mutated_packets_leave_nothing_behind() -> None:
    world = World()
    well = Original(world, tcp=True).start()
    rng = random.Random(3)
    templates = [well.packet(Op.NOP)[0], *well.packet(Op.PUT, bytes(2000))]
    well.sequence -= 3
    for _ in range(5000):
        data = bytearray(rng.choice(templates))
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] = rng.getrandbits(8)
        world.receive(bytes(data[: rng.choice((len(data), rng.randrange(len(data))))]), rng.choice(STREAMS))
        world.mail.clear()
    assert list(world.service.registry.sessions) == [well.sid]
    assert well.code(Op.NOP, b"") == 0


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(OPS, st.sampled_from([3, 3, 1, 0, 2]), BODIES, st.integers(-2, 3)), max_size=30), st.booleans()
)
def test_client_takes_signed_nonsense(packets: list[tuple[int, int, bytes, int]], reliable: bool) -> None:
    rng = random.Random(1)
    machine = Machine(user=b"u", secret=b"u", reliable=reliable, lease=5, randomness=rng.randbytes)
    key = cld_packet.Key(b"u")
    machine.start(0.0)
    xid = cld_packet.parse(machine.outbox[0]).xid
    reply = cld.Generic(0, xid).encode() + cld_extension.Grant(5000).encode()
    machine.receive(cld_packet.seal(cld_packet.Packet(machine.sid, b"u", 3, 1, Op.NEW_SESS, reply, 9), key), 0.1)
    assert machine.state.value == "live"
    pending = machine.request(Op.GET, cld.HandleRequest(2).encode(), 0.1)
    now, sequence = 0.2, 10
    for op, order, body, ahead in packets:
        now += 0.05
        answer = cld.Generic(0, pending).encode() + body
        data = cld_packet.Packet(machine.sid, b"u", order, 1, op, answer if sequence % 3 else body, sequence + ahead)
        sequence += 1
        machine.receive(cld_packet.seal(data, key), now)
        machine.tick(now)
    assert machine.valid_until <= now + 5


def test_messages_that_are_never_completed_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haild.cld.registry.MAXIMUM_PARTIAL", 100_000)
    world = World()
    clients = [Original(world).start() for _ in range(20)]
    for client in clients:
        client.send(client.packet(Op.PUT, bytes(20_000))[:-1])
        client.sequence -= 1
    registry = world.service.registry
    assert registry._partial <= 100_000
    assert registry._partial == sum(session.reassembly.size for session in registry.sessions.values())
    clients[-1].read()
    assert clients[-1].answer()[0] == ErrorCode.BAD_PKT
    for client in clients[:-5]:
        assert client.call(Op.END_SESS)[0] == ErrorCode.OK
    world.pass_time(61)
    assert not registry.sessions
    assert registry._partial == 0


def test_what_waits_for_all_clients_together_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haild.cld.registry.MAXIMUM_QUEUED", 1000)
    world = World()
    clients = [Original(world).start() for _ in range(20)]
    for client in clients:
        handle = client.open(b"/big", 0x13)
        client.code(Op.PUT, cld.PutRequest(handle, bytes(131072)).encode())
        client.send(client.packet(Op.GET, cld.HandleRequest(handle).encode()))
    registry = world.service.registry
    assert 5 <= len(registry.sessions) < 20
    assert registry._queued == sum(session.outgoing.queued() for session in registry.sessions.values()) <= 1200


def test_handles_and_locks_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haild.cld.operations.MAXIMUM_TOTAL", 10)
    world = World()
    client = Original(world).start()
    handles = [client.open(b"/f", 0x14) for _ in range(10)]
    assert client.code(Op.OPEN, cld.OpenRequest(0x14, 0, b"/f").encode()) == ErrorCode.OOM
    codes = [client.lock(handles[0]) for _ in range(12)]
    assert codes[0] == ErrorCode.OK
    assert codes[-1] == ErrorCode.OOM
    assert codes.count(ErrorCode.LOCK_PENDING) == 9
    assert client.code(Op.CLOSE, cld.HandleRequest(handles[0]).encode()) == ErrorCode.OK
    assert client.lock(client.open(b"/f", 0x14)) == ErrorCode.OK
    other = Original(world).start()
    client.call(Op.DEL, cld.PathRequest(b"/f").encode())
    assert world.service.operations._handles == 0
    assert other.lock(other.open(b"/f", 0x14)) == ErrorCode.OK


@pytest.mark.parametrize("tcp", [False, True])
def test_new_sessions_have_a_limit(monkeypatch: pytest.MonkeyPatch, tcp: bool) -> None:
    monkeypatch.setattr("haild.cld.machine.MAXIMUM_SESSIONS", 20)
    world = World()
    for _ in range(50):
        client = Original(world, tcp=tcp)
        client.send(client.packet(Op.NEW_SESS))
    assert len(world.service.registry.sessions) == 20
    world.pass_time(61)
    assert not world.service.registry.sessions
