"""chunkd's configuration text and options (chunkd.md section 9)."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from haild.chunkd.configuration import Listener, read
from haild.chunkd.server import bind
from haild.client.cld.addresses import ConfiguredServer
from haild.daemon.errors import EXIT_IN_USE, StartError
from haild.daemon.secrets import read as read_secrets
from haild.daemon.settings import SettingsError, parse
from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation
from support.chunkd_daemon import Daemon, eventually, receive, running

WORKED = b"""
<ForceHost>localhost.localdomain</ForceHost>
<SSL><PrivateKey>ssl-key.pem</PrivateKey><Cert>ssl-cert.pem</Cert></SSL>
<Listen><Port>auto</Port><PortFile>chunkd.port</PortFile></Listen>
<PID>chunkd.pid</PID>
<Path>data/chunk</Path>
<NID>1</NID>
<CLD><PortFile>cld.port</PortFile><Host>localhost</Host></CLD>
<InfoPath>/chunkd-test/1</InfoPath>
<Check><User>testuser</User><User>testuser2</User></Check>
"""
LEAST = b"<Listen><Port>8082</Port></Listen><Path>/p</Path><InfoPath>/chunk-default/1</InfoPath>"


def test_the_worked_configuration() -> None:
    found = read(parse(WORKED))
    assert found.listeners == (Listener(0, None, Path("chunkd.port")),)
    assert found.path == Path("data/chunk")
    assert found.pid_file == Path("chunkd.pid")
    assert found.nid == 1
    assert found.info_path == "/chunkd-test/1"
    assert found.force_host == "localhost.localdomain"
    assert found.cld_servers == (ConfiguredServer("localhost", None, Path("cld.port")),)
    assert found.tls is not None
    assert found.tls.minimum == ssl.TLSVersion.TLSv1_2
    assert found.check_users == {b"testuser", b"testuser2"}


def test_defaults() -> None:
    found = read(parse(LEAST))
    assert found.pid_file == Path("/var/run/chunkd.pid")
    assert (found.nid, found.tls, found.secrets) == (None, None, None)
    assert (found.cld_user, found.cld_key) == ("tabled", "tabled")


@pytest.mark.parametrize(
    "text",
    [
        b"<Path>/p</Path><InfoPath>/chunk/1</InfoPath>",
        b"<Listen><Port>0</Port></Listen><Path>/p</Path><InfoPath>/chunk/1</InfoPath>",
        b"<Listen><Node>x</Node></Listen><Path>/p</Path><InfoPath>/chunk/1</InfoPath>",
        b"<Listen><Port>auto</Port></Listen><InfoPath>/chunk/1</InfoPath>",
        b"<Listen><Port>auto</Port></Listen><Path>/p</Path>",
        *(
            LEAST.replace(b"/chunk-default/1", path)
            for path in (b"chunk/1", b"/a b", b"/" + b"x" * 256, b"/a/", b"/a//b")
        ),
        *(LEAST + b"<NID>" + nid + b"</NID>" for nid in (b"0", b"-1", b"x", b"4294967296")),
        LEAST + b"<CLD><Host>h</Host></CLD>",
        LEAST + b"<CLD><Port>1</Port></CLD>",
        LEAST + b"<SSL><Cert>c</Cert></SSL>",
        LEAST + b"<SSL><Cert>c</Cert><PrivateKey>k</PrivateKey><MinimumVersion>0.9</MinimumVersion></SSL>",
        LEAST + b"<Timeout>0</Timeout>",
        LEAST + b"<ScrubDays>often</ScrubDays>",
    ],
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(SettingsError):
        read(parse(text))


def test_secrets(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_bytes(b"# users\nalice\tsecret one\n\nbob\ttwo\n")
    assert read_secrets(file) == {b"alice": b"secret one", b"bob": b"two"}
    file.write_bytes(b"alice secret\n")
    with pytest.raises(StartError, match="line 1"):
        read_secrets(file)


def _log_in(daemon: Daemon, user: bytes, secret: bytes) -> int:
    with daemon.connect() as sock:
        sock.sendall(wire.encode_request(Operation.LOGIN, nonce=bytes(4), secret=secret, key=user))
        return receive(sock, 48)[8]


def test_with_a_secrets_file_only_its_users_log_in(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"alice\tsecret\n")
    with running(tmp_path / "chunkd", f"<Users>{users}</Users>") as daemon:
        assert _log_in(daemon, b"alice\0", b"secret") == 0
        assert _log_in(daemon, b"alice\0", b"alice") == wire.ResponseCode.SIGNATURE_DOES_NOT_MATCH
        assert _log_in(daemon, b"bob\0", b"bob") == wire.ResponseCode.SIGNATURE_DOES_NOT_MATCH


def test_repeated_listen_elements_and_both_families(tmp_path: Path) -> None:
    second = tmp_path / "second.port"
    with running(tmp_path / "chunkd", f"<Listen><Port>auto</Port><PortFile>{second}</PortFile></Listen>") as daemon:
        eventually(second.exists, "the second port file")
        port = int(second.read_text())
        assert second.read_text() == f"{port}\n"
        assert port != daemon.port
        addresses = ["127.0.0.1"]
        if socket.has_ipv6:
            try:
                socket.create_server(("::1", 0), family=socket.AF_INET6).close()
                addresses.append("::1")
            except OSError:
                pass  # a host without IPv6
        for address in addresses:
            with socket.create_connection((address, port), timeout=5) as sock:
                sock.sendall(wire.encode_request(Operation.LOGIN, nonce=bytes(4), secret=b"u", key=b"u"))
                assert receive(sock, 48)[8] == 0


def test_auto_takes_a_port_that_is_free_in_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[socket.socket] = []

    class Raced(socket.socket):
        """The first port that it is to have for IPv4 is taken by another program just before."""

        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET and address[1] and not others:
                other = socket.socket()
                others.append(other)
                other.bind(address)
                other.listen()
            super().bind(address)

    monkeypatch.setattr("haild.chunkd.server.socket.socket", Raced)
    bound = bind([Listener(port=0)])
    try:
        assert bound[-1].sock.family == socket.AF_INET
        assert len({each.port for each in bound}) == 1
        assert len(others) == len(bound) - 1, "on a host without IPv6 there is nothing to race for"
        assert bound[0].port not in [other.getsockname()[1] for other in others]
    finally:
        for sock in (*(each.sock for each in bound), *others):
            sock.close()


def test_pid_file_and_stop(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.process is not None
        assert (tmp_path / "pid").read_text() == f"{daemon.process.pid}\n"
        with daemon.connect():
            assert daemon.stop() == 0
        assert not (tmp_path / "pid").exists()
        assert daemon.log.read_text() == ""


def _refusal(daemon: Daemon, *more: str, status: int = 1) -> str:
    command = [sys.executable, "-m", "haild.chunkd", "-F", "-E", "-C", str(daemon.configuration), *more]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == status
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_start_that_cannot_work_says_why_in_one_line(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "first")
    daemon.start()
    try:
        assert "held by another process" in _refusal(daemon)
        assert "in use by another chunkd" in _refusal(daemon, "-P", str(tmp_path / "other.pid"), status=EXIT_IN_USE)
    finally:
        daemon.kill()
    daemon.configuration.write_text(daemon.configuration.read_text().replace("127.0.0.1", "192.0.2.1"))
    assert "cannot listen at 192.0.2.1 port auto" in _refusal(daemon)
    daemon.configuration.write_text("<Listen>")
    assert str(daemon.configuration) in _refusal(daemon)
    missing = Daemon(tmp_path / "missing")
    missing.data.rmdir()
    assert "No such file" in _refusal(missing)


def test_sigint_stops_it_too(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(10) == 0
