"""The program that runs a daemon from a checkout: it restarts it after a change, and shows a mistake once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hailbox.helper.programs import reload

DAEMON = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("serving", {version}, *sys.argv[1:], flush=True)
while True:
    time.sleep(0.05)
"""


class Running:
    def __init__(self, root: Path) -> None:
        self.module = root / "haild" / "fake" / "__main__.py"
        self.module.parent.mkdir(parents=True)
        (root / "haild" / "__init__.py").touch()
        (root / "haild" / "fake" / "__init__.py").touch()
        self.write(DAEMON.format(version=1))
        self.said = root / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, reload.__file__, "haild.fake", "-F"],
                env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=said,
                stderr=said,
            )

    def write(self, text: str) -> None:
        # As an editor does it.
        beside = self.module.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.module)

    def says(self, text: str, deadline: float = 10.0) -> float:
        """Seconds until the text was there."""
        began = time.monotonic()
        while text not in self.said.read_text():
            assert time.monotonic() < began + deadline, self.said.read_text()
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path)
    found.says("serving 1 -F")
    yield found
    found.process.terminate()
    found.process.wait(10)


def test_a_change_starts_it_again_with_its_arguments(running: Running) -> None:
    running.write(DAEMON.format(version=2))
    running.says("haild/fake/__main__.py".removeprefix("haild/") + " changed; starting again")
    running.says("serving 2 -F")
    (running.module.parent / "more.py").touch()
    running.says("fake/more.py changed")


def test_what_is_not_python_is_shown_once_and_the_daemon_goes_on(running: Running) -> None:
    running.write("def broken(:\n")
    running.says("__main__.py, line 1: invalid syntax")
    time.sleep(3 * reload.INTERVAL)
    assert running.said.read_text().count("invalid syntax") == 1
    assert "starting again" not in running.said.read_text()
    running.write(DAEMON.format(version=3))
    running.says("serving 3")


def test_a_daemon_that_fails_after_a_change_is_not_looped_on(running: Running) -> None:
    running.write("raise SystemExit(9)")
    running.says("ended with status 9 after the change; waiting for the next change")
    time.sleep(3 * reload.INTERVAL)
    assert running.said.read_text().count("status 9") == 1
    running.write(DAEMON.format(version=4))
    running.says("serving 4")


def _ends_by_itself(running: Running) -> int:
    (child,) = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    return 128 + signal.SIGKILL


def _is_told_to_stop(running: Running) -> int:
    running.process.terminate()
    return 0


@pytest.mark.parametrize("ending", [_ends_by_itself, _is_told_to_stop])
def test_it_ends_with_the_daemon(running: Running, ending: Callable[[Running], int]) -> None:
    assert ending(running) == running.process.wait(10)
