"""Files, handles, locks and events, rule by rule (cld.md sections 9 to 11), as an original client sees them."""

import pytest

from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import ErrorCode, Op
from support.cld_harness import Original, World

READ, WRITE, LOCK, CREATE, EXCL, DIRECTORY = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40
UPDATED, DELETED, LOCKED = 1, 2, 4


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["udp", "tcp"])
def client(request: pytest.FixtureRequest, world: World) -> Original:
    return Original(world, tcp=request.param == "tcp").start()


def handle_body(handle: int) -> bytes:
    return cld.HandleRequest(handle).encode()


def open_code(client: Original, path: bytes, mode: int) -> ErrorCode:
    return client.code(Op.OPEN, cld.OpenRequest(mode, 0, path).encode())


@pytest.mark.parametrize(
    ("path", "mode", "code"),
    [
        (b"", READ, ErrorCode.NAME_INVAL),
        (b"f", READ, ErrorCode.NAME_INVAL),
        (b"/a//b", READ, ErrorCode.NAME_INVAL),
        (b"/d/", READ | DIRECTORY, ErrorCode.NAME_INVAL),
        (b"/", CREATE | DIRECTORY, ErrorCode.NAME_INVAL),
        (b"/", DIRECTORY, ErrorCode.OK),
        (b"/", READ, ErrorCode.MODE_INVAL),
        (b"/none", READ, ErrorCode.NAME_INVAL),
        (b"/f", READ, ErrorCode.OK),
        (b"/f", 0, ErrorCode.OK),
        (b"/f", CREATE, ErrorCode.OK),
        (b"/f", CREATE | EXCL, ErrorCode.INODE_EXISTS),
        (b"/f", EXCL, ErrorCode.OK),
        (b"/f", DIRECTORY, ErrorCode.MODE_INVAL),
        (b"/f", DIRECTORY | CREATE | EXCL, ErrorCode.INODE_EXISTS),
        (b"/d", READ | WRITE | CREATE | DIRECTORY, ErrorCode.OK),
        (b"/d", READ, ErrorCode.MODE_INVAL),
        (b"/none/x", CREATE, ErrorCode.DB_ERR),
        (b"/f/x", CREATE, ErrorCode.MODE_INVAL),
        (b"/f/x", READ, ErrorCode.NAME_INVAL),
        (b"/d/new", CREATE | EXCL, ErrorCode.OK),
        (b"/" + b"n" * 255, CREATE, ErrorCode.OK),
    ],
)
def test_open(client: Original, path: bytes, mode: int, code: ErrorCode) -> None:
    client.open(b"/f", CREATE)
    client.open(b"/d", CREATE | DIRECTORY)
    assert open_code(client, path, mode) == code


def test_path_of_257_bytes_does_not_decode(client: Original) -> None:
    body = bytes(8) + (257).to_bytes(4, "big") + b"/" + b"n" * 256 + bytes(3)
    assert client.code(Op.OPEN, body) == ErrorCode.BAD_PKT
    assert client.code(Op.OPEN, bytes(7)) == ErrorCode.BAD_PKT


def test_versions_and_metadata(client: Original, world: World) -> None:
    root = client.open(b"/", READ | DIRECTORY)
    assert client.get(root).version == 1
    handle = client.open(b"/f", READ | WRITE | CREATE)
    assert handle == root + 1
    assert client.get(root).version == 2
    new = client.get(handle)
    assert (new.version, new.flags, new.path, new.data) == (1, 0, b"/f", b"")
    assert 50 < new.inum < 1 << 31
    world.pass_time(5)
    assert client.code(Op.PUT, cld.PutRequest(handle, b"text").encode()) == ErrorCode.OK
    put = client.get(handle)
    assert (put.version, put.data) == (2, b"text")
    assert put.modified == put.created + 5
    client.call(Op.GET_META, handle_body(handle))
    reply = client.messages[-1]
    assert reply.op == Op.GET
    assert cld.GetReply.decode(reply.body) == cld.GetReply(
        0, client.xid, put.inum, 2, put.created, put.modified, 0, b"/f", b""
    )
    assert client.code(Op.PUT, cld.PutRequest(handle, b"").encode()) == ErrorCode.OK
    assert client.get(handle).data == b""
    assert client.get(root).inum == 10
    assert client.get(root).flags == cld.INODE_DIRECTORY


