"""Sequence ids, acknowledgement, repeats, order of checks, expiry (cld.md sections 4, 5 and 8) in virtual time."""

import random

import pytest

from haild.cld.changes import Table
from haild.cld.outgoing import Outgoing
from haild.cld.session import Datagrams
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op
from support.cld_harness import Original, World

READ, WRITE, LOCK, CREATE = 0x01, 0x02, 0x04, 0x10


@pytest.fixture
def world() -> World:
    return World()


def ops(packets: list[bytes]) -> list[int]:
    return [cld_packet.parse(data).op for data in packets]


def test_unanswered_packets_are_repeated_after_2_s_and_every_5_s(world: World) -> None:
    client = Original(world).start()
    client.send(client.packet(Op.NOP))
    (first,) = client.mail()
    times = []
    for _ in range(140):
        world.pass_time(0.1)
        if client.mail() == [first]:
            times.append(round(_ / 10 + 0.1, 1))
    assert times == [2.0, 7.0, 12.0]
    client.acknowledge(cld_packet.parse(first).sequence)
    world.pass_time(5)
    assert client.mail() == []


def test_acknowledgement_covers_everything_before_it(world: World) -> None:
    client = Original(world).start()
    for _ in range(4):
        client.send(client.packet(Op.NOP))
    sent = [cld_packet.parse(data).sequence for data in client.mail()]
    client.acknowledge(sent[2])
    world.pass_time(3)
    assert [cld_packet.parse(data).sequence for data in client.mail()] == sent[3:]
    client.acknowledge(sent[3] + 1000)
    world.pass_time(5)
    assert len(client.mail()) == 1, "an id that was never sent acknowledges nothing"


@pytest.mark.parametrize("size", [1012, 1013, 60_000, 131_072])
def test_large_reply_is_paced(world: World, size: int) -> None:
    client = Original(world).start()
    handle = client.open(b"/f", READ | WRITE | CREATE)
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert client.code(Op.PUT, cld.PutRequest(handle, data).encode()) == ErrorCode.OK
    client.send(client.packet(Op.GET, cld.HandleRequest(handle).encode()))
    assert len(world.mail[client.peer[:2]]) <= 8
    client.read()
    assert cld.GetReply.decode(client.answer()[1]).data == data


def test_sending_stays_within_reach_of_what_is_stored() -> None:
    """An original client takes packets of a restarted server only up to 25 before the one it expects."""
    outgoing = Outgoing(b"original", b"u", cld_packet.Key(b"u"), 100, reliable=False)
    outgoing.stored = 100
    for _ in range(60):
        outgoing.add(Op.NOP, b"", 1)
    sent: list[int] = []
    for stored in (100, 110, 110, 140):
        outgoing.stored = stored
        while packets := outgoing.ready(0.0):
            sent += [cld_packet.parse(data).sequence for data in packets]
            outgoing.acknowledge(sent[-1])
        assert sent[-1] - stored < 25
    assert sent == list(range(100, 160))


def test_lost_fragment_is_repeated_and_no_acknowledged_one(world: World) -> None:
    client = Original(world).start()
    handle = client.open(b"/f", READ | WRITE | CREATE)
    client.code(Op.PUT, cld.PutRequest(handle, bytes(20_000)).encode())
    client.send(client.packet(Op.GET, cld.HandleRequest(handle).encode()))
    burst = client.mail()
    for data in burst[:3]:
        client._take(cld_packet.parse(data))
    world.mail.clear()
    world.pass_time(2.5)
    assert world.mail[client.peer[:2]][:5] == burst[3:], "only what was not acknowledged"
    client.read()
    assert len(cld.GetReply.decode(client.answer()[1]).data) == 20_000


