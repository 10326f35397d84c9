"""A stack on another machine's engine, which ssh alone reaches: its ports are reachable here while it takes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import enginetable, sshserver
from support.enginestack import Stack
from support.engineverbs import Verbs
from support.nestedengine import NestedEngine
from support.sshserver import SshServer

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.second_engine,
    pytest.mark.skipif(sshserver.why_not() is not None, reason=sshserver.why_not() or ""),
]


@pytest.fixture
def server(nested: NestedEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    """A server on the nested engine's machine, by which commands find that engine."""
    if not nested.answers():
        nested.start()
    with sshserver.on(nested) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def test_verbs_over_ssh(server: SshServer, nested: NestedEngine, tmp_path: Path) -> None:
    with nested.entered():
        inside = Stack("test-over-ssh", tmp_path)
    stack = Stack("test-over-ssh", tmp_path, inside.client)
    try:
        exercise(stack, server)
    finally:
        server.start()
        if stack.labelled():
            stack.run("destroy")
    assert stack.labelled() == []
    stack.client.close()


def exercise(stack: Stack, server: SshServer) -> None:
    verbs = Verbs(stack)
    verbs.run("up")
    engine = next(check["detail"] for check in verbs.run("doctor").data["checks"] if check["name"] == "engine")
    verbs.run("status")
    verbs.used.append("shell")
    subprocess.run(stack.command("shell", "cld", "ls", "/"), env=stack.environment(), check=True, capture_output=True)
    verbs.run("reset")

    with connected(stack):
        stack.s3().create_bucket(Bucket="from-afar")

    with connected(stack, ending=None) as connection:
        server.stop()
        status = connection.wait(timeout=60)
        assert connection.stdout is not None
        envelope = json.loads(connection.stdout.readlines()[-1])
    assert status == 3
    verbs.used.append("connect")
    version = engine.replace("version ", "Docker ").partition("; engine on another machine")[0]
    enginetable.record(f"{version}, by ssh", "in a container that ssh alone reaches", verbs.used)
    assert [error["code"] for error in envelope["errors"]] == ["engine-unreachable"]


@contextmanager
def connected(stack: Stack, ending: signal.Signals | None = signal.SIGINT) -> Iterator[subprocess.Popen[str]]:
    """`hailbox connect`, which works, and at the end is ended with that signal."""
    with subprocess.Popen(
        stack.command("connect", "--json"),
        env=stack.environment(),
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as program:
        assert program.stdout is not None
        said = json.loads(program.stdout.readline())
        assert said["engine"] == os.environ["DOCKER_HOST"]
        yield program
        if ending is not None:
            os.killpg(program.pid, ending)
            assert program.wait(timeout=30) == 0
