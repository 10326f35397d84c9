"""The daemon as a process, used by our client over TCP and UDP."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from haild.client.cld import (
    CldError,
    ConnectError,
    ErrorCode,
    EventMask,
    OpenMode,
    Session,
    SessionLostError,
    keep_session,
)
from haild.daemon import listen

READ, WRITE, LOCK, CREATE, DIRECTORY = (
    OpenMode.READ,
    OpenMode.WRITE,
    OpenMode.LOCK,
    OpenMode.CREATE,
    OpenMode.DIRECTORY,
)


class Daemon:
    """A cld of its own on a free port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port_file = self.directory / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(self.directory)]
        command += ["-p", str(self.port or "auto"), "--port-file", str(port_file), *self.options]
        self.process = subprocess.Popen(command, stderr=(self.directory / "log").open("ab"))
        deadline = time.monotonic() + 10
        while not port_file.exists():
            assert time.monotonic() < deadline, "no port file"
            assert self.process.poll() is None, self.log()
            time.sleep(0.005)
        self.port = int(port_file.read_text())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(5)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    async def session(self, transport: str = "tcp", user: str = "tabled", **options: object) -> Session:
        secret = options.pop("secret", user.encode())
        return await Session.connect("127.0.0.1", self.port, user=user, secret=secret, transport=transport, **options)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.end()