def test_duplicates_and_gaps_are_dropped_on_udp(world: World) -> None:
    client = Original(world).start()
    client.open(b"/f", CREATE)
    (exclusive,) = client.packet(Op.OPEN, cld.OpenRequest(CREATE | 0x20, 0, b"/g").encode())
    client.send([exclusive])
    client.read()
    assert client.answer()[0] == ErrorCode.OK
    client.send([exclusive])
    assert client.mail() == []
    (lost,), (late,) = client.packet(Op.NOP), client.packet(Op.NOP)
    client.send([late])
    assert client.mail() == []
    client.send([lost, late])
    assert ops(client.mail()) == [Op.NOP, Op.NOP]


def test_duplicates_are_dropped_on_tcp(world: World) -> None:
    client = Original(world, tcp=True).start()
    (packet,) = client.packet(Op.NOP)
    client.send([packet, packet])
    assert ops(client.mail()) == [Op.NOP]


def test_repeated_new_session_gets_its_reply_while_it_is_the_last(world: World) -> None:
    client = Original(world)
    new = client.packet(Op.NEW_SESS)
    client.send(new)
    (reply,) = client.mail()
    client.send(new)
    assert client.mail() == [reply]
    world.pass_time(2.5)
    assert client.mail() == [reply]
    client.send(client.packet(Op.NOP))
    (nop,) = client.mail()
    client.send(new)
    assert client.mail() == [], "it would set the client's window back"
    world.pass_time(10)
    assert client.mail() == [nop, nop], "anything else proves that the reply arrived"


def test_nothing_is_sent_behind_a_new_session_reply_that_may_be_lost(world: World) -> None:
    """Repeated after a PING, it would turn back the window of a client that has both."""
    client = Original(world)
    client.send(client.packet(Op.NEW_SESS))
    world.pass_time(45)
    assert set(ops(client.mail())) == {Op.NEW_SESS}
    client.send(client.packet(Op.NOP))
    assert ops(client.mail()) == [Op.PING, Op.NOP]


def test_session_id_in_use(world: World) -> None:
    client, other = Original(world).start(), Original(world)
    other.sid = client.sid
    other.send(other.packet(Op.NEW_SESS))
    (reply,) = other.mail()
    packet = cld_packet.parse(reply)
    assert cld.Generic.decode(packet.chunk) == cld.Generic(ErrorCode.SESS_EXISTS, other.xid)
    assert packet.sequence == 0x1000, "errors carry the sequence id of the offending packet"
    assert other.key.verifies(reply)


@pytest.mark.parametrize("case", ["unknown session", "other address", "other user", "dead session", "wrong key"])
def test_refusals_are_well_formed_and_echo_the_sequence_id(world: World, case: str) -> None:
    client = Original(world).start()
    expected = ErrorCode.SESS_INVAL
    if case == "unknown session":
        client.sid = b"unknown!"
    elif case == "other address":
        client.peer = Datagrams("elsewhere", 7)
    elif case == "other user":
        client.user, client.key = b"another", cld_packet.Key(b"another")
    elif case == "dead session":
        assert client.call(Op.END_SESS)[0] == ErrorCode.OK
    else:
        client.key, expected = cld_packet.Key(b"wrong"), ErrorCode.SIG_INVAL
    sequence = client.sequence
    client.send(client.packet(Op.NOP))
    (reply,) = client.mail()
    packet = cld_packet.parse(reply)
    assert cld.Generic.decode(packet.chunk) == cld.Generic(expected, client.xid)
    assert (packet.op, packet.sequence, packet.order) == (Op.NOP, sequence, 3)
    assert cld_packet.Key(client.user).verifies(reply)
    client.acknowledge(5)
    assert client.mail() == [], "nothing is ever answered to an ACK"
    (fragment, *_) = client.packet(Op.PUT, bytes(3000))[1:]
    client.send([fragment])
    assert client.mail() == []


@pytest.mark.parametrize("user", [b"", b"u" * 32])
def test_user_without_key_gets_nothing(world: World, user: bytes) -> None:
    client = Original(world, user=user)
    client.send(client.packet(Op.NEW_SESS))
    assert world.mail == {}


