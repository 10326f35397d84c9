"""A cld without network, disk or clock, and a client that speaks packets as an original one does."""

import random
from typing import Any

from haild.cld.changes import Changes, Table
from haild.cld.files import Inode
from haild.cld.locks import Lock
from haild.cld.machine import Machine, Stored
from haild.cld.session import Datagrams, Handle, Peer, Stream
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op


class MemoryStore:
    """Rows as a database would hold them."""

    def __init__(self) -> None:
        self.tables: dict[Table, dict[Any, Any]] = {table: {} for table in Table}

    def commit(self, batch: Changes) -> None:
        for table, rows in batch.tables.items():
            for key, row in rows.items():
                if row is None:
                    self.tables[table].pop(key, None)
                else:
                    self.tables[table][key] = row

    def content(self, inum: int) -> bytes:
        return bytes(self.tables[Table.CONTENTS][(inum,)][0])

    def load(self) -> Stored:
        contents = self.tables[Table.CONTENTS]
        inodes = [Inode(*key, *row, None, key in contents) for key, row in self.tables[Table.INODES].items()]
        sessions = [(sid, row) for (sid,), row in self.tables[Table.SESSIONS].items()]
        handles = [Handle(*key, *row) for key, row in sorted(self.tables[Table.HANDLES].items())]
        locks = [
            Lock(number, inum, (sid, handle), shared, held, since)
            for (number,), (inum, sid, handle, shared, held, since) in sorted(self.tables[Table.LOCKS].items())
        ]
        return Stored(inodes, sessions, handles, locks)


class World:
    """A server; everything it sends is delivered to the mailbox of the address it is sent to."""

    def __init__(self, secrets: dict[bytes, bytes] | None = None, seed: int = 1) -> None:
        self.now = 1000.0
        self.store = MemoryStore()
        self.secrets = secrets
        self.rng = random.Random(seed)
        self.mail: dict[Any, list[bytes]] = {}
        self.service = self._service()

    def _service(self) -> Machine:
        service = Machine(
            secrets=self.secrets, rng=self.rng, wall=lambda: 1_262_304_000 + self.now, load=self.store.content
        )
        service.restore(self.store.load(), self.now)
        return service

    def restart(self) -> None:
        """Forget everything but the store."""
        self.flush()
        self.service = self._service()
        self.flush()

    def flush(self) -> None:
        while True:
            batch = self.service.changes.take()
            output, self.service.registry.output = self.service.registry.output, []
            if not batch and not output:
                return
            self.store.commit(batch)
            for peer, data in output:
                self.mail.setdefault(key(peer), []).append(data)
            self.service.stored(batch)

    def receive(self, data: bytes, peer: Peer) -> None:
        self.service.receive(data, peer, self.now)
        self.flush()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            deadline = self.service.deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.service.tick(self.now)
            self.flush()
        self.now = end


def key(peer: Peer) -> Any:
    return peer if isinstance(peer, Stream) else peer[:2]


class Original:
    """A client that does what libhail does: sequences, acknowledgements (none for EVENT), one call at a time."""

    count = 0

    def __init__(
        self, world: World, *, tcp: bool = False, user: bytes = b"testuser", secret: bytes | None = None
    ) -> None:
        Original.count += 1
        self.world = world
        self.peer: Peer = Stream("c", Original.count) if tcp else Datagrams("c", Original.count)
        self.user = user
        self.key = cld_packet.Key(secret if secret is not None else user)
        self.sid = Original.count.to_bytes(8, "big")
        self.sequence = 0x1000
        self.xid = 0
        self.next: int | None = None
        self.reassembly = cld_packet.Reassembly()
        self.messages: list[cld_packet.Message] = []
        self.events: list[cld.EventBody] = []
        self.deaf = False

    def packet(self, op: int, body: bytes = b"", *, xid: int | None = None) -> list[bytes]:
        """Packets of a new message; takes sequence ids for them."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        packets = cld_packet.fragments(self.sid, self.user, cld_packet.Message(xid, op, body), self.sequence)
        self.sequence += len(packets)
        return [cld_packet.seal(packet, self.key) for packet in packets]

    def send(self, packets: list[bytes]) -> None:
        for data in packets:
            self.world.receive(data, self.peer)

    def mail(self) -> list[bytes]:
        return self.world.mail.pop(key(self.peer), [])

    def acknowledge(self, sequence: int) -> None:
        packet = cld_packet.Packet(self.sid, self.user, 3, 0, Op.ACK, b"", sequence)
        self.world.receive(cld_packet.seal(packet, self.key), self.peer)

    def read(self) -> None:
        """Take what came, acknowledge as libhail does."""
        while not self.deaf and (arrived := self.mail()):
            for data in arrived:
                assert self.key.verifies(data)
                self._take(cld_packet.parse(data))

    def _take(self, packet: cld_packet.Packet) -> None:
        if packet.first and packet.op == Op.NEW_SESS:
            self.next = packet.sequence
        if self.next is None:
            return
        ahead = packet.sequence - self.next
        if ahead > 0 or ahead < -25:
            return
        if ahead == 0:
            self.next += 1
        message = self.reassembly.feed(packet)
        if message is None or message.op != Op.EVENT:
            self.acknowledge(packet.sequence)
        if message is None:
            return
        if message.op == Op.EVENT:
            self.events.append(cld.EventBody.decode(message.body))
        elif message.op != Op.PING:
            self.messages.append(message)

    def call(self, op: int, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request and return code and body of its response."""
        self.send(self.packet(op, body))
        self.read()
        return self.answer()

    def answer(self, xid: int | None = None) -> tuple[int, bytes]:
        xid = self.xid if xid is None else xid
        for message in self.messages:
            response = cld.Generic.decode(message.body)
            if response.xid_in == xid:
                return response.code, message.body
        raise AssertionError("no answer")

    def start(self) -> "Original":
        assert self.call(Op.NEW_SESS)[0] == ErrorCode.OK
        return self

    def open(self, path: bytes, mode: int, events: int = 0) -> int:
        code, body = self.call(Op.OPEN, cld.OpenRequest(mode, events, path).encode())
        assert code == ErrorCode.OK, ErrorCode(code).name
        return cld.OpenReply.decode(body).handle

    def code(self, op: int, body: bytes) -> ErrorCode:
        return ErrorCode(self.call(op, body)[0])

    def lock(self, handle: int, *, shared: bool = False, op: int = Op.LOCK) -> ErrorCode:
        return self.code(op, cld.LockRequest(handle, int(shared)).encode())

    def try_lock(self, handle: int, *, shared: bool = False) -> ErrorCode:
        self.send(self.packet(Op.TRYLOCK, cld.LockRequest(handle, int(shared)).encode()))
        self.world.pass_time(0.3)
        self.read()
        return ErrorCode(self.answer()[0])

    def get(self, handle: int, op: int = Op.GET) -> cld.GetReply:
        code, body = self.call(op, cld.HandleRequest(handle).encode())
        assert code == ErrorCode.OK, ErrorCode(code).name
        return cld.GetReply.decode(body)