@pytest.fixture(params=["tcp", "udp"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def ended(*sessions: Session) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for session in sessions:
            await session.end()


async def test_files_and_directories(daemon: Daemon, transport: str) -> None:
    session = await daemon.session(transport)
    async with ended(session):
        directory = await session.open("/d", READ | WRITE | CREATE | DIRECTORY)
        handle = await session.open("/d/f", READ | WRITE | CREATE)
        assert (await session.get(handle)).data == b""
        for size in (1, 1012, 1013, 5000, 131072):
            data = os.urandom(size)
            await session.put(handle, data)
            file = await session.get(handle)
            assert file.data == data
            assert file.path == "/d/f"
        assert file.version == 6
        assert (await session.get_metadata(handle)).data == b""
        assert (await session.get(directory)).names() == ["f"]
        with pytest.raises(CldError) as caught:
            await session.delete("/d")
        assert caught.value.code == ErrorCode.DIR_NOTEMPTY
        await session.delete("/d/f")
        assert (await session.get(directory)).names() == []
        with pytest.raises(CldError) as caught:
            await session.get(handle)
        assert caught.value.code == ErrorCode.FH_INVAL


async def test_lock_waits_for_its_turn(daemon: Daemon, transport: str) -> None:
    first, second = await daemon.session(transport), await daemon.session(transport)
    async with ended(first, second):
        one = await first.open("/lock", LOCK | CREATE)
        two = await second.open("/lock", LOCK | CREATE)
        await first.lock(one)
        assert not await second.try_lock(two)
        waiting = asyncio.ensure_future(second.lock(two))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await first.unlock(one)
        await asyncio.wait_for(waiting, 2)
        assert not await first.try_lock(one)
        cancelled = asyncio.ensure_future(first.lock(one))
        await asyncio.wait({cancelled}, timeout=0.05)
        cancelled.cancel()
        await asyncio.wait({cancelled})
        await second.unlock(two)
        assert await second.try_lock(two)


async def test_events_and_watch(daemon: Daemon, transport: str) -> None:
    watcher, writer = await daemon.session(transport), await daemon.session(transport)
    async with ended(watcher, writer):
        handle = await writer.open("/f", WRITE | CREATE)
        seen = []
        async for file in watcher.watch("/f"):
            seen.append(file.data)
            if len(seen) == 3:
                await writer.delete("/f")
            else:
                await writer.put(handle, b"%d" % len(seen))
        assert seen == [b"", b"1", b"2"]


async def test_ended_session_frees_its_locks_at_once(daemon: Daemon, transport: str) -> None:
    first, second = await daemon.session(transport), await daemon.session(transport)
    async with ended(first, second):
        await first.lock(await first.open("/lock", LOCK | CREATE))
        handle = await second.open("/lock", LOCK)
        waiting = asyncio.ensure_future(second.lock(handle))
        await asyncio.wait({waiting}, timeout=0.05)
        await first.end()
        await asyncio.wait_for(waiting, 1)
        with pytest.raises(SessionLostError):
            await first.open("/lock", LOCK)


async def test_secrets_are_required_where_there_are_some(tmp_path: Path) -> None:
    secrets = tmp_path / "users"
    secrets.write_bytes(b"tabled\tdeep dark\nchunkd\tother\n")
    daemon = Daemon(tmp_path, "--secrets", str(secrets))
    daemon.start()
    try:
        session = await daemon.session(secret=b"deep dark")
        await session.end()
        with pytest.raises(CldError) as caught:
            await daemon.session(secret=b"tabled")
        assert caught.value.code == ErrorCode.SIG_INVAL
        with pytest.raises(ConnectError):
            await daemon.session(user="nobody", deadline=0.3)
    finally:
        daemon.end()


def test_contract_of_the_command(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    daemon = Daemon(tmp_path, "-P", str(pid_file))
    daemon.start()
    assert daemon.process is not None
    assert (tmp_path / "port").read_bytes() == b"%d\n" % daemon.port
    assert pid_file.read_bytes() == b"%d\n" % daemon.process.pid
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.connect((address, daemon.port))
    started = time.monotonic()
    assert daemon.end() == 0
    assert time.monotonic() - started < 1
    assert not pid_file.exists()
    assert daemon.log().count("\n") == 1
    with pytest.raises(ConnectionRefusedError), socket.socket() as sock:
        sock.connect(("127.0.0.1", daemon.port))


async def test_session_goes_on_after_the_server_was_killed(daemon: Daemon, transport: str) -> None:
    holder, other = await daemon.session(transport), await daemon.session(transport)
    async with ended(holder, other):
        handle = await holder.open("/lock", READ | WRITE | LOCK | CREATE, EventMask.UPDATED)
        await holder.lock(handle)
        await holder.put(handle, b"before")
        wanted = await other.open("/lock", LOCK)
        waiting = asyncio.ensure_future(other.lock(wanted))
        await asyncio.wait({waiting}, timeout=0.05)
        daemon.end(signal.SIGKILL)
        daemon.start()
        started = time.monotonic()
        assert (await asyncio.wait_for(holder.get(handle), 3)).data == b"before"
        assert time.monotonic() - started < 2
        assert holder.valid
        assert not waiting.done()
        await holder.unlock(handle)
        await asyncio.wait_for(waiting, 2)
        assert not await holder.try_lock(handle)


async def test_keep_session_takes_its_locks_again(daemon: Daemon) -> None:
    held = asyncio.Event()
    rounds = 0

    async def use(session: Session) -> None:
        nonlocal rounds
        handle = await session.open("/kept", LOCK | CREATE)
        await session.lock(handle)
        rounds += 1
        held.set()
        if rounds == 1:
            raise ConnectionError("for a change")
        await asyncio.Event().wait()

    addresses = [("127.0.0.1", daemon.port)]
    keeping = asyncio.ensure_future(keep_session(addresses, "tabled", b"tabled", use, name="test"))
    await asyncio.wait_for(held.wait(), 2)
    held.clear()
    await asyncio.wait_for(held.wait(), 2)
    other = await daemon.session()
    async with ended(other):
        handle = await other.open("/kept", LOCK)
        assert not await other.try_lock(handle)
        keeping.cancel()
        await asyncio.wait({keeping})
        assert await other.try_lock(handle)


async def test_all_are_killed_and_started_again(daemon: Daemon) -> None:
    """The lock of a client that died while the server was down is free as soon as the server is back."""
    script = (
        "import asyncio, sys\n"
        "from haild.client.cld import OpenMode, Session\n"
        "async def main():\n"
        f"    session = await Session.connect('127.0.0.1', {daemon.port}, user='tabled', secret=b'tabled')\n"
        "    await session.lock(await session.open('/lock', OpenMode.LOCK | OpenMode.CREATE))\n"
        "    print('held', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert await asyncio.wait_for(holder.stdout.readline(), 10) == b"held\n"
        deadline = time.monotonic() + 5
        with contextlib.closing(sqlite3.connect(daemon.directory / "cld.sqlite")) as database:
            while not database.execute("SELECT lifeline FROM sessions").fetchone()[0]:
                assert time.monotonic() < deadline, "the lifeline was not proven"
                await asyncio.sleep(0.01)
    finally:
        daemon.end(signal.SIGKILL)
        holder.kill()
        await holder.wait()
    daemon.start()
    session = await daemon.session()
    async with ended(session):
        handle = await session.open("/lock", LOCK)
        await asyncio.wait_for(session.lock(handle), 2)


@pytest.mark.parametrize("host", ["127.0.0.5", "::1", "localhost"])
async def test_replies_come_from_the_address_that_was_asked(daemon: Daemon, host: str) -> None:
    session = await Session.connect(host, daemon.port, user="tabled", secret=b"tabled", transport="udp")
    async with ended(session):
        assert await session.open("/f", CREATE) == 2


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_answers_do_not_wait_for_those_before_them(family: socket.AddressFamily) -> None:
    """Nagle's algorithm is off: an answer goes out as a packet after its acknowledgement."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            seen.set_result(option)
            transport.close()

    server = await asyncio.get_running_loop().create_server(
        Protocol, sock=listen.bind_wildcard(family, socket.SOCK_STREAM, 0)
    )
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        _, writer = await asyncio.open_connection("127.0.0.1" if host == "0.0.0.0" else "::1", port)
        writer.close()
        assert await asyncio.wait_for(seen, 5)
