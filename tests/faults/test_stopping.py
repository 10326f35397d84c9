"""Stopping: a daemon that ignores SIGTERM is killed and named; Ctrl-C leaves at once, in the midst of work."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.enginestack import Stack

pytestmark = pytest.mark.timeout(300)

GRACE = 3.0
"""Seconds that a daemon gets to stop cleanly (issue: `down` within 3 s of the slowest clean stop)."""

LOADED = 15.0
"""More seconds that a loaded machine may take for what is not waiting."""

AT_ONCE = 1.0 + 1.0
"""Seconds in which Ctrl-C has to leave (issue: 1 s), and what a loaded machine may add."""


def test_down_names_whom_it_had_to_kill(stack: Stack) -> None:
    stack.run("up")
    client = stack.s3()
    client.create_bucket(Bucket="kept")
    began = time.monotonic()
    killed = stack.run("down").data["killed"]
    clean = time.monotonic() - began
    assert clean < GRACE + LOADED
    assert clean > GRACE or killed == []
    stack.run("up")
    # A stopped process gets the signal only when it goes on: it ignores SIGTERM as well as any can.
    stack.container("tabled-1").kill("SIGSTOP")
    began = time.monotonic()
    assert "tabled-1" in stack.run("down").data["killed"]
    assert time.monotonic() - began < clean + GRACE + LOADED
    stack.run("up")
    assert [bucket["Name"] for bucket in stack.s3().list_buckets()["Buckets"]] == ["kept"]


SAMPLE = [(("reset",), "starting"), (("snapshot", "restore", "seed"), "restoring")]
MIDST = [
    *SAMPLE,
    (("up",), "starting"),
    (("reset",), "removed"),
    (("reset", "--to", "seed"), "restoring"),
    (("down",), "stopping"),
]
"""Commands that change a stack, and the word of their progress at which they are interrupted."""


class Terminal:
    """A program in a process group of its own; Ctrl-C goes to all of it, Compose included, as from a terminal."""

    def __init__(self, stack: Stack, *words: str) -> None:
        self.program = subprocess.Popen(
            stack.command(*words),
            cwd=stack.home,
            env=stack.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def await_line(self, wanted: str) -> None:
        assert self.program.stderr is not None
        for line in self.program.stderr:
            if wanted in line:
                return
        pytest.fail(f"it ended without {wanted!r}")

    def interrupt(self) -> tuple[int, str, float]:
        """Exit status, what was said since, and the seconds until it had ended."""
        began = time.monotonic()
        os.killpg(self.program.pid, signal.SIGINT)
        self.program.wait(timeout=20)
        seconds = time.monotonic() - began
        _, said = self.program.communicate(timeout=20)
        return self.program.returncode, said, seconds


def assert_explained(ended: tuple[int, str, float], words: tuple[str, ...], *, changes: bool) -> None:
    status, said, seconds = ended
    assert status == 130
    assert seconds < AT_ONCE
    first, second = said.splitlines()[-2:]
    assert first.endswith("[interrupted]")
    assert ("may be half done" in first) == changes
    assert " ".join(words) in second


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(f"test-stopping-{os.getpid()}", tmp_path_factory.mktemp("stopping"))
    yield made
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []
    made.client.close()


@pytest.fixture
def prepared(shared: Stack) -> Stack:
    """A stack that works, with one bucket and a snapshot of it."""
    shared.run("up")
    if "seed" not in [snapshot["name"] for snapshot in shared.run("snapshot", "ls").data]:
        shared.s3().create_bucket(Bucket="kept")
        shared.run("snapshot", "save", "seed")
    elif not shared.s3().list_buckets()["Buckets"]:
        shared.run("snapshot", "restore", "seed")
    return shared


@pytest.mark.parametrize(
    ("words", "moment"),
    MIDST if os.environ.get("HAILBOX_FULL") else SAMPLE,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_in_the_midst_of_a_change_and_the_same_command_finishes_it(
    prepared: Stack, words: tuple[str, ...], moment: str
) -> None:
    if words == ("up",):
        prepared.run("down")
    terminal = Terminal(prepared, *words)
    terminal.await_line(moment)
    assert_explained(terminal.interrupt(), words, changes=True)
    prepared.run(*words)
    prepared.run("up")
    kept = [bucket["Name"] for bucket in prepared.s3().list_buckets()["Buckets"]]
    assert kept == ([] if words == ("reset",) else ["kept"])


def test_while_it_looks(prepared: Stack) -> None:
    prepared.run("up")
    follow = Terminal(prepared, "logs", "-f")
    assert follow.program.stdout is not None
    # Whose lines come first is open; the time limit of the test is that of this wait.
    assert any("cld-1" in line for line in follow.program.stdout)
    assert_explained(follow.interrupt(), ("logs", "-f"), changes=False)
    prepared.container("cld-1").pause()
    shell = Terminal(prepared, "shell", "cld", "ls", "/")
    connected(shell.program.pid)
    status, said, seconds = shell.interrupt()
    assert (status, seconds < AT_ONCE) == (130, True), said
    wait = Terminal(prepared, "wait")
    wait.await_line("waiting")
    assert_explained(wait.interrupt(), ("wait",), changes=False)
    prepared.container("cld-1").unpause()


def connected(pid: int) -> None:
    """Wait until the program has a connection over TCP: it talks to the service."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()}
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "01" and f"socket:[{fields[9]}]" in sockets:
                    return
        time.sleep(0.01)
    pytest.fail("it never connected")