def test_secrets_bind_the_user(world: World) -> None:
    world = World({b"tabled": b"deep dark"})
    Original(world, user=b"tabled", secret=b"deep dark").start()
    for client in (Original(world, user=b"tabled"), Original(world, user=b"stranger")):
        client.send(client.packet(Op.NEW_SESS))
        for data in client.mail():
            assert not client.key.verifies(data)


@pytest.mark.parametrize("tcp", [False, True])
def test_undecodable_and_too_long_messages_get_a_sequenced_answer(world: World, tcp: bool) -> None:
    client = Original(world, tcp=tcp).start()
    assert client.code(Op.PUT, b"short") == ErrorCode.BAD_PKT
    for start in range(3):
        client.send(client.packet(Op.PUT, bytes(cld.MAXIMUM_BODY + 4000)))
        client.read()
        assert client.answer()[0] == ErrorCode.BAD_PKT, start
    assert client.code(Op.PUT, cld.PutRequest(9, b"").encode()) == ErrorCode.FH_INVAL


def test_acknowledgement_between_fragments_does_not_disturb(world: World) -> None:
    client = Original(world).start()
    handle = client.open(b"/f", READ | WRITE | CREATE)
    first, *rest = client.packet(Op.PUT, cld.PutRequest(handle, bytes(5000)).encode())
    client.send([first])
    client.acknowledge(1)
    client.send(rest)
    client.read()
    assert client.answer()[0] == ErrorCode.OK


@pytest.mark.parametrize("tcp", [False, True])
def test_silent_session_ends_after_60_s(world: World, tcp: bool) -> None:
    client, other = Original(world, tcp=tcp).start(), Original(world, tcp=True).start()
    handle = client.open(b"/lock", LOCK | CREATE)
    client.lock(handle)
    client.deaf = True
    theirs = other.open(b"/lock", LOCK)
    world.pass_time(30)
    other.read()
    assert other.lock(theirs) == ErrorCode.LOCK_PENDING
    world.pass_time(29.5)
    other.read()
    assert not other.events, "silence is no proof of death"
    world.pass_time(1)
    other.read()
    assert other.events == [cld.EventBody(theirs, 4)]
    client.deaf = False
    client.mail()
    client.send(client.packet(Op.NOP))
    assert cld.Generic.decode(cld_packet.parse(client.mail()[-1]).chunk).code == ErrorCode.SESS_INVAL


def test_renewal_on_udp_leaves_nothing_to_acknowledge(world: World) -> None:
    client = Original(world)
    client.sid = cld_extension.make_sid(10, b"udp.")
    client.start()
    renewal = client.packet(Op.NOP, cld_extension.RENEWAL)
    for _ in range(2):
        client.send(renewal)
        (answer,) = client.mail()
        packet = cld_packet.parse(answer)
        assert packet.sequence == cld_packet.parse(renewal[0]).sequence
        assert cld.Generic.decode(packet.chunk) == cld.Generic(ErrorCode.OK, client.xid)
    world.pass_time(9.9)
    assert client.mail() == [], "nothing is repeated"
    assert client.code(Op.NOP, b"") == ErrorCode.OK, "it lived for a lease from the renewal on"


def test_renewal_is_only_a_whole_message_of_a_client_of_ours(world: World) -> None:
    """The last fragment of a file may have the same bytes, and no operation of its own."""
    stranger = Original(world).start()
    assert stranger.code(Op.NOP, cld_extension.RENEWAL) == ErrorCode.OK
    client = Original(world)
    client.sid = cld_extension.make_sid(10, b"udp.")
    client.start()
    handle = client.open(b"/file", READ | WRITE | CREATE)
    data = bytes(1024 - 12) + cld_extension.RENEWAL
    assert client.code(Op.PUT, cld.PutRequest(handle, data).encode()) == ErrorCode.OK
    assert client.get(handle).data == data


