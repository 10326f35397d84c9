"""A real stack for the tests of tabled: cld, chunkd nodes and tabled as processes on loopback, with free ports."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from support.ports import free_port

DEADLINE = 60.0
_session = boto3.Session()  # one for all: reading the model of S3 takes longest
USERS = {"alice": "sesame", "bob": "builder"}


def wait_for(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """The first true value of `condition`; fails, naming `what`, after `deadline` seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline} s: {what}")


class Process:
    """One daemon, its log, and the port it chose."""

    def __init__(self, module: str, arguments: list[str], log: Path, port_file: Path) -> None:
        self.module = module
        self.arguments = arguments
        self.log = log
        self.port_file = port_file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments], stdout=log, stderr=log, env=os.environ
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def port(self) -> int:
        def read() -> str:
            return self.port_file.read_text() if self.port_file.exists() else ""

        return int(wait_for(read, f"port file of {self.module}").strip().rpartition(":")[2])

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(DEADLINE)
        self.process = None
        return status

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE)
            self.process = None


class Stack:
    """cld, some chunkd nodes and one tabled (more with `add_tabled`) in one directory."""

    def __init__(
        self,
        directory: Path,
        nodes: int = 1,
        settings: str = "",
        *,
        users: Mapping[str, str] = USERS,
        keys: tuple[str, str] | None = None,
        debug: bool = False,
        same_ports: bool = False,
    ) -> None:
        """`settings`: further elements of tabled's configuration; `keys`: of tabled in cld and on the nodes.

        `same_ports`: each tabled has the same port whenever it is started, in place of one that it chooses.
        """
        self.directory = directory
        self.settings = settings
        self.users = users
        self.keys = keys
        self.debug = debug
        self.same_ports = same_ports
        (directory / "cld").mkdir()
        (directory / "tdb").mkdir()
        (directory / "users").write_text("".join(f"{user}\t{key}\n" for user, key in users.items()))
        arguments = ["-F", "-E", "-d", str(directory / "cld"), "-p", str(free_port())]
        arguments += ["--port-file", str(directory / "cld.port"), "-P", str(directory / "cld.pid")]
        if keys is not None:
            for name, key in zip(("cld.users", "chunkd.users"), keys, strict=True):
                (directory / name).write_text(f"tabled\t{key}\n")
            arguments += ["--secrets", str(directory / "cld.users")]
            self.settings += f"<CLDKey>{keys[0]}</CLDKey><ChunkKey>{keys[1]}</ChunkKey>"
        self.cld = Process("haild.cld", arguments, directory / "cld.log", directory / "cld.port")
        self.cld.start()
        self.chunkd = [self._chunkd(number) for number in range(1, nodes + 1)]
        self.tableds: list[Process] = []
        self.tabled = self.add_tabled("one")

    def _cld_element(self) -> str:
        return f"<CLD><Host>127.0.0.1</Host><Port>{self.cld.port}</Port></CLD>"

    def _chunkd(self, number: int) -> Process:
        directory = self.directory / f"chunk{number}"
        directory.mkdir()
        configuration = directory.with_suffix(".conf")
        port_file = directory.with_suffix(".port")
        configuration.write_text(
            f"<Listen><Port>auto</Port><Node>127.0.0.1</Node><PortFile>{port_file}</PortFile></Listen>"
            f"<PID>{directory}.pid</PID><Path>{directory}</Path><NID>{number}</NID>"
            f"<InfoPath>/chunk-default/{number}</InfoPath>{self._cld_element()}"
            + (f"<CLDKey>{self.keys[0]}</CLDKey><Users>{self.directory}/chunkd.users</Users>" if self.keys else "")
        )
        process = Process(
            "haild.chunkd", ["-F", "-E", "-C", str(configuration)], directory.with_suffix(".log"), port_file
        )
        process.start()
        return process

    def add_tabled(self, name: str, tdb: str = "tdb") -> Process:
        configuration = self.directory / f"{name}.conf"
        port_file = self.directory / f"{name}.port"
        port = str(free_port()) if self.same_ports else "auto"
        configuration.write_text(
            f"<TDB>{self.directory / tdb}</TDB><PID>{self.directory / name}.pid</PID><ForceHost>s3.local</ForceHost>"
            f"<TDBRepName>{name}</TDBRepName><Users>{self.directory / 'users'}</Users>"
            f"<Listen><Port>{port}</Port><PortFile>{port_file}</PortFile></Listen>{self._cld_element()}{self.settings}"
        )
        log = self.directory / f"{name}.log"
        arguments = [*(["-D", "2"] if self.debug else []), "-F", "-E", "-C", str(configuration)]
        process = Process("haild.tabled", arguments, log, port_file)
        process.start()
        self.tableds.append(process)
        return process

    def revive(self) -> None:
        """As it was when it was new, but for the data: a test that failed half-way may have left it otherwise."""
        for member in self.tableds[1:]:
            member.kill()
        del self.tableds[1:]
        for process in [self.cld, *self.chunkd, self.tabled]:
            if not process.alive:
                process.start()
        self.wait_serving()

    def log(self, process: Process) -> str:
        return process.log.read_text()

    def wait_nodes(self, process: Process | None = None) -> None:
        """Until tabled has seen all nodes come up."""
        process = process or self.tabled
        count = len(self.chunkd)
        wait_for(lambda: self.log(process).count(" is up") >= count, "all storage nodes up")

    def wait_serving(self, process: Process | None = None) -> int:
        """Until the client port takes connections; returns it."""
        port = (process or self.tabled).port

        def connected() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(connected, "tabled listens")
        return port

    def client(self, user: str = "alice", process: Process | None = None, **options: Any) -> Any:
        """A boto3 client."""
        port = (process or self.tabled).port
        return _session.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=user,
            aws_secret_access_key=self.users.get(user, "wrong"),
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, **options),
        )

    def close(self) -> None:
        for process in [*self.tableds, *self.chunkd, self.cld]:
            process.kill()


@contextmanager
def serving(directory: Path, nodes: int = 1, settings: str = "", **options: Any) -> Iterator[Stack]:
    """A stack that serves and has found all its nodes; it is closed with the block. `options`: those of Stack."""
    stack = Stack(directory, nodes, settings, **options)
    try:
        stack.wait_serving()
        stack.wait_nodes()
        yield stack
    finally:
        stack.close()


def bucket_of(s3: Any, request: pytest.FixtureRequest) -> str:
    """A new bucket for one test, named after it."""
    name = "b" + hashlib.sha1(request.node.name.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name