def test_modes_are_enforced(client: Original) -> None:
    write_only = client.open(b"/f", WRITE | CREATE)
    read_only = client.open(b"/f", READ)
    directory = client.open(b"/d", READ | WRITE | CREATE | DIRECTORY)
    assert client.code(Op.GET, handle_body(write_only)) == ErrorCode.MODE_INVAL
    assert client.code(Op.GET_META, handle_body(write_only)) == ErrorCode.MODE_INVAL
    assert client.code(Op.PUT, cld.PutRequest(read_only, b"x").encode()) == ErrorCode.MODE_INVAL
    assert client.code(Op.PUT, cld.PutRequest(directory, b"x").encode()) == ErrorCode.MODE_INVAL
    for op in (Op.LOCK, Op.TRYLOCK):
        assert client.lock(read_only, op=op) == ErrorCode.MODE_INVAL
    assert client.code(Op.UNLOCK, handle_body(read_only)) == ErrorCode.MODE_INVAL
    for op in (Op.GET, Op.GET_META, Op.CLOSE, Op.UNLOCK):
        assert client.code(op, handle_body(99)) == ErrorCode.FH_INVAL
    assert client.code(Op.PUT, cld.PutRequest(99, b"x").encode()) == ErrorCode.FH_INVAL
    assert client.lock(99) == ErrorCode.FH_INVAL
    assert client.code(Op.CLOSE, handle_body(read_only)) == ErrorCode.OK
    assert client.code(Op.CLOSE, handle_body(read_only)) == ErrorCode.FH_INVAL
    assert client.open(b"/f", READ) == directory + 1


def test_delete(client: Original) -> None:
    def delete(path: bytes) -> ErrorCode:
        return client.code(Op.DEL, cld.PathRequest(path).encode())

    assert delete(b"/f") == ErrorCode.DB_ERR, "the root never had a child"
    handle = client.open(b"/f", READ | WRITE | LOCK | CREATE)
    client.open(b"/d", CREATE | DIRECTORY)
    client.open(b"/d/x", CREATE)
    assert delete(b"/") == ErrorCode.NAME_INVAL
    assert delete(b"relative") == ErrorCode.NAME_INVAL
    assert delete(b"/none") == ErrorCode.NAME_INVAL
    assert delete(b"/none/x") == ErrorCode.DB_ERR
    assert delete(b"/d") == ErrorCode.DIR_NOTEMPTY
    assert client.lock(handle) == ErrorCode.OK
    assert delete(b"/f") == ErrorCode.OK
    assert client.code(Op.GET, handle_body(handle)) == ErrorCode.FH_INVAL
    again = client.open(b"/f", LOCK | CREATE)
    assert client.lock(again) == ErrorCode.OK
    assert delete(b"/d/x") == ErrorCode.OK
    assert delete(b"/d/x") == ErrorCode.NAME_INVAL, "the directory had a child before"
    assert delete(b"/d") == ErrorCode.OK
    root = client.open(b"/", READ | DIRECTORY)
    assert cld.directory_names(client.get(root).data) == [b"f"]


def test_directory_data_to_the_byte(client: Original) -> None:
    for name in (b"/cld-test-inst", b"/a", b"/gone", b"/sixsix", b"/sevenxx"):
        client.open(name, CREATE)
    assert client.code(Op.DEL, cld.PathRequest(b"/gone").encode()) == ErrorCode.OK
    root = client.open(b"/", READ | DIRECTORY)
    assert client.get(root).data.hex() == (
        "0d00636c642d746573742d696e737400010061000000000006007369787369780700736576656e787800000000000000"
    )


