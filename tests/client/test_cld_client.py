"""Our client: against a server like the reference's, when the way to the server breaks, when the lease ends."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from haild.cld.server import Server
from haild.client.cld import (
    ConnectError,
    ErrorCode,
    EventMask,
    OpenMode,
    Session,
    SessionLostError,
    keep_session,
)
from haild.client.cld import carrier as cld_carrier
from haild.client.cld.machine import Answered, BackAgain, Happened, Machine
from haild.wire.cld import messages as cld
from haild.wire.cld.extension import Owned
from haild.wire.cld.messages import Op

LOCK = OpenMode.LOCK | OpenMode.CREATE


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_against_a_server_that_knows_no_additions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """To such a server ours is an original client: it acknowledges everything, and renews its session by itself."""
    monkeypatch.setattr("haild.wire.cld.extension.lease_of", lambda _sid: None)
    server = await Server.start(tmp_path, 0, None)
    session = await Session.connect(
        "127.0.0.1", server.port, user="tabled", secret=b"tabled", transport="tcp" if transport == "tcp" else "udp"
    )
    assert session.lease == 60
    assert not session._machine.ours
    handle = await session.open("/f", OpenMode.READ | OpenMode.WRITE | LOCK, EventMask.UPDATED)
    await session.lock(handle)
    await session.put(handle, bytes(100_000))
    assert (await session.get(handle)).data == bytes(100_000)
    assert EventMask.UPDATED in (await session.next_event()).bits
    await session.get_metadata(handle)
    (state,) = server.service.registry.sessions.values()
    assert not state.ours
    if transport == "udp":
        async with asyncio.timeout(2):
            while state.outgoing.sent:  # noqa: ASYNC110 - the server's state has no event
                await asyncio.sleep(0.005)
    await server.close()
    if transport == "tcp":
        await asyncio.wait_for(session.wait_lost(), 2)
        with pytest.raises(SessionLostError):
            await session.get(handle)
    await session.end()


def start_daemon(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(directory), "-p", "auto"]
    process = subprocess.Popen([*command, "--port-file", str(directory / "port")])
    deadline = time.monotonic() + 10
    while not (directory / "port").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process, int((directory / "port").read_text())


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_fences_itself_before_the_lease_ends(tmp_path: Path, transport: str) -> None:
    process, port = start_daemon(tmp_path)
    try:
        session = await Session.connect(
            "127.0.0.1", port, user="u", secret=b"u", transport="tcp" if transport == "tcp" else "udp", lease=1
        )
        handle = await session.open("/lock", LOCK)
        await session.lock(handle)
        assert session.valid
        process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        pending = asyncio.ensure_future(session.unlock(handle))
        await asyncio.wait_for(session.wait_lost(), 2)
        assert time.monotonic() - started < 1
        assert not session.valid
        with pytest.raises(SessionLostError):
            await pending
        with pytest.raises(SessionLostError):
            await session.try_lock(handle)
        await session.end()
        with pytest.raises(ConnectError):
            await Session.connect("127.0.0.1", port, user="u", secret=b"u", deadline=0.2)
    finally:
        process.kill()
        process.wait()


class Relay:
    """A TCP way to the server that can become a black hole; new connections go through."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tasks: set[asyncio.Task[None]] = set()
        self.holes: list[asyncio.Event] = []

    async def start(self) -> int:
        self.server = await asyncio.start_server(self.relay, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self.port)
        hole = asyncio.Event()
        self.holes.append(hole)
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.get_running_loop().create_task(self.copy(source, target, hole))
            self.tasks.add(task)

    async def copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, hole: asyncio.Event) -> None:
        while data := await source.read(65536):
            if not hole.is_set():
                target.write(data)
        if not hole.is_set():
            target.close()

    async def close(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_goes_on_over_a_new_connection_when_the_old_one_is_silent(tmp_path: Path) -> None:
    server = await Server.start(tmp_path, 0, None)
    relay = Relay(server.port)
    session = await Session.connect("127.0.0.1", await relay.start(), user="u", secret=b"u", lease=2)
    other = await Session.connect("127.0.0.1", server.port, user="u", secret=b"u")
    try:
        handle = await session.open("/lock", OpenMode.READ | LOCK)
        await session.lock(handle)
        relay.holes[0].set()
        file = await asyncio.wait_for(session.get(handle), 1.5)
        assert file.path == "/lock"
        assert len(relay.holes) == 2
        assert session.valid
        assert not await other.try_lock(await other.open("/lock", LOCK))
    finally:
        await session.end()
        await other.end()
        await relay.close()
        await server.close()


class DatagramRelay(asyncio.DatagramProtocol):
    """A way to the server over UDP on an address of its own; it can become a black hole, with its port open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.hole = False
        self.there: socket.socket | None = None
        self.client: tuple[str, int] | None = None

    async def start(self, host: str, port: int) -> int:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        self.there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.there.connect(("127.0.0.1", self.port))
        self.there.setblocking(False)
        loop.add_reader(self.there, self.back)
        return int(self.transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client = addr
        if not self.hole and self.there is not None:
            self.there.send(data)

    def back(self) -> None:
        assert self.there is not None
        data = self.there.recv(4096)
        if not self.hole:
            self.transport.sendto(data, self.client)

    def close(self) -> None:
        assert self.there is not None
        asyncio.get_running_loop().remove_reader(self.there)
        self.there.close()
        self.transport.close()


async def test_over_udp_looks_the_name_up_again_when_the_server_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that was re-created has another address, and no message says that the old one is gone."""
    server = await Server.start(tmp_path, 0, None)
    first, second = DatagramRelay(server.port), DatagramRelay(server.port)
    port = await first.start("127.0.0.1", 0)
    await second.start("127.0.0.2", port)
    address = ["127.0.0.1"]
    resolve = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        return resolve(address[0] if host == "cld.test" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    session = await Session.connect("cld.test", port, user="u", secret=b"u", transport="udp", lease=5)
    other = await Session.connect("127.0.0.1", server.port, user="u", secret=b"u")
    try:
        handle = await session.open("/lock", OpenMode.READ | LOCK)
        await session.lock(handle)
        first.hole, address[0] = True, "127.0.0.2"
        file = await asyncio.wait_for(session.get(handle), 4)
        assert file.path == "/lock"
        assert second.client is not None
        assert session.valid
        assert not await other.try_lock(await other.open("/lock", LOCK))
    finally:
        await session.end()
        await other.end()
        first.close()
        second.close()
        await server.close()


async def test_keeps_trying_until_the_server_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = await Server.start(tmp_path, 0, None)
    port = server.port
    await server.close()
    here = asyncio.Event()

    async def use(session: Session) -> None:
        here.set()
        await session.wait_lost()

    with caplog.at_level("INFO", "haild.client"):
        keeping = asyncio.ensure_future(keep_session([("127.0.0.1", port)], "u", b"u", use, name="test"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(here.wait(), 0.3)
        server = await Server.start(tmp_path, port, None)
        await asyncio.wait_for(here.wait(), 2)
    assert [record.levelname for record in caplog.records if record.name.startswith("haild.client")] == [
        "WARNING",
        "INFO",
    ]
    keeping.cancel()
    await asyncio.wait({keeping})
    assert not server.service.registry.sessions, "ended cleanly"
    await server.close()


class Harness:
    """A session without a network: what it sends is looked at, what it gets is made up."""

    def __init__(self) -> None:
        machine = Machine(user=b"u", secret=b"u", reliable=True, lease=10, randomness=cld_carrier.randomness)
        self.sent: list[tuple[int, Op]] = []

        def request(op: Op, body: bytes, now: float) -> int:
            self.sent.append((len(self.sent) + 1, op))
            return len(self.sent)

        machine.request = request  # type: ignore[method-assign]
        carrier = cld_carrier.Carrier(machine, "nowhere", 0, "tcp")
        carrier.flush = lambda: None  # type: ignore[method-assign]
        self.session = Session(machine, carrier)

    def answer(self, xid: int, code: ErrorCode) -> None:
        self.session._take(Answered(xid, code, cld.Generic(code, xid).encode()))


async def test_grant_of_a_cancelled_wait_is_not_taken_for_the_next_one() -> None:
    harness = Harness()
    session = harness.session
    first = asyncio.ensure_future(session.lock(2))
    await asyncio.sleep(0)
    harness.answer(1, ErrorCode.LOCK_PENDING)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.ensure_future(session.lock(2))
    await asyncio.sleep(0)
    assert [op for _, op in harness.sent] == [Op.LOCK, Op.UNLOCK, Op.LOCK]
    session._take(Happened(2, EventMask.LOCKED))
    harness.answer(2, ErrorCode.OK)
    harness.answer(3, ErrorCode.LOCK_PENDING)
    await asyncio.wait({second}, timeout=0.05)
    assert not second.done()
    session._take(Happened(2, EventMask.LOCKED))
    await asyncio.wait_for(second, 1)


async def test_what_may_have_been_missed_is_told_after_a_gap() -> None:
    harness = Harness()
    session = harness.session
    session._masks = {2: EventMask.UPDATED, 3: EventMask(0), 4: EventMask.UPDATED}
    waiting = asyncio.ensure_future(session.lock(3))
    await asyncio.sleep(0)
    harness.answer(1, ErrorCode.LOCK_PENDING)
    session._take(BackAgain((Owned(2, False), Owned(3, True))))
    await asyncio.wait_for(waiting, 1)
    assert await session.next_event() == (2, EventMask.UPDATED)
    assert await session.next_event() == (4, EventMask.DELETED)


async def test_ending_waits_for_no_server_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haild.client.cld.session._FAREWELL", 60)
    server = await Server.start(tmp_path, 0, None)
    sessions = [await Session.connect("127.0.0.1", server.port, user="u", secret=b"u") for _ in range(2)]
    await sessions[0].lock(await sessions[0].open("/lock", LOCK))
    port = server.port
    await server.close()
    async with asyncio.timeout(10):
        await asyncio.gather(*(session.end() for session in sessions))
    server = await Server.start(tmp_path, port, None)
    other = await Session.connect("127.0.0.1", port, user="u", secret=b"u")
    async with asyncio.timeout(5):
        # The closed lifelines are proof enough.
        await other.lock(await other.open("/lock", LOCK))
    await other.end()
    await server.close()


# A server that speaks UDP only, as the released versions of the original do


async def _without_tcp(directory: Path) -> Server:
    server = await Server.start(directory, 0, None)
    assert server._listener is not None
    server._listener.close()
    return server


async def test_udp_alone_will_do_and_is_found_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haild.wire.cld.extension.lease_of", lambda _sid: None)
    server = await _without_tcp(tmp_path)
    started = time.monotonic()
    session = await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled")
    assert time.monotonic() - started < 1
    assert session.transport == "udp"
    await session.lock(await session.open("/f", LOCK))
    await session.end()
    await server.close()


async def test_a_server_of_ours_is_asked_over_tcp_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its UDP port a moment before it listens: a client that comes in that moment must not stay on UDP."""
    server = await Server.start(tmp_path, 0, None)
    attempts = []
    connect = cld_carrier.Carrier._connect

    async def refused_once(self: cld_carrier.Carrier) -> Any:
        attempts.append(self.transport)
        if len(attempts) == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        return await connect(self)

    monkeypatch.setattr(cld_carrier.Carrier, "_connect", refused_once)
    session = await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled")
    assert attempts == ["tcp", "udp", "tcp"]
    assert session.transport == "tcp"
    assert len(server.service.registry.sessions) == 1
    await session.end()
    await server.close()


async def test_a_server_that_starts_during_the_attempt_over_udp_is_reached_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that the engine publishes takes connections and packets before its server does, and answers none."""
    monkeypatch.setattr("haild.client.cld.session._UDP_TRIAL", 60)
    monkeypatch.setattr("haild.client.cld.session._FAREWELL", 60)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        refused = asyncio.Event()
        connect = cld_carrier.Carrier._connect

        async def seen(self: cld_carrier.Carrier) -> Any:
            if self.transport == "udp":
                refused.set()
            return await connect(self)

        monkeypatch.setattr(cld_carrier.Carrier, "_connect", seen)
        connecting = asyncio.create_task(
            Session.connect("127.0.0.1", port, user="tabled", secret=b"tabled", deadline=60)
        )
        await refused.wait()
        server = await Server.start(tmp_path, 0, None)

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward, sink = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(_copy(reader, sink), _copy(onward, writer))

        listener = await asyncio.start_server(pass_on, "127.0.0.1", port)
        session = await asyncio.wait_for(connecting, 30)
        assert session.transport == "tcp"
        assert len(server.service.registry.sessions) == 1
        await session.end()
        listener.close()
        await server.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(4096):
        sink.write(data)
        await sink.drain()
    sink.close()


async def test_where_nothing_answers_the_error_is_that_of_tcp() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(ConnectError, match=r"Connect call failed"):
            await Session.connect("127.0.0.1", sock.getsockname()[1], user="tabled", secret=b"tabled")
        assert time.monotonic() - started < 2


async def test_keeping_a_session_over_udp_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("haild.wire.cld.extension.lease_of", lambda _sid: None)
    server = await _without_tcp(tmp_path)
    used = asyncio.Event()
    count = 0

    async def use(_session: Session) -> None:
        nonlocal count
        count += 1
        if count == 3:
            used.set()

    keeping = asyncio.create_task(keep_session([("127.0.0.1", server.port)], "tabled", b"tabled", use, name="test"))
    await asyncio.wait_for(used.wait(), 10)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await server.close()
    assert [record.getMessage() for record in caplog.records if "UDP only" in record.getMessage()] == [
        f"test: cld at 127.0.0.1:{server.port} answers over UDP only"
    ]
