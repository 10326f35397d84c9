"""Our CLD client's session: a server that signs what it sends and sends anything."""

import random
from collections.abc import Iterator

from fuzz.script import Script
from haild.client.cld.machine import FENCE, Machine, State
from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import Op

KEY = cld_packet.Key(b"u")
OPS = [*Op, 5, 99]
LEASE = 5


def step(op: Op, body: bytes, *, xid: int = 0) -> bytes:
    """One packet of a script; `xid` chooses which message id is put before the body."""
    return bytes([0, OPS.index(op), 0, 0, xid, len(body)]) + body


def seeds() -> Iterator[bytes]:
    code = cld.Generic(0, 0).encode()[:4]
    for reliable in (0, 1):
        start = bytes([reliable]) + step(Op.NEW_SESS, code + cld_extension.Grant(LEASE * 1000).encode())
        answer = step(Op.GET, code, xid=1)
        event = step(Op.EVENT, cld.EventBody(2, 1).encode(), xid=2)
        ping = step(Op.PING, b"", xid=2)
        resumed = step(Op.RESUME, code + cld_extension.Resumed((cld_extension.Owned(2, True),)).encode())
        yield start + answer + event + ping
        yield start + bytes([1, 20, 2]) + resumed + answer
        yield start + bytes([2]) + bytes([3]) + resumed + bytes([1, 200])
        yield start + step(Op.RESUME, b"", xid=2) + resumed + bytes([4, 7, 7])


def fuzz(data: bytes) -> None:
    script = Script(data)
    reliable = bool(script.byte() & 1)
    randomness = random.Random(1).randbytes
    machine = Machine(user=b"u", secret=b"u", reliable=reliable, lease=LEASE, randomness=randomness)
    now = 0.0
    machine.start(now)
    sequence = 10
    xids = [cld_packet.parse(machine.outbox[0]).xid, 0]
    while not script.ended:
        kind = script.byte() % 5
        if kind == 0:
            sequence += 1
            machine.receive(_packet(script, machine, sequence, xids), now)
        elif kind == 1:
            now += script.byte() / 32
            machine.tick(now)
        elif kind == 2:
            machine.disconnected(now)
        elif kind == 3:
            machine.connected(now)
        else:
            xids[1] = machine.request(script.choice(OPS), script.counted(), now)
        for packet in machine.outbox:
            parsed = cld_packet.parse(packet)
            if parsed.op in (Op.NEW_SESS, Op.RESUME):
                xids[0] = parsed.xid
        machine.outbox.clear()
        machine.outcomes.clear()
        if machine.ours and machine.state is not State.STARTING:
            # Whatever the server says, belief in the session ends before the lease does.
            assert machine.valid_until <= now + FENCE * machine.lease
    deadline = machine.deadline()
    assert (deadline is None) == (machine.state is State.LOST)


def _packet(script: Script, machine: Machine, sequence: int, xids: list[int]) -> bytes:
    op = script.choice(OPS)
    order = script.choice([3, 3, 3, 1, 0, 2])
    ahead = script.choice([0, 0, 0, 1, 255, 30]) - 256 * (sequence % 2)
    choice = script.byte() % 3
    body = script.counted()
    if choice < 2 and len(body) >= 4:
        body = body[:4] + xids[choice].to_bytes(8, "big") + body[4:]
    if ahead < -1:
        ahead = 0
    packet = cld_packet.Packet(machine.sid, b"u", order, 1, op, body, sequence + ahead)
    return cld_packet.seal(packet, KEY)
