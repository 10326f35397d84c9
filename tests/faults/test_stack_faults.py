"""Accidents that befall a stack as a whole: commands that meet, ports and images that go, a home that is emptied.

Rows of the table of faults.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.faulttable import STACK, FaultTable, Measured, notice, stopwatch

pytestmark = pytest.mark.timeout(600)


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


def acknowledged(stack: Stack) -> Acknowledged:
    objects = Acknowledged()
    objects.put(stack.s3())
    return objects


def test_two_up_at_once(shared: Stack, fault_table: FaultTable) -> None:
    shared.run("up")
    objects = acknowledged(shared)
    shared.run("down")
    with stopwatch() as passed:
        ends = together(["up"], ["up"], stack=shared)
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    (waited,) = {line.split("  ")[-1] for end in ends for line in end.stderr.splitlines() if "waiting" in line}
    assert waited.endswith("works on this stack; waiting for it to end")
    assert shared.run("status").status == 0
    said = "the second: `hailbox up` works on this stack; waiting for it to end"
    fault_table.add(STACK, Measured("two `up` at once", said, None, passed[0], "", objects.expect_all(shared)))


def test_reset_during_up(shared: Stack, fault_table: FaultTable) -> None:
    shared.run("up")
    acknowledged(shared)
    shared.run("down")
    with stopwatch() as passed:
        ends = together(["up"], ["reset"], stack=shared)
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    assert shared.run("status").status == 0
    left = shared.s3().list_buckets()["Buckets"]
    assert left == []
    data = "discarded, as asked"
    fault_table.add(STACK, Measured("`reset` during `up`", "the later one waits", None, passed[0], "", data))


def test_everything_in_the_home_is_gone(
    shared: Stack, fault_table: FaultTable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The engine is the only state: a user without any file finds the stack as it was."""
    shared.run("up")
    objects = acknowledged(shared)
    before = shared.env()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    assert shared.run("status").status == 0
    with stopwatch() as passed:
        assert shared.run("up").data["changed"] == []
    assert shared.env() == before
    title, said = "all files of the user's home deleted", "nothing: they are not needed"
    fault_table.add(STACK, Measured(title, said, None, passed[0], "", objects.expect_all(shared)))


def test_port_taken_between_two_runs(shared: Stack, fault_table: FaultTable) -> None:
    shared.run("up")
    objects = acknowledged(shared)
    port = int(shared.run("up").data["replicas"][2]["endpoint"].rpartition(":")[2])
    shared.run("down")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen(1)
        with stopwatch() as passed:
            tabled = shared.run("up").data["replicas"][2]
        assert tabled["working"]
        assert not tabled["endpoint"].endswith(f":{port}")
        data = objects.expect_all(shared)
    said = "another port, in the output of `up`; the default stack's `up` names who holds the usual one"
    fault_table.add(STACK, Measured("port taken between two runs", said, None, passed[0], "", data))


def test_image_deleted_under_a_running_stack(shared: Stack, fault_table: FaultTable) -> None:
    shared.run("up")
    objects = acknowledged(shared)
    image = shared.container("iwhd-1").attrs["Config"]["Image"]
    shared.container("iwhd-1").remove(force=True)
    shared.client.images.remove(image, force=True)
    noticed, said = notice(shared)
    with stopwatch() as passed:
        answer = shared.run("up")
    assert "iwhd-1" in answer.data["changed"]
    assert shared.client.images.get(image)
    title = "an image deleted, and the container made of it"
    fault_table.add(STACK, Measured(title, said, noticed, passed[0], "", objects.expect_all(shared)))


LOCKER = """
import asyncio, sys
from haild.client.cld import Session
from haild.wire.cld.messages import OpenMode
async def main():
    host, port = sys.argv[1].split(":")
    session = await Session.connect(host, int(port), user=sys.argv[2], secret=sys.argv[3].encode())
    handle = await session.open(sys.argv[4], OpenMode.WRITE | OpenMode.LOCK | OpenMode.CREATE)
    await session.lock(handle)
    print("held", flush=True)
    await asyncio.sleep(float(sys.argv[5]))
asyncio.run(main())
"""


def test_lock_of_a_dead_client(shared: Stack, fault_table: FaultTable) -> None:
    """A client that waits for it gets it at once, not after a minute."""
    shared.run("up")
    objects = acknowledged(shared)
    env = shared.env()
    arguments = [env["CLD_ADDRESS"], env["CLD_USER"], env["CLD_SECRET"], f"/{secrets.token_hex(4)}"]
    first = subprocess.Popen([sys.executable, "-c", LOCKER, *arguments, "60"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = subprocess.Popen([sys.executable, "-c", LOCKER, *arguments, "0"], stdout=subprocess.PIPE, text=True)
    began = []

    def kill() -> None:
        first.kill()
        began.append(time.monotonic())

    threading.Timer(0.5, kill).start()
    output, _ = second.communicate(timeout=15)
    healed = time.monotonic() - began[0]
    first.wait()
    assert output == "held\n"
    title, said = "cld's lock held by a client that was killed", "nothing: who waits for the lock has it then"
    fault_table.add(STACK, Measured(title, said, None, healed, "", objects.expect_all(shared)))
