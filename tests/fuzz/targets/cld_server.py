"""The cld server: packets that are signed as they must be and say anything, time, closed connections, restarts.

Afterwards the server must serve a client that behaves, and no lock may have two holders.
"""

from collections.abc import Iterator

from fuzz.script import Script
from haild.cld.session import Datagrams, Stream
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op
from support.cld_harness import Original, World

KEY = cld_packet.Key(b"u")
OPS = [*Op, 5, 99]
SIDS = [b"session1", b"session2", cld_extension.make_sid(5, b"1234"), cld_extension.make_sid(9, b"5678")]
ORDERS = [3, 3, 3, 1, 0, 2]
TOKENS = (b"\0\0\0\0\0\0\0\x02", b"\0\0\0\x17\0\0\0\x07\0\0\0\x02/a\0\0", b"\0\0\0\x70\0\0\0\0\0\0\0\x02/d\0\0")
STEPS = 60
"""Of one input: enough for any state, and few enough for thousands of runs a second."""


def step(sid: int, op: Op, body: bytes = b"", *, peer: int = 0) -> bytes:
    """One packet of a script."""
    return bytes([0, sid, OPS.index(op), 0, peer, 0, len(body)]) + body


def seeds() -> Iterator[bytes]:
    for sid in range(4):
        peer = 2 * (sid % 2)
        start = step(sid, Op.NEW_SESS, peer=peer)
        start += step(sid, Op.OPEN, cld.OpenRequest(0x17, 7, b"/a").encode(), peer=peer)
        lock = step(sid, Op.LOCK, cld.LockRequest(2, 0).encode(), peer=peer)
        put = step(sid, Op.PUT, cld.PutRequest(2, b"data").encode(), peer=peer)
        get = step(sid, Op.GET, cld.HandleRequest(2).encode(), peer=peer)
        yield start + lock + put + get + step(sid, Op.END_SESS, peer=peer)
        yield start + lock + bytes([3]) + step(sid, Op.RESUME, peer=peer) + get
        yield start + lock + bytes([1, 200]) + step(sid, Op.DEL, cld.PathRequest(b"/a").encode(), peer=peer)
        yield start + step(sid, Op.NOP, cld_extension.Lifeline(7).encode(), peer=peer) + bytes([2, peer, sid])


def fuzz(data: bytes) -> None:
    script = Script(data)
    world = World()
    streams = [Stream("s", 1), Stream("s", 2)]
    peers = [*streams, Datagrams("u", 1), Datagrams("u", 2)]
    sequences: dict[bytes, int] = {}
    for _ in range(STEPS):
        if script.ended:
            break
        kind = script.byte() % 4
        if kind == 0:
            sid, op, order, peer = (script.choice(choices) for choices in (SIDS, OPS, ORDERS, peers))
            sequences[sid] = sequences.get(sid, 0) + 1
            sequence = sequences[sid] + script.choice([0, 0, 0, 1, 2])
            packet = cld_packet.Packet(sid, b"u", order, sequences[sid] * 7, op, script.counted(), sequence)
            world.receive(cld_packet.seal(packet, KEY), peer)
        elif kind == 1:
            world.pass_time(script.byte() / 4)
        elif kind == 2:
            peer, sid = script.choice(peers), script.choice(SIDS)
            if isinstance(peer, Stream):
                world.service.stream_closed(peer, world.now)
            else:
                world.service.port_closed(sid, peer, world.now)
        else:
            for stream in streams:
                stream.sids.clear()
            world.restart()
        world.flush()
        world.mail.clear()
    _still_serves(world)


def _still_serves(world: World) -> None:
    well = Original(world).start()
    handle = well.open(b"/well", 0x17)
    assert well.code(Op.PUT, cld.PutRequest(handle, b"data").encode()) == ErrorCode.OK
    locks = world.service.operations.locks
    for lock in locks:
        assert lock.owner[1] in world.service.registry.sessions[lock.owner[0]].handles
        others = [other for other in locks.on(lock.inum) if other is not lock and other.held]
        assert not lock.held or not others or (lock.shared and all(other.shared for other in others))
