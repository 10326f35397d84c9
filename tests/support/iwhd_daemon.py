"""Runs real daemons on loopback for the tests of iwhd, and talks to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.ports import free_port

START_DEADLINE = 20.0
STOP_DEADLINE = 5.0

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def eventually(condition: Callable[[], bool], what: str, deadline: float = START_DEADLINE) -> None:
    """Wait until `condition` holds; fails the test if it does not within `deadline` seconds."""
    end = time.monotonic() + deadline
    pause = 0.005
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Process:
    """A daemon as a subprocess, serving on `port`."""

    def __init__(self, module: str, arguments: Sequence[str], port: int, directory: Path) -> None:
        self.module = module
        self.arguments = list(arguments)
        self.port = port
        self.directory = directory
        self.log = directory / f"{module}-{port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        command = [sys.executable, "-m", self.module, *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        if wait:
            try:
                eventually(self.answers, f"{self.module} serves")
            except AssertionError as error:
                raise AssertionError(f"{error}; its log ends: {self.log.read_text()[-2000:]}") from error

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_DEADLINE)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_DEADLINE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Iwhd(Process):
    """An image warehouse with the given providers and rules of access (None: those without an access section)."""

    def __init__(
        self,
        directory: Path,
        providers: Sequence[Mapping[str, Any]],
        *options: str,
        access: Mapping[str, Any] | None = None,
    ) -> None:
        directory.mkdir(exist_ok=True)
        configuration = directory / "conf.js"
        configuration.write_text(
            json.dumps(providers if access is None else {"providers": providers, "access": access})
        )
        port = free_port()
        fixed = ["-c", str(configuration), "-d", f"{directory}/_db", "-p", str(port)]
        super().__init__("haild.iwhd", [*fixed, *options], port, directory)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}), **options)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def raw(self, data: bytes, *, leave: bool = False) -> bytes:
        """Send bytes as they are; returns everything until the daemon closes. `leave` closes our end at once."""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(data)
            if leave:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while block := connection.recv(65536):
                answer += block
            return answer


def fs(directory: Path, name: str = "primary", **more: str) -> dict[str, str]:
    """Configuration of a directory as provider; makes the directory."""
    path = directory / name
    path.mkdir(parents=True, exist_ok=True)
    return {"name": name, "type": "fs", "path": str(path), **more}


@contextlib.contextmanager
def running(daemon: Iwhd) -> Iterator[Iwhd]:
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


def memory_peak(process: Process) -> int:
    """The most memory that a running process ever had resident, in bytes."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def processor_seconds(process: Process) -> float:
    """Seconds of processor time that a running process has used."""
    assert process.process is not None
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