def test_leases_are_looked_at_together(world: World) -> None:
    """A server does not wake for each of its sessions; none ends early, and none much late."""
    began = {}
    for number in range(50):
        world.pass_time(0.005)
        client = Original(world, tcp=True)
        client.sid = cld_extension.make_sid(10, number.to_bytes(4, "big"))
        client.start()
        began[client.sid] = world.now
    sessions = world.service.registry.sessions
    wakes = 0
    while sessions:
        before = list(sessions)
        deadline = world.service.deadline()
        assert deadline is not None
        world.pass_time(deadline - world.now)
        ages = [world.now - began[sid] for sid in before if sid not in sessions]
        assert all(9.999 < age < 10.251 for age in ages)
        wakes += bool(ages)
    assert wakes <= 2


@pytest.mark.parametrize("tcp", [False, True])
def test_pings_keep_an_idle_session(world: World, tcp: bool) -> None:
    client = Original(world, tcp=tcp).start()
    pings = 0
    for _ in range(600):
        world.pass_time(1)
        arrived = world.mail.get(client.peer if tcp else client.peer[:2], [])
        pings += ops(arrived).count(Op.PING)
        client.read()
    assert pings == 30
    assert client.code(Op.NOP, b"") == ErrorCode.OK


def test_events_to_a_client_that_never_acknowledges_them(world: World) -> None:
    watcher, writer = Original(world).start(), Original(world, tcp=True).start()
    mine = writer.open(b"/f", WRITE | CREATE)
    watcher.open(b"/f", READ, 1)
    for number in range(100):
        assert writer.code(Op.PUT, cld.PutRequest(mine, b"%d" % number).encode()) == ErrorCode.OK
    watcher.read()
    assert len(watcher.events) == 100
    world.pass_time(10)
    assert world.mail.get(watcher.peer[:2]) is None, "a PING after the events has retired them"


def test_client_that_takes_nothing_is_given_up(world: World) -> None:
    watcher, writer = Original(world).start(), Original(world, tcp=True).start()
    mine = writer.open(b"/f", WRITE | CREATE)
    watcher.open(b"/f", READ, 1)
    watcher.deaf = True
    for _ in range(6000):
        writer.send(writer.packet(Op.PUT, cld.PutRequest(mine, b"x").encode()))
    assert watcher.sid not in world.service.registry.sessions
    assert writer.sid in world.service.registry.sessions


def test_end_of_session_frees_locks_and_repeats_its_answer(world: World) -> None:
    client, other = Original(world).start(), Original(world).start()
    client.lock(client.open(b"/lock", LOCK | CREATE))
    theirs = other.open(b"/lock", LOCK)
    assert other.lock(theirs) == ErrorCode.LOCK_PENDING
    client.deaf = True
    client.send(client.packet(Op.END_SESS))
    other.read()
    assert other.events == [cld.EventBody(theirs, 4)]
    (reply,) = [data for data in client.mail() if cld_packet.parse(data).op == Op.END_SESS]
    world.pass_time(2.5)
    assert reply in client.mail()
    client.acknowledge(cld_packet.parse(reply).sequence)
    assert client.sid not in world.service.registry.sessions


def test_closed_connection_ends_the_session(world: World) -> None:
    client, other = Original(world, tcp=True).start(), Original(world, tcp=True).start()
    client.lock(client.open(b"/lock", LOCK | CREATE))
    theirs = other.open(b"/lock", LOCK)
    assert other.lock(theirs) == ErrorCode.LOCK_PENDING
    world.service.stream_closed(client.peer, world.now)
    world.flush()
    other.read()
    assert other.events == [cld.EventBody(theirs, 4)]


def test_connection_we_gave_up_proves_nothing(world: World) -> None:
    client, other = Original(world, tcp=True).start(), Original(world, tcp=True).start()
    client.lock(client.open(b"/lock", LOCK | CREATE))
    theirs = other.open(b"/lock", LOCK)
    world.service.stream_given_up(client.peer)
    assert other.try_lock(theirs) == ErrorCode.LOCK_CONFLICT
    world.pass_time(61)
    other.read()
    assert client.sid not in world.service.registry.sessions


