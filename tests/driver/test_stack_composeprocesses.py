"""Compose that a killed driver left: awaited while it works, ended when it hangs. No other process is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hailbox.model.errors import BusyError
from hailbox.stack import composeprocesses, lock
from support.markers import DirectoryMarkers

COMPOSE = """#!{python}
import os, pathlib, signal, sys, time
if "version" in sys.argv:
    print("2.30.0")
    sys.exit()
if sys.argv[-1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({place!r}, "pid").write_text(str(os.getpid()))
with open("/dev/zero", "rb", buffering=0) as source:
    for _ in range(16 if sys.argv[-1] == "works" else 6000):
        time.sleep(0.1)
        if sys.argv[-1] == "works":
            source.read(1024)
pathlib.Path({place!r}, "done").touch()
"""

DRIVER = """
import os, subprocess, sys
from pathlib import Path
from hailbox.engine import composecli
from hailbox.stack import lock
from support.markers import DirectoryMarkers
with lock.held(DirectoryMarkers(Path(os.environ["PLACE"])), "x", "hailbox up", tell=print):
    composecli.run(sys.argv[2], "{}", [sys.argv[1]], engine={})
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(COMPOSE.format(python=sys.executable, place=str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # Compose gets few of our variables; this is one
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setattr(composeprocesses, "PATIENCE", 1.0)
    monkeypatch.setattr(composeprocesses, "GRACE", 0.5)


@contextmanager
def orphan(directory: Path, kind: str, project: str = "hailbox-x") -> Iterator[int]:
    """Start a driver, kill it when Compose runs; the id of that Compose process."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, kind, project])
    handle = None
    try:
        note = directory / "pid"
        while not (note.exists() and note.read_text()):
            assert driver.poll() is None
        pid = int(note.read_text())
        handle = os.pidfd_open(pid)
        driver.kill()
        driver.wait()
        yield pid
    finally:
        driver.kill()
        driver.wait()
        if handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def take(directory: Path, deadline: float = 20.0) -> list[str]:
    told: list[str] = []
    with lock.held(DirectoryMarkers(directory), "x", "hailbox reset", tell=told.append, deadline=deadline):
        pass
    return told


@pytest.mark.parametrize("kind", ["hangs", "stubborn"])
def test_one_that_hangs_is_ended_and_that_is_told(tmp_path: Path, kind: str) -> None:
    with orphan(tmp_path, kind) as pid:
        waiting, *rest = take(tmp_path)
        assert waiting.startswith(f"Compose (pid {pid}), left by `hailbox up` (pid ")
        assert waiting.endswith("), which was killed, works on this stack; waiting for it to end")
        assert rest[0] == f"Compose (pid {pid}) has done nothing for 1 s; ending it"
        killed = f"Compose (pid {pid}) did not end within 0.5 s; killing it"
        assert (killed in rest) == (kind == "stubborn")
        assert not (tmp_path / "done").exists()


def test_one_that_is_stopped_is_ended(tmp_path: Path) -> None:
    with orphan(tmp_path, "hangs") as pid:
        os.kill(pid, signal.SIGSTOP)
        assert f"Compose (pid {pid}) did not end within 0.5 s; killing it" in take(tmp_path)


def test_one_that_works_is_awaited(tmp_path: Path) -> None:
    with orphan(tmp_path, "works"):
        assert len(take(tmp_path)) == 1
        assert (tmp_path / "done").exists()


def test_that_of_another_stack_is_not_touched(tmp_path: Path) -> None:
    with orphan(tmp_path, "hangs", "hailbox-y") as pid:
        with pytest.raises(BusyError):
            take(tmp_path, deadline=1.6)
        os.kill(pid, 0)


def test_that_of_a_driver_that_lives_is_not_touched(tmp_path: Path) -> None:
    """However long it does nothing: its driver decides."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, "hangs", "hailbox-x"])
    try:
        note = tmp_path / "pid"
        while not (note.exists() and note.read_text()):
            assert driver.poll() is None
        with pytest.raises(BusyError) as caught:
            take(tmp_path, deadline=1.6)
        assert caught.value.problem.startswith(f"`hailbox up` (pid {driver.pid}) ")
        os.kill(int(note.read_text()), signal.SIGTERM)  # raises if it has gone
    finally:
        driver.kill()
        driver.wait()
