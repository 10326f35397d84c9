"""One command at a time on a stack: real processes, as the kernel is what keeps the promise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hailbox.model.errors import BusyError, RuntimeDirectoryError
from hailbox.stack import lock

HOLDER = """
import subprocess, sys
from hailbox.stack import lock
with lock.held("x", "hailbox up", tell=print):
    if sys.argv[1] == "child":
        # As Compose is started: what it inherits stays open, and it ends with its standard input.
        subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, close_fds=False)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@contextmanager
def holder(kind: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of stack x until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def take(stack: str = "x", deadline: float = 20.0) -> list[str]:
    """Take and leave the lock; returns what was told of waiting."""
    told: list[str] = []
    with lock.held(stack, "hailbox status", tell=told.append, deadline=deadline):
        pass
    return told


def test_nobody_is_in_the_way() -> None:
    assert take() == []
    assert take() == []


def test_the_second_says_who_works_and_waits_for_its_end() -> None:
    with holder() as process:
        assert process.stdin is not None
        waited: list[str] = []
        done = threading.Event()

        def told(who: str) -> None:
            waited.append(who)
            done.set()

        def wait() -> None:
            with lock.held("x", "hailbox down", tell=told, deadline=20):
                waited.append("mine")

        thread = threading.Thread(target=wait)
        thread.start()
        assert done.wait(20)
        said = f"`hailbox up` (pid {process.pid}) works on this stack; waiting for it to end"
        assert waited == [said]
        process.stdin.close()
        thread.join(20)
        assert waited == [said, "mine"]


def test_another_stack_is_not_in_the_way() -> None:
    with holder():
        assert take("y") == []


def test_gives_up_after_the_deadline_and_names_the_holder() -> None:
    with holder() as process:
        with pytest.raises(BusyError) as caught:
            take(deadline=0.1)
        assert f"`hailbox up` (pid {process.pid})" in caught.value.problem
        assert "stack x" in caught.value.problem


def test_dies_with_its_holder() -> None:
    with holder() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert take(deadline=5) == []


def test_lives_as_long_as_a_process_that_the_holder_started() -> None:
    with holder("child") as process:
        assert process.stdin is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(BusyError):
            take(deadline=0.2)
        process.stdin.close()  # its end, too: both read from the same pipe
        take(deadline=20)


def test_is_left_when_the_command_fails() -> None:
    def fail() -> None:
        with lock.held("x", "hailbox up", tell=print):
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        fail()
    assert take(deadline=0.1) == []


def test_a_shorter_command_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    with lock.held("x", "hailbox a-very-long-command", tell=print):
        pass
    with lock.held("x", "hailbox up", tell=print):
        assert (tmp_path / "hailbox" / "x.lock").read_text() == f"`hailbox up` (pid {os.getpid()})"


def test_the_directory_is_the_user_s_own(tmp_path: Path) -> None:
    assert lock.directory() == tmp_path / "hailbox"
    assert (tmp_path / "hailbox").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("runtime", [None, "", "/nonexistent"])
def test_without_a_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str | None) -> None:
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path))
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert lock.directory() == tmp_path / f"hailbox-{os.getuid()}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what belongs to somebody else")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hailbox").mkdir()
    os.chown(tmp_path / "hailbox", 65534, 65534)
    with pytest.raises(RuntimeDirectoryError) as caught:
        take()
    assert "belongs to another user" in caught.value.problem


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what belongs to somebody else")
def test_a_link_that_somebody_else_made_to_a_directory_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "hailbox").symlink_to(tmp_path / "mine")
    os.lchown(tmp_path / "hailbox", 65534, 65534)
    with pytest.raises(RuntimeDirectoryError):
        take()
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("in_the_way", ["hailbox", "hailbox/x.lock"])
def test_something_is_in_the_way(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / in_the_way
    if in_the_way == "hailbox":
        path.write_text("a file")
    else:
        path.mkdir(parents=True)
    with pytest.raises(RuntimeDirectoryError) as caught:
        take()
    assert str(path) in caught.value.problem
    assert "XDG_RUNTIME_DIR" in caught.value.remedy
