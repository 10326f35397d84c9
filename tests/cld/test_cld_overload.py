"""Connections that say nothing, clients that do not read, a store that fails."""

import asyncio
import gc
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from haild.cld import committer, tcp
from haild.cld.server import Server
from haild.client.cld import ErrorCode, EventMask, OpenMode, Session, SessionLostError
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import Op

pytestmark = pytest.mark.slow

KEY = cld_packet.Key(b"tabled")


async def session_with(server: Server, transport: str = "tcp") -> Session:
    assert transport in ("tcp", "udp")
    return await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled")


async def until(condition: object, seconds: float = 5) -> None:
    """Wait until a callable returns something true."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the server's state changes without an event
            await asyncio.sleep(0.005)


async def test_silent_connections_are_closed_and_others_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "SILENT", 0.3)
    server = await Server.start(tmp_path, 0, None)
    session = await session_with(server)
    gc.collect()  # what earlier tests have left would be closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    sockets[0].send(b"CLD1")
    handle = await session.open("/f", OpenMode.LOCK | OpenMode.CREATE)
    await until(lambda: len(server._connections) == 1)
    for sock in sockets:
        assert sock.recv(1) == b""
        sock.close()
    await session.lock(handle)
    assert len(os.listdir("/proc/self/fd")) == before
    await session.end()
    await server.close()


async def test_more_connections_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAXIMUM_CONNECTIONS", 3)
    server = await Server.start(tmp_path, 0, None)
    session = await session_with(server)
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
    await session.open("/f", OpenMode.CREATE)
    await until(lambda: len(server._connections) == 3)
    for sock in sockets:
        sock.close()
    await session.end()
    await server.close()


async def test_connection_whose_session_ended_is_kept_for_its_client_to_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libhail does not survive a close by the server (cld.md 1.2)."""
    monkeypatch.setattr(tcp, "SILENT", 0.1)
    monkeypatch.setattr(tcp, "LINGER", 0.3)
    server = await Server.start(tmp_path, 0, None)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    packet = cld_packet.Packet(b"original", b"tabled", 3, 1, Op.NEW_SESS, b"", 1)
    writer.write(cld_packet.frame(cld_packet.seal(packet, KEY), cld_packet.Direction.TO_SERVER))
    await reader.readexactly(8 + 84)
    (session,) = server.service.registry.sessions.values()
    server.service.registry.end(session, "test")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.25)
    assert await asyncio.wait_for(reader.read(1), 3) == b""
    writer.close()
    await server.close()


async def test_client_that_does_not_read(tmp_path: Path) -> None:
    """It asks for 128 KiB again and again, reads nothing: it is not read either, and others are served."""
    server = await Server.start(tmp_path, 0, None)
    session = await session_with(server)
    handle = await session.open("/big", OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE)
    await session.put(handle, bytes(cld.MAXIMUM_DATA))

    def send(op: Op, body: bytes, number: int) -> None:
        packet = cld_packet.Packet(b"original", b"tabled", 3, number, op, body, number)
        data = cld_packet.frame(cld_packet.seal(packet, KEY), cld_packet.Direction.TO_SERVER)
        sock.send(data)

    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    send(Op.NEW_SESS, b"", 1)
    send(Op.OPEN, cld.OpenRequest(OpenMode.READ, 0, b"/big").encode(), 2)

    async def ask_without_reading() -> None:
        for number in range(3, 100_000):
            send(Op.GET, cld.HandleRequest(2).encode(), number)
            if number % 50 == 0:
                assert len((await session.get(handle)).data) == cld.MAXIMUM_DATA

    with pytest.raises(BlockingIOError):
        await ask_without_reading()
    backlog = [connection._transport.get_write_buffer_size() for connection in server._connections.values()]
    assert max(backlog) <= tcp.MAXIMUM_BACKLOG
    assert len(server.service.registry.sessions) == 2
    sock.close()
    await session.end()
    await server.close()


async def test_nothing_is_answered_that_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails for a while delays the answers; one that fails for good ends the daemon."""
    server = await Server.start(tmp_path, 0, None)
    session = await session_with(server)
    handle = await session.open("/f", OpenMode.WRITE | OpenMode.CREATE)
    commit = server._store.commit
    failing = True

    def sometimes(batch: object) -> None:
        if failing:
            raise sqlite3.OperationalError("disk full")
        commit(batch)

    monkeypatch.setattr(server._store, "commit", sometimes)
    monkeypatch.setattr(committer, "_RETRY_FOR", 0.4)
    put = asyncio.ensure_future(session.put(handle, b"data"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(put), 0.2)
    failing = False
    await asyncio.wait_for(put, 2)
    failing = True
    put = asyncio.ensure_future(session.put(handle, b"data"))
    with pytest.raises(sqlite3.OperationalError):
        await asyncio.wait_for(server.serve(asyncio.Event()), 3)
    assert not put.done()
    await server.close()
    put.cancel()
    session._machine.abandon("test")
    session._link.close()


async def test_many_events_for_one_who_does_not_fetch_them(tmp_path: Path) -> None:
    server = await Server.start(tmp_path, 0, None)
    watcher, writer = await session_with(server), await session_with(server)
    mine = await writer.open("/f", OpenMode.WRITE | OpenMode.CREATE)
    watched = await watcher.open("/f", OpenMode.READ, EventMask.UPDATED)
    for number in range(50):
        await writer.put(mine, b"%d" % number)
    event = await asyncio.wait_for(watcher.next_event(), 2)
    assert event == (watched, EventMask.UPDATED)
    assert (await watcher.get(watched)).data == b"49"
    await watcher.end()
    assert len(watcher._events) <= 1, "the same event is kept once"
    watcher._events.clear()
    with pytest.raises(SessionLostError) as caught:
        await watcher.next_event()
    assert caught.value.code == ErrorCode.TIMEOUT
    await writer.end()
    await server.close()