class TestChallenge:
    """Locks that are wanted while another session holds them."""

    def setup_method(self) -> None:
        self.world = World()
        self.holder, self.other = Original(self.world).start(), Original(self.world).start()
        self.mine = self.holder.open(b"/lock", LOCK | CREATE)
        self.theirs = self.other.open(b"/lock", LOCK)
        self.holder.lock(self.mine)
        self.holder.deaf = True

    def port_closed(self) -> None:
        self.world.service.port_closed(self.holder.sid, self.holder.peer, self.world.now)
        self.world.flush()

    def ask(self, op: int) -> None:
        self.other.send(self.other.packet(op, cld.LockRequest(self.theirs, 0).encode()))

    def test_holder_is_pinged_at_once(self) -> None:
        self.ask(Op.LOCK)
        assert ops(self.holder.mail()) == [Op.PING]

    def test_challenge_does_not_disturb_a_long_answer(self) -> None:
        """A fragment that comes twice would be twice in libhail's message (5.2)."""
        data = random.Random(1).randbytes(25_000)
        file = self.other.open(b"/file", WRITE | CREATE)
        assert self.other.code(Op.PUT, cld.PutRequest(file, data).encode()) == ErrorCode.OK
        self.holder.deaf = False
        handle = self.holder.open(b"/file", READ)
        self.holder.send(self.holder.packet(Op.GET, cld.HandleRequest(handle).encode()))
        for _ in range(3):
            self.ask(Op.LOCK)
            self.world.pass_time(0.5)
        self.holder.read()
        assert cld.GetReply.decode(self.holder.answer()[1]).data == data
        assert self.holder.code(Op.NOP, b"") == ErrorCode.OK

    def test_challenge_amid_a_long_answer_finds_the_closed_port(self) -> None:
        data = bytes(20_000)
        file = self.other.open(b"/file", WRITE | CREATE)
        assert self.other.code(Op.PUT, cld.PutRequest(file, data).encode()) == ErrorCode.OK
        self.holder.deaf = False
        handle = self.holder.open(b"/file", READ)
        self.holder.send(self.holder.packet(Op.GET, cld.HandleRequest(handle).encode()))
        self.holder.mail()
        self.ask(Op.LOCK)
        assert ops(self.holder.mail()) == [Op.PING], "something that its kernel can refuse"

    def test_lock_is_granted_when_the_port_is_closed(self) -> None:
        self.ask(Op.LOCK)
        self.port_closed()
        self.other.read()
        assert self.other.events == [cld.EventBody(self.theirs, 4)]

    def test_try_lock_succeeds_at_the_first_try(self) -> None:
        self.ask(Op.TRYLOCK)
        assert self.other.mail() == []
        self.port_closed()
        self.other.read()
        assert self.other.answer()[0] == ErrorCode.OK

    def test_living_holder_keeps_it(self) -> None:
        self.ask(Op.TRYLOCK)
        self.holder.deaf = False
        self.holder.read()
        self.other.read()
        assert self.other.answer()[0] == ErrorCode.LOCK_CONFLICT

    def test_silent_holder_keeps_it(self) -> None:
        self.ask(Op.TRYLOCK)
        self.world.pass_time(0.3)
        self.other.read()
        assert self.other.answer()[0] == ErrorCode.LOCK_CONFLICT

    def test_challenge_is_repeated_while_the_lock_is_wanted(self) -> None:
        self.ask(Op.LOCK)
        for _ in range(4):
            assert ops(self.holder.mail())
            self.world.pass_time(0.6)
        self.other.code(Op.UNLOCK, cld.HandleRequest(self.theirs).encode())
        self.world.pass_time(1)
        self.holder.mail()
        self.holder.deaf = False
        self.holder.acknowledge(self.world.service.registry.sessions[self.holder.sid].outgoing.sequence - 1)
        self.world.pass_time(1.9)
        assert self.holder.mail() == []

    def test_closed_port_of_another_session_proves_nothing(self) -> None:
        self.ask(Op.LOCK)
        service = self.world.service
        service.port_closed(self.holder.sid, Datagrams("c", 9999), self.world.now)
        service.port_closed(b"stranger", self.holder.peer, self.world.now)
        self.world.flush()
        self.other.read()
        assert not self.other.events


