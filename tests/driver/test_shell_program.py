"""`hailbox shell` and `hailbox exec` as programs: real cld and chunkd, and an engine that says where they are."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hailbox.cli.commands import exec as execute
from hailbox.cli.commands import shell
from hailbox.cli.output import Invocation
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import UsageError
from haild.credentials import generate
from support.chunkd_daemon import running
from support.cli_program import Ended, command, environment
from support.engine_server import EMPTY, engine, serve
from support.shells import SECRET, cld
from support.terminal import Terminal

pytestmark = pytest.mark.slow

STACK = "test"
CREDENTIALS = {
    **generate(),
    "CLD_USER": "tabled",
    "CLD_SECRET": SECRET,
    "CHUNK_USER": "hail",
    "CHUNK_SECRET": "hail",
}


def container(replica: str, state: str = "running", **labels: str) -> dict[str, Any]:
    """As the engine lists it."""
    return {
        "Id": f"id-{replica}",
        "Names": [f"/hailbox-{STACK}-{replica}"],
        "Image": "image",
        "ImageID": "sha256:0",
        "State": state,
        "Ports": [],
        "Mounts": [{"Type": "volume", "Name": names.credentials_volume(STACK)}],
        "Labels": {
            names.STACK: STACK,
            names.REPLICA: replica,
            names.SERVICE: replica.partition("-")[0],
        }
        | labels,
    }


def archive(content: bytes) -> bytes:
    """A tar archive of the directory with one file in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("hailbox/credentials.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@dataclass
class World:
    """A stack as hailbox sees it, with services that are real."""

    directory: Path
    address: str

    def variables(self) -> dict[str, str]:
        return environment(self.directory, DOCKER_HOST=self.address, HAILBOX_STACK=STACK)

    def run(self, *arguments: str, input: str | bytes = b"", **variables: str) -> Ended:
        done = subprocess.run(
            command(*arguments),
            cwd=self.directory,
            env=self.variables() | variables,
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            timeout=30,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(data)) + data


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    (directory / "users").write_text("hail\thail\n")
    with cld(directory / "cld") as (_, port), running(directory / "chunkd") as daemon:
        record = {
            names.SERVICE: ONE_SHOT,
            f"{names.PORT}cld-1.cld": str(port),
            f"{names.PORT}chunkd-1.chunk": "1",
            f"{names.PORT}chunkd-2.chunk": str(daemon.port),
        }
        objects = dict(EMPTY) | {
            "/containers/json": [
                container(ONE_SHOT, "exited", **record),
                container("tabled-1"),
                container("chunkd-1"),
                container("chunkd-2", "exited"),
            ],
            f"/containers/id-{ONE_SHOT}/archive": archive(json.dumps(CREDENTIALS).encode()),
            "/exec/e1/json": {"ExitCode": 3},
        }
        plain = engine(objects)

        def answer(method: str, path: str) -> tuple[int, Any]:
            if (method, path) == ("POST", "/containers/id-tabled-1/exec"):
                return 201, {"Id": "e1"}
            if (method, path) == ("POST", "/exec/e1/start"):
                return 200, frame(1, b"out") + frame(2, b"err") + frame(1, b"\xffput")
            return plain(method, path)

        with serve(directory, answer) as address:
            yield World(directory, address)


def test_one_command(world: World, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00\xff content")
    assert world.run("shell", "cld", "cpin", str(tmp_path / "in"), "/one").status == 0
    assert world.run("shell", "cld", "cpout", "/one", str(tmp_path / "out")) == Ended(0, "", "")
    assert (tmp_path / "out").read_bytes() == b"\x00\xff content"
    failed = world.run("shell", "cld", "cat", "/missing")
    assert (failed.status, failed.out) == (5, "")
    assert failed.error()[:2] == ("command-failed", "cat /missing: NAME_INVAL: no such file, or no valid path")
    document = world.run("shell", "cld", "ls", "/", "--json").document()
    assert document["data"]["commands"] == [{"command": "ls /", "output": "one\n", "error": None}]


def test_script_on_standard_input(world: World) -> None:
    put = world.run("shell", "chunkd", "-r", "chunkd-2", "-t", "script", "--create", input="put k v\nget k\n")
    assert (put.status, put.out, put.err) == (0, "v", "")
    lines = "# a comment\n\nget missing\nget k\n  frob\nquit\nget k\n"
    failed = world.run("shell", "chunkd", "-r", "chunkd-2", "-t", "script", input=lines)
    assert (failed.status, failed.out) == (5, "v")
    assert failed.err.splitlines() == [
        "hailbox: line 3: get missing: NoSuchKey: no such object in the table",
        "hailbox: line 5: frob: no such command; help lists them",
        "hailbox: 2 of 3 commands failed [command-failed]",
        "  → mend what is named above",
    ]
    stopped = world.run("shell", "chunkd", "-r", "chunkd-2", "-t", "script", "-e", "--json", input=lines)
    document = stopped.document()
    assert (stopped.status, stopped.err, document["exit_code"]) == (5, "", 5)
    assert [ran["command"] for ran in document["data"]["commands"]] == ["get missing"]


def test_what_cannot_be_reached(world: World) -> None:
    # Nothing listens on chunkd-1's port.
    nobody = world.run("shell", "chunkd", "ping")
    assert (nobody.status, nobody.error()[0]) == (5, "not-working")
    assert "chunkd-1" in nobody.error()[1]
    table = world.run("shell", "chunkd", "-r", "chunkd-2", "-t", "nosuch", "list")
    assert (table.status, table.error()[:2]) == (
        5,
        ("command-failed", "chunkd-2 refused: InvalidArgument: no such table, or no valid name"),
    )
    unknown = world.run("shell", "chunkd", "-r", "chunkd-9", "list")
    assert (unknown.status, unknown.error()[0]) == (2, "unknown-service")


def never(**_choices: Any) -> Any:
    raise AssertionError("a command without sense asks no service")


@pytest.mark.parametrize(
    ("target", "options", "named"),
    [
        ("cld", {"table": "x"}, "--table is for chunkd"),
        ("chunkd", {"udp": True}, "--udp is for cld"),
        ("chunkd", {"create": True}, "without a table"),
        ("tabled-1", {"table": "x"}, "not for a container"),
        ("tabled-1", {"words": ["ls"]}, "for a conversation"),
    ],
)
def test_options_that_make_no_sense_are_refused(target: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        shell.shell.__wrapped__(never, Invocation("shell"), target, **options)
    with pytest.raises(UsageError, match="no command"):
        execute.exec.__wrapped__(never, Invocation("exec"), "tabled-1", ["--"])


@pytest.mark.parametrize(("word", "named"), [("nosuch", "'nosuch'"), ("chunkd", "several replicas")])
def test_exec_needs_one_container(world: World, word: str, named: str) -> None:
    ended = world.run("exec", word, "ls")
    assert (ended.status, ended.out) == (2, "")
    code, problem, remedy = ended.error()
    assert code == "unknown-service"
    assert named in problem
    assert "chunkd-1, chunkd-2" in remedy


def docker_client(directory: Path) -> str:
    """A `docker` that prints its arguments and its input, and ends with 7; returns a PATH that begins with it."""
    directory.mkdir()
    program = directory / "docker"
    program.write_text('#!/bin/sh\necho "$@"\ncat\nexit 7\n')
    program.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def test_exec_becomes_the_docker_client(world: World, tmp_path: Path) -> None:
    path = docker_client(tmp_path / "bin")
    ended = world.run("exec", "tabled-1", "--", "ls", "--json", "-l", input="text", PATH=path)
    assert ended == Ended(7, "exec --interactive id-tabled-1 ls --json -l\ntext", "")
    opened = world.run("shell", "tabled", input="text", PATH=path)
    assert opened == Ended(7, "exec --interactive id-tabled-1 /bin/sh\ntext", "")


def test_exec_without_the_docker_client_or_a_running_container(world: World, tmp_path: Path) -> None:
    missing = world.run("exec", "tabled-1", "ls", PATH=str(tmp_path))
    assert (missing.status, missing.error()[0]) == (3, "docker-client-missing")
    stopped = world.run("exec", "chunkd-2", "ls")
    assert (stopped.status, stopped.error()[0]) == (5, "not-working")
    assert "exited" in stopped.error()[1]


def test_exec_as_json_asks_the_engine_itself(world: World, tmp_path: Path) -> None:
    ended = world.run("exec", "--json", "tabled-1", "ls", PATH=str(tmp_path))
    document = ended.document()
    assert (ended.status, document["exit_code"]) == (5, 5)
    assert document["data"] == {"replica": "tabled-1", "status": 3, "output": "out\\xffput", "errors": "err"}
    assert [error["code"] for error in document["errors"]] == ["command-failed"]


def terminal(world: World, *arguments: str) -> Terminal:
    return Terminal(command("shell", *arguments), world.directory, world.variables())


def test_at_a_terminal(world: World) -> None:
    assert world.run("shell", "cld", input="mkdir /t\ncpin /dev/null /t/l\n").status == 0
    with terminal(world, "cld") as person, terminal(world, "cld") as other:
        person.read_until("cld:/> ")
        person.type("cd t\n")
        person.read_until("cld:/t> ")
        person.type("lis\t\n")  # completed to list-locks
        assert "list-locks" in person.read_until("\r\ncld:/t> ")
        person.type("cat missing\n")
        assert "hailbox: cat: NAME_INVAL: " in person.read_until("\r\ncld:/t> ")
        person.type("lock l\n")
        person.read_until("\r\ncld:/t> ")
        # Ctrl-C ends a wait, not the shell; at the prompt it leaves.
        other.read_until("cld:/> ")
        other.type("lock /t/l\n")
        other.read_until("waiting for it")
        other.type("\x03")
        other.read_until("interrupted\r\ncld:/> ")
        assert other.end("\x03") == 0
        assert person.end("\x04") == 0
    assert world.run("shell", "cld", "trylock", "/t/l").status == 0


def test_interrupted_while_a_script_waits(world: World) -> None:
    assert world.run("shell", "cld", "cpin", "/dev/null", "/held").status == 0
    holder = subprocess.Popen(
        command("shell", "cld"),
        cwd=world.directory,
        env=world.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("lock /held\nlist-locks\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "/held  exclusive\n"
    waiting = subprocess.Popen(
        command("shell", "cld", "lock", "/held"),
        cwd=world.directory,
        env=world.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "another session holds /held; waiting" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (130, "")
    assert "[interrupted]" in err
    # The end of its input is the end of the holder and of its lock.
    assert holder.communicate(timeout=20) == ("", "")
    assert holder.returncode == 0
    assert world.run("shell", "cld", "trylock", "/held").status == 0
