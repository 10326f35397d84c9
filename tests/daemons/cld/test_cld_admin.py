"""The listing of sessions, locks and files beside a running server; statistics; bad starts."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haild.cld import admin
from haild.cld.server import Server
from haild.client.cld import OpenMode, Session
from haild.daemon.errors import StartError
from haild.daemon.secrets import read as read_secrets


async def test_listing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = await Server.start(tmp_path, 0, None)
    first = await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled")
    second = await Session.connect(
        "127.0.0.1", server.port, user="chunkd", secret=b"chunkd", transport="udp", lease=7
    )
    try:
        await first.close_handle(await first.open("/d", OpenMode.CREATE | OpenMode.DIRECTORY))
        mine = await first.open("/d/f", OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE)
        await first.put(mine, b"12345")
        await first.lock(mine, shared=True)
        theirs = await second.open("/d/f", OpenMode.LOCK)
        assert not await second.try_lock(theirs)
        content = admin.read(tmp_path, time.time())
        assert [(row["path"], row["kind"], row["size"], row["version"]) for row in content["files"]] == [
            ("/", "directory", 8, 2),
            ("/d", "directory", 8, 2),
            ("/d/f", "file", 5, 2),
        ]
        (lock,) = content["locks"]
        assert (lock["path"], lock["state"], lock["mode"], lock["user"]) == ("/d/f", "held", "shared", "tabled")
        assert lock["address"].startswith("127.0.0.1:")
        assert 0 <= lock["age"] < 5
        sessions = {row["user"]: row for row in content["sessions"]}
        assert (sessions["tabled"]["transport"], sessions["tabled"]["lease"], sessions["tabled"]["locks"]) == (
            "tcp",
            10,
            1,
        )
        assert (sessions["chunkd"]["transport"], sessions["chunkd"]["lease"], sessions["chunkd"]["locks"]) == (
            "udp",
            7,
            0,
        )
        assert admin.main(["-d", str(tmp_path), "locks"]) == 0
        heading, columns, row = capsys.readouterr().out.splitlines()
        assert heading == "locks: 1"
        assert columns.split() == ["PATH", "STATE", "MODE", "AGE", "SESSION", "USER", "ADDRESS"]
        assert row.split()[:3] == ["/d/f", "held", "shared"]
        assert admin.main(["-d", str(tmp_path), "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out)) == {"sessions", "locks", "files"}
    finally:
        await second.end()
        await first.end()
        await server.close()
    assert admin.read(tmp_path, time.time())["sessions"] == [], "without a server, too"
    assert admin.main(["-d", str(tmp_path / "none")]) == 1


@pytest.mark.parametrize(
    "text", [b"no tab\n", b"\tsecret\n", b"user\t\n", b"u" * 32 + b"\tx\n", b"u\t" + b"x" * 128 + b"\n"]
)
def test_secrets_that_cannot_be_used(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "secrets"
    file.write_bytes(b"# comment\ngood\tone\n" + text)
    with pytest.raises(StartError, match="line 3"):
        read_secrets(file)
    with pytest.raises(StartError, match="No such file"):
        read_secrets(tmp_path / "none")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "haild.cld", "-F", "-E", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)


def test_bad_starts_say_why(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("-d", str(tmp_path), "-p", port)
    assert result.returncode == 1
    assert f"port {port}: Address already in use" in result.stderr
    result = run("-d", str(tmp_path / "none"), "-p", "0")
    assert result.returncode == 1
    assert "port '0' is not a number" in result.stderr


def test_statistics_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(tmp_path), "-p", "auto"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "serving on port" in process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        assert "0 sessions, 0 connections, 1 files and directories, 0 locks held" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(2) == 0