def test_full_directory_refuses_to_grow(world: World) -> None:
    client = Original(world, tcp=True).start()
    size = len(cld.directory_record(b"n" * 200))
    for number in range(cld.MAXIMUM_DATA // size):
        handle = client.open(b"/" + b"%0200d" % number, CREATE)
        client.call(Op.CLOSE, handle_body(handle))
        client.messages.clear()
    assert open_code(client, b"/" + b"x" * 200, CREATE) == ErrorCode.DB_ERR
    assert len(client.get(client.open(b"/", READ | DIRECTORY)).data) <= cld.MAXIMUM_DATA


def test_shared_and_exclusive_locks(world: World) -> None:
    clients = [Original(world).start() for _ in range(5)]
    handles = [client.open(b"/lock", LOCK | CREATE) for client in clients]
    assert clients[0].lock(handles[0], shared=True) == ErrorCode.OK
    assert clients[1].lock(handles[1]) == ErrorCode.LOCK_PENDING
    assert clients[2].lock(handles[2], shared=True) == ErrorCode.OK, "a waiting lock does not conflict"
    assert clients[3].try_lock(handles[3]) == ErrorCode.LOCK_CONFLICT
    assert clients[3].lock(handles[3]) == ErrorCode.LOCK_PENDING
    assert clients[4].try_lock(handles[4], shared=True) == ErrorCode.OK
    for number in (0, 2, 4):
        assert not clients[1].events
        assert clients[number].code(Op.UNLOCK, handle_body(handles[number])) == ErrorCode.OK
        clients[1].read()
    assert clients[1].events == [cld.EventBody(handles[1], LOCKED)]
    assert clients[0].try_lock(handles[0], shared=True) == ErrorCode.LOCK_CONFLICT, "a granted lock is held"
    clients[3].read()
    assert not clients[3].events
    assert clients[0].code(Op.UNLOCK, handle_body(handles[0])) == ErrorCode.LOCK_INVAL


def test_waiters_are_served_in_order_and_shared_ones_together(world: World) -> None:
    clients = [Original(world).start() for _ in range(6)]
    handles = [client.open(b"/lock", LOCK | CREATE) for client in clients]
    assert clients[0].lock(handles[0]) == ErrorCode.OK
    for number, shared in ((1, True), (2, True), (3, False), (4, True)):
        assert clients[number].lock(handles[number], shared=shared) == ErrorCode.LOCK_PENDING

    def granted() -> list[int]:
        for client in clients:
            client.read()
        return [number for number, client in enumerate(clients) if client.events]

    assert clients[0].code(Op.CLOSE, handle_body(handles[0])) == ErrorCode.OK
    assert granted() == [1, 2]
    clients[1].code(Op.UNLOCK, handle_body(handles[1]))
    assert granted() == [1, 2]
    clients[2].code(Op.UNLOCK, handle_body(handles[2]))
    assert granted() == [1, 2, 3]
    clients[3].code(Op.UNLOCK, handle_body(handles[3]))
    assert granted() == [1, 2, 3, 4]


def test_cancelled_wait_does_not_block_those_behind_it(world: World) -> None:
    clients = [Original(world).start() for _ in range(3)]
    handles = [client.open(b"/lock", LOCK | CREATE) for client in clients]
    clients[0].lock(handles[0], shared=True)
    clients[1].lock(handles[1])
    assert clients[2].lock(handles[2]) == ErrorCode.LOCK_PENDING
    assert clients[1].code(Op.UNLOCK, handle_body(handles[1])) == ErrorCode.OK
    assert clients[0].code(Op.UNLOCK, handle_body(handles[0])) == ErrorCode.OK
    clients[2].read()
    assert clients[2].events == [cld.EventBody(handles[2], LOCKED)]


def test_own_locks_conflict_too(client: Original) -> None:
    handle = client.open(b"/lock", LOCK | CREATE)
    other = client.open(b"/lock", LOCK)
    assert client.lock(handle) == ErrorCode.OK
    assert client.lock(handle, op=Op.TRYLOCK) == ErrorCode.LOCK_CONFLICT
    assert client.lock(other) == ErrorCode.LOCK_PENDING
    assert client.code(Op.UNLOCK, handle_body(handle)) == ErrorCode.OK
    assert client.events == [cld.EventBody(other, LOCKED)]


def test_events_come_before_the_response(world: World) -> None:
    watcher, writer = Original(world, tcp=True).start(), Original(world, tcp=True).start()
    directory = watcher.open(b"/", READ | DIRECTORY, UPDATED)
    mine = writer.open(b"/f", WRITE | CREATE, UPDATED)
    assert writer.events == [cld.EventBody(mine, UPDATED)], "before the response that tells the handle"
    watched = watcher.open(b"/f", READ, UPDATED)
    quiet = watcher.open(b"/f", READ, DELETED | LOCKED)
    watcher.events.clear()
    writer.events.clear()
    writer.send(writer.packet(Op.PUT, cld.PutRequest(mine, b"x").encode()))
    assert [cld_packet.parse(data).op for data in writer.mail()] == [Op.EVENT, Op.PUT]
    watcher.read()
    assert watcher.events == [cld.EventBody(watched, UPDATED)]
    watcher.events.clear()
    writer.send(writer.packet(Op.DEL, cld.PathRequest(b"/f").encode()))
    assert [cld_packet.parse(data).op for data in writer.mail()] == [Op.EVENT, Op.DEL]
    watcher.read()
    assert watcher.events == [
        cld.EventBody(watched, DELETED),
        cld.EventBody(quiet, DELETED),
        cld.EventBody(directory, UPDATED),
    ]


def test_no_operation_and_unknown_ones(client: Original) -> None:
    assert client.code(Op.NOP, b"") == ErrorCode.OK
    for op in (5, 14, 16, 99):
        client.send(client.packet(op))
        assert client.mail() == []
    assert client.code(Op.NOP, b"trailing bytes") == ErrorCode.OK


def test_contents_that_do_not_fit_in_memory_are_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haild.cld.files.RESIDENT", 250_000)
    client = Original(world, tcp=True).start()
    handles = [client.open(b"/f%d" % number, READ | WRITE | CREATE) for number in range(5)]
    for number, handle in enumerate(handles):
        assert client.code(Op.PUT, cld.PutRequest(handle, b"%d" % number * 100_000).encode()) == ErrorCode.OK
    tree = world.service.tree
    loaded = [number for number in range(5) if (inode := tree.find(b"/f%d" % number)) and inode.data is not None]
    assert loaded == [3, 4]
    for number, handle in enumerate(handles):
        assert client.get(handle).data == b"%d" % number * 100_000