class TestRestart:
    """Original clients on UDP and a server that was killed."""

    def test_client_does_not_notice(self) -> None:
        world = World()
        client = Original(world).start()
        handle = client.open(b"/f", READ | WRITE | LOCK | CREATE)
        client.lock(handle)
        client.code(Op.PUT, cld.PutRequest(handle, b"before").encode())
        for _ in range(100):
            assert client.get(handle).data == b"before"
        world.restart()
        world.pass_time(1)
        client.read()
        assert client.events == []
        client.send(client.packet(Op.GET, cld.HandleRequest(handle).encode()))
        world.pass_time(0.5)
        client.read()
        assert cld.GetReply.decode(client.answer()[1]).data == b"before"
        other = Original(world).start()
        theirs = other.open(b"/f", LOCK)
        assert other.try_lock(theirs) == ErrorCode.LOCK_CONFLICT, "the lock is still there"
        client.read()
        for _ in range(100):
            assert client.get(handle).data == b"before"

    def test_request_whose_answer_was_lost_is_not_executed_twice(self) -> None:
        world = World()
        client = Original(world).start()
        create = client.packet(Op.OPEN, cld.OpenRequest(CREATE | 0x20, 0, b"/new").encode())
        client.send(create)
        world.mail.clear()
        world.restart()
        world.pass_time(0.5)
        client.read()
        again = client.packet(Op.OPEN, cld.OpenRequest(CREATE | 0x20, 0, b"/new").encode(), xid=client.xid)
        client.send(again)
        world.pass_time(0.5)
        client.read()
        assert client.answer()[0] == ErrorCode.OK

    def test_session_that_was_stored_but_not_confirmed(self) -> None:
        world = World()
        client = Original(world)
        new = client.packet(Op.NEW_SESS)
        client.send(new)
        world.mail.clear()
        world.restart()
        world.pass_time(0.5)
        client.mail()
        client.send(new)
        client.read()
        assert client.answer()[0] == ErrorCode.OK
        assert client.code(Op.NOP, b"") == ErrorCode.OK

    def test_what_was_sent_meanwhile_is_put_in_order(self) -> None:
        world = World()
        client = Original(world).start()
        handle = client.open(b"/f", READ | WRITE | CREATE)
        requests = [client.packet(Op.PUT, cld.PutRequest(handle, b"%d" % n).encode()) for n in range(3)]
        world.restart()
        for request in reversed(requests):
            client.send(request)
        world.pass_time(0.5)
        client.read()
        assert client.get(handle).data == b"2"

    def test_dead_client_is_found_out_at_once(self) -> None:
        world = World()
        client = Original(world).start()
        client.lock(client.open(b"/lock", LOCK | CREATE))
        world.restart()
        world.mail.clear()
        world.pass_time(0.1)
        assert ops(client.mail()) == [Op.PING]
        world.service.port_closed(client.sid, client.peer, world.now)
        assert list(world.service.operations.locks) == []

    def test_original_session_on_tcp_ends(self) -> None:
        world = World()
        client = Original(world, tcp=True).start()
        client.lock(client.open(b"/lock", LOCK | CREATE))
        world.flush()
        tables = [world.store.tables[table] for table in (Table.SESSIONS, Table.HANDLES, Table.LOCKS)]
        assert [len(rows) for rows in tables] == [1, 1, 1], "the administrator sees them"
        world.restart()
        assert world.service.registry.sessions == {}
        assert list(world.service.operations.locks) == []
        assert [len(rows) for rows in tables] == [0, 0, 0]
