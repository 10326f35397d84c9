"""Command line, configuration, autostart, start and stop of iwhd (iwhd.md sections 2, 3 and 12)."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from haild.daemon.errors import EXIT_IN_USE
from haild.iwhd import configuration
from haild.iwhd.__main__ import main
from haild.iwhd.options import UsageError, parse
from haild.iwhd.settings import ProviderSettingsError
from support.iwhd_daemon import Iwhd, Process, eventually, fs, running
from support.ports import free_port


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-c", "f", "-a"],
        ["-x"],
        ["-c", "f", "operand"],
        ["-c"],
        ["-c", "f", "-p", "x"],
        ["-c", "f", "-p", "70000"],
        ["-c", "f", "-m", ":1"],
        ["-c", "f", "-d", "host:x"],
        ["--config=f", "--autostart"],
    ],
)
def test_bad_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("iwhd: ")
    assert captured.out == ""
    assert ("--help" in captured.err) == (not {"-a", "--autostart"} & set(arguments))


def test_options() -> None:
    options = parse(["-c", "f", "-d", "localhost:1", "-m", "there", "--port=1234", "-l", "log", "-v"])
    assert (options.port, options.master, options.verbose, options.metadata) == (1234, ("there", 9090), True, None)
    assert parse(["-a", "-d", "here:5"]).database_port == 5
    assert parse(["-a"]).database_port == 27018
    assert parse(["-c", "f", "-d", "./x"]).metadata == Path("x")
    with pytest.raises(UsageError):
        parse(["-h"])


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([option])
    assert stopped.value.code == 0
    assert "iwhd" in capsys.readouterr().out


GOOD = {"name": "p", "type": "S3", "host": "h", "port": 80, "key": "k", "secret": "s"}


def test_configuration() -> None:
    text = json.dumps([GOOD | {"ami-uid": "7", "n": 5, "Path": "x"}, {"name": "v", "type": "fs-vmw", "path": "/x"}])
    first, second = configuration.parse(text.encode()).providers
    assert (first.type, first.port, first.attributes, first.path) == ("s3", 80, {"ami-uid": "7"}, "x")
    assert second.type == "fs-vmw"
    assert [first.attribute(name) for name in ("name", "key", "port", "ami-uid", "x")] == ["p", "k", None, "7", None]
    assert "'s'" not in repr(first)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"[\n{},\n{,}]", "line 3"),
        (b'[{"name":"a"} // x\n]', "line 1"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "array"),
        (b"[]", "empty"),
        (b"[1]", "provider 0: not a JSON object"),
        (json.dumps([GOOD, GOOD]).encode(), "two providers are called 'p'"),
        *(
            (json.dumps([{k: v for k, v in GOOD.items() if k != name}]).encode(), f"provider 0: '{name}' is missing")
            for name in GOOD
        ),
        (json.dumps([GOOD | {"port": "80"}]).encode(), "'port' must be a number"),
        (json.dumps([GOOD | {"port": True}]).encode(), "'port' must be a number"),
        (json.dumps([GOOD | {"port": 0}]).encode(), "'port' must be a number"),
        (json.dumps([GOOD | {"key": 5}]).encode(), "'key' must be a string"),
        (json.dumps([GOOD | {"type": "ftp"}]).encode(), "type 'ftp' is none of"),
        (b'[{"name":"a","type":"fs"}]', "'path' is missing"),
    ],
)
def test_bad_configuration(document: bytes, reason: str) -> None:
    with pytest.raises(ProviderSettingsError) as refused:
        configuration.parse(document)
    assert reason in str(refused.value)


def test_a_bad_configuration_ends_the_daemon(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c"
    file.write_text("[{]")
    for path, reason in ((file, "line 1"), (tmp_path / "none", "No such file")):
        assert main(["-c", str(path)]) == 1
        error = capfd.readouterr().err
        assert f"could not parse {path}" in error
        assert reason in error
    file.write_text(json.dumps([{"name": "p", "type": "fs", "path": str(tmp_path / "nowhere")}]))
    assert main(["-c", str(file)]) == 1
    assert "cannot enter" in capfd.readouterr().err


def test_start_and_stop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running(Iwhd(tmp_path, [fs(tmp_path), fs(tmp_path, "two")])) as daemon:
        # A second daemon: on its port, and on its metadata.
        for arguments, reason, status in (
            (["-d", f"{tmp_path}/other/"], "port", 1),
            (["-p", str(free_port())], "another iwhd", EXIT_IN_USE),
        ):
            assert main([*daemon.arguments, *arguments]) == status
            assert reason in capfd.readouterr().err
        with socket.create_connection(
            ("127.0.0.1", daemon.port)
        ):  # an idle client does not keep the daemon from stopping
            assert daemon.stop() == 0
    assert daemon.log.read_text() == "1 replication servers defined\n"


def test_autostart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    database_port = free_port()
    port = free_port()
    daemon = Process("haild.iwhd", ["-a", "-d", f"localhost:{database_port}", "-p", str(port)], port, tmp_path)
    iwhd = Iwhd.__new__(Iwhd)
    iwhd.__dict__ = daemon.__dict__
    try:
        daemon.start()
        assert iwhd.request("PUT", "/b").status == 201
        assert iwhd.request("PUT", "/b/k", b"x").status == 201
        assert (tmp_path / "_fs" / "b" / "k").read_bytes() == b"x"
        assert (tmp_path / "_db").is_dir()
        assert daemon.process is not None
        assert (tmp_path / "mongo.pid").read_text() == f"{daemon.process.pid}\n"
        assert iwhd.request("GET", "/_providers/_primary").text == "fs_autostart"
        assert daemon.log.read_text().startswith("auto-start: using the built-in configuration, bodies are in _fs\n")
        # A second one: in the same directory, and on the same port in another one.
        other = tmp_path / "other"
        other.mkdir()
        for directory, own_port, reason in (
            (tmp_path, free_port(), "held by another"),
            (other, port, "cannot listen"),
        ):
            monkeypatch.chdir(directory)
            assert main(["-a", "-d", f"localhost:{database_port}", "-p", str(own_port)]) == 1
            assert reason in capfd.readouterr().err
        assert iwhd.request("GET", "/b/k").body == b"x"
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(5) == 0
    finally:
        daemon.close()
    eventually(lambda: not (tmp_path / "mongo.pid").exists(), "the pid file is removed")


def test_autostart_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["-a", "-d", f"localhost:{taken.getsockname()[1]}"]) == 1
    assert "listens" in capfd.readouterr().err
    for name in ("_db", "_fs"):
        (tmp_path / name).rmdir()
        (tmp_path / name).write_text("in the way")
        assert main(["-a", "-d", f"localhost:{free_port()}"]) == 1
        assert name in capfd.readouterr().err
