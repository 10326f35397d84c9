"""chunkd's entry in CLD, with the real cld; and that neither needs the other to be there first."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haild.chunkd.registration import parents
from haild.cld.server import Server
from haild.client.chunk import Connection
from haild.client.cld import CldError, OpenMode, Session
from support.chunkd_daemon import Daemon, eventually

INFO_PATH = "/chunk-test/1"


class Cld:
    """The real cld on a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port_file = directory / "cld.port"
        self.process: subprocess.Popen[bytes] | None = None
        (directory / "cld").mkdir(exist_ok=True)

    def start(self, port: str = "auto") -> None:
        self.port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(self.directory / "cld"), "-p", port]
        command += ["--port-file", str(self.port_file), "-P", str(self.directory / "cld.pid")]
        self.process = subprocess.Popen(command)
        eventually(self.port_file.exists, "cld is up")

    @property
    def port(self) -> int:
        return int(self.port_file.read_text())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def cld(tmp_path: Path) -> Iterator[Cld]:
    made = Cld(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def chunkd(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(
        tmp_path / "chunkd",
        f"<NID>7</NID><ForceHost>node.example</ForceHost>"
        f"<CLD><Host>127.0.0.1</Host><PortFile>{tmp_path / 'cld.port'}</PortFile></CLD>",
    )
    yield made
    made.kill()


async def _in_session(port: int, action: Callable[[Session], object]) -> object:
    session = await Session.connect("127.0.0.1", port, user="tabled", secret=b"tabled")
    try:
        return await action(session)  # type: ignore[misc]
    finally:
        await session.end()


async def _record(session: Session) -> bytes:
    handle = await session.open(INFO_PATH, OpenMode.READ)
    return (await session.get(handle)).data


async def _is_locked(session: Session) -> bool:
    handle = await session.open(INFO_PATH, OpenMode.WRITE | OpenMode.LOCK)
    return not await session.try_lock(handle)


def _registered(cld: Cld) -> bool:
    async def both(session: Session) -> bool:
        try:
            return b"</Chunk>" in await _record(session) and await _is_locked(session)
        except CldError:
            return False

    return bool(asyncio.run(_in_session(cld.port, both)))


def _answers(chunkd: Daemon) -> bool:
    async def ping() -> None:
        connection = await Connection.open("127.0.0.1", chunkd.port, user="u", secret=b"u")
        await connection.ping()
        await connection.close()

    asyncio.run(ping())
    return True


def test_parents_of_a_path() -> None:
    assert parents("/chunk-default/1") == ["/chunk-default"]
    assert parents("/a/b/c") == ["/a", "/a/b"]
    assert parents("/top") == []


def test_it_serves_first_and_registers_when_cld_comes(cld: Cld, chunkd: Daemon) -> None:
    chunkd.start()
    assert _answers(chunkd)
    cld.start()
    eventually(lambda: _registered(cld), "chunkd is registered")
    record = asyncio.run(_in_session(cld.port, _record))
    socket = f" <Socket>\r\n  <Host>127.0.0.1</Host>\r\n  <Port>{chunkd.port}</Port>\r\n </Socket>\r\n"
    geo = " <Geo>\r\n  <Area>-</Area>\r\n  <Building>-</Building>\r\n  <Rack>-</Rack>\r\n </Geo>\r\n"
    assert record == f"<Chunk>\r\n <NID>7</NID>\r\n{socket}{geo}</Chunk>\r\n".encode()
    begin = time.monotonic()
    assert chunkd.stop() == 0
    assert time.monotonic() - begin < 1
    assert asyncio.run(_in_session(cld.port, _is_locked)) is False, "a clean stop leaves the lock"


def test_a_killed_node_registers_again_at_once(cld: Cld, chunkd: Daemon) -> None:
    cld.start()
    chunkd.start()
    eventually(lambda: _registered(cld), "chunkd is registered")
    chunkd.kill()
    begin = time.monotonic()
    chunkd.start()
    port = chunkd.port
    eventually(lambda: f"<Port>{port}<".encode() in asyncio.run(_in_session(cld.port, _record)), "the new port")  # type: ignore[operator]
    eventually(lambda: _registered(cld), "chunkd is registered again")
    assert time.monotonic() - begin < 10


def test_it_goes_on_without_cld_and_registers_with_the_next(cld: Cld, chunkd: Daemon) -> None:
    cld.start()
    chunkd.start()
    eventually(lambda: _registered(cld), "chunkd is registered")
    port = cld.port
    cld.kill()
    assert _answers(chunkd)
    cld.start(str(port))
    eventually(lambda: _registered(cld), "chunkd is registered with the restarted cld")
    assert _answers(chunkd)
    assert chunkd.process is not None
    chunkd.process.send_signal(signal.SIGTERM)
    assert chunkd.process.wait(5) == 0


@pytest.mark.slow
def test_it_finds_a_cld_that_comes_back_on_another_port(cld: Cld, chunkd: Daemon) -> None:
    """The port file is read again once the session, which lives for a lease, is lost."""
    cld.start()
    chunkd.start()
    eventually(lambda: _registered(cld), "chunkd is registered")
    before = cld.port
    cld.kill()
    # Held, so that the next one has to take another.
    with socket.create_server(("::", before), family=socket.AF_INET6, dualstack_ipv6=True):
        cld.start()
        assert cld.port != before
        eventually(lambda: _registered(cld), "chunkd is registered with the cld on another port", 40)


async def test_it_registers_with_a_cld_that_speaks_udp_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cld 0.7 to 0.7.2 do. The double is our server without its TCP port and without our additions."""
    monkeypatch.setattr("haild.wire.cld.extension.lease_of", lambda _sid: None)
    directory = tmp_path / "cld"
    directory.mkdir()
    server = await Server.start(directory, 0, None)
    assert server._listener is not None
    server._listener.close()
    daemon = Daemon(
        tmp_path / "chunkd",
        f"<NID>7</NID><ForceHost>node.example</ForceHost><CLD><Host>127.0.0.1</Host><Port>{server.port}</Port></CLD>",
    )
    try:
        await asyncio.to_thread(daemon.start)
        async with asyncio.timeout(5):
            while True:
                try:
                    record = await _in_session(server.port, _record)
                except CldError:
                    record = b""
                if record:
                    break
                await asyncio.sleep(0.05)
        assert b"<NID>7</NID>" in record  # type: ignore[operator]
        assert daemon.log.read_text().count("UDP only") == 1
    finally:
        daemon.kill()
        await server.close()
