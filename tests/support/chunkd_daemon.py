"""Runs the real chunkd as a subprocess for the tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

DEADLINE = 15.0
FEW_DESCRIPTORS = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
runpy.run_module("haild.chunkd", run_name="__main__")
"""
"""A launcher that leaves room for 32 connections."""


class Daemon:
    """A chunkd on a directory of its own. `start` it as often as you like."""

    def __init__(self, directory: Path, extra: str = "", launcher: Sequence[str] = ("-m", "haild.chunkd")) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.port_file = directory / "chunkd.port"
        self.log = directory / "log"
        self.launcher = list(launcher)
        self.process: subprocess.Popen[bytes] | None = None
        self.configuration = directory / "chunkd.conf"
        self.configuration.write_text(
            f"<Listen><Port>auto</Port><Node>127.0.0.1</Node><PortFile>{self.port_file}</PortFile></Listen>\n"
            f"<PID>{directory / 'pid'}</PID><Path>{self.data}</Path><InfoPath>/chunk-test/1</InfoPath>\n{extra}"
        )

    def start(self, *, wait: bool = True, environment: dict[str, str] | None = None) -> None:
        self.port_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.launcher, "-F", "-E", "-C", str(self.configuration)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(environment or {})},
            )
        if wait:
            eventually(self._is_up, "chunkd is up")

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"chunkd ended: {self.log.read_text()}")
        return self.port_file.exists()

    @property
    def port(self) -> int:
        return int(self.port_file.read_text())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE)

    def resident(self) -> int:
        """Bytes of memory in use."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextlib.contextmanager
def running(directory: Path, extra: str = "") -> Iterator[Daemon]:
    """A started daemon, killed at the end."""
    daemon = Daemon(directory, extra)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


def eventually(condition: object, what: str, deadline: float = DEADLINE) -> None:
    """Wait until `condition()` is true."""
    assert callable(condition)
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


def receive(sock: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or fewer if the connection ends."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return bytes(data)
