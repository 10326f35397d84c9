"""Accidents that befall a stack as a whole: commands that meet, ports and images that go, a home that is emptied."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.enginestack import Stack

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(f"test-accidents-{os.getpid()}", Path(tmp_path_factory.mktemp("accidents")))
    yield made
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []


def together(*runs: list[str], stack: Stack) -> list[subprocess.CompletedProcess[str]]:
    """Run commands at once; their ends in the order given."""
    started = [
        subprocess.Popen(
            stack.command(*words),
            cwd=stack.home,
            env=stack.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in runs
    ]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process in started
        for output in [process.communicate()]
    ]


def put(stack: Stack, body: bytes) -> None:
    client = stack.s3()
    if "kept" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="object", Body=body)


def get(stack: Stack) -> bytes:
    return bytes(stack.s3().get_object(Bucket="kept", Key="object")["Body"].read())


def test_two_up_at_once(shared: Stack) -> None:
    ends = together(["up"], ["up"], stack=shared)
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    assert any("waiting for it to end" in end.stderr for end in ends)
    assert shared.run("status").status == 0


def test_reset_during_up(shared: Stack) -> None:
    shared.run("destroy")
    ends = together(["up"], ["reset"], stack=shared)
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    assert shared.run("status").status == 0


def test_everything_in_the_home_is_gone(shared: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine is the only state: a user without any file finds the stack as it was."""
    shared.run("up")
    put(shared, b"kept")
    before = shared.env()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    assert shared.run("up").data["changed"] == []
    assert shared.env() == before
    assert get(shared) == b"kept"


def test_port_taken_between_two_runs(shared: Stack) -> None:
    shared.run("up")
    put(shared, b"kept")
    shared.run("down")
    port = int(shared.run("up").data["replicas"][2]["endpoint"].rpartition(":")[2])
    shared.run("down")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen(1)
        tabled = shared.run("up").data["replicas"][2]
        assert tabled["working"]
        assert not tabled["endpoint"].endswith(f":{port}")
        assert get(shared) == b"kept"


def test_image_deleted_under_a_running_stack(shared: Stack) -> None:
    shared.run("up")
    put(shared, b"kept")
    image = shared.container("iwhd-1").attrs["Config"]["Image"]
    shared.container("iwhd-1").remove(force=True)
    shared.client.images.remove(image, force=True)
    answer = shared.run("up")
    assert "iwhd-1" in answer.data["changed"]
    assert get(shared) == b"kept"
    assert shared.client.images.get(image)


LOCKER = """
import asyncio, sys
from haild.client.cld import Session
from haild.wire.cld import OpenMode
async def main():
    host, port = sys.argv[1].split(":")
    session = await Session.connect(host, int(port), user=sys.argv[2], secret=sys.argv[3].encode())
    handle = await session.open(sys.argv[4], OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE)
    await session.lock(handle)
    print("held", flush=True)
    await asyncio.sleep(float(sys.argv[5]))
asyncio.run(main())
"""


def test_lock_of_a_dead_client(shared: Stack) -> None:
    """Whoever waits for it has it at once, not when a minute is over."""
    shared.run("up")
    env = shared.env()
    arguments = [env["CLD_ADDRESS"], env["CLD_USER"], env["CLD_SECRET"], f"/{secrets.token_hex(4)}"]
    first = subprocess.Popen([sys.executable, "-c", LOCKER, *arguments, "60"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = subprocess.Popen([sys.executable, "-c", LOCKER, *arguments, "0"], stdout=subprocess.PIPE, text=True)
    threading.Timer(0.5, os.kill, [first.pid, signal.SIGKILL]).start()
    output, _ = second.communicate(timeout=15)
    first.wait()
    assert output == "held\n"
