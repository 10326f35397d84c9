"""cld, chunkd and tabled as processes on loopback: what is measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Of the servers: a start is measured as it is from the second on, with compiled modules."""
TICK = os.sysconf("SC_CLK_TCK")


def wait_for_file(path: Path, process: subprocess.Popen[bytes]) -> str:
    """The text of a port file, once there is one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text().strip()):
            return text
        if process.poll() is not None:
            raise SystemExit(f"{path.stem} has ended")
        time.sleep(0.005)
    raise SystemExit(f"no {path}")


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """MiB that a process has had in memory at most."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) >> 10
    return 0


class Stack:
    """The daemons. `close` ends them."""

    def __init__(self, directory: Path, nodes: int = 1) -> None:
        self.directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        (directory / "cld").mkdir()
        (directory / "tdb").mkdir()
        (directory / "users").write_text("alice\tsesame\n")
        port_file = directory / "cld.port"
        options = ["-F", "-E", "-d", str(directory / "cld"), "-p", "auto", "--port-file", str(port_file)]
        cld = self._start("cld", *options, "-P", str(directory / "cld.pid"))
        self._cld = f"<CLD><Host>{HOST}</Host><Port>{wait_for_file(port_file, cld)}</Port></CLD>"
        self.chunkds = [self._chunkd(number) for number in range(1, nodes + 1)]
        self.start_tabled()

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", f"haild.{name}", *arguments]
            process = subprocess.Popen(command, stderr=log, stdout=log, env=ENVIRONMENT)
        self.processes.append(process)
        return process

    def _chunkd(self, number: int) -> subprocess.Popen[bytes]:
        path = self.directory / f"chunk{number}"
        path.mkdir()
        file = path.with_suffix(".conf")
        file.write_text(
            f"<Listen><Port>auto</Port><Node>{HOST}</Node><PortFile>{path}.port</PortFile></Listen>"
            f"<PID>{path}.pid</PID><Path>{path}</Path><NID>{number}</NID>"
            f"<InfoPath>/chunk-default/{number}</InfoPath>{self._cld}"
        )
        process = self._start("chunkd", "-F", "-E", "-C", str(file))
        wait_for_file(path.with_suffix(".port"), process)
        return process

    def start_tabled(self) -> None:
        """Start tabled; returns when its port is known, which is before it listens."""
        file, port_file = self.directory / "tabled.conf", self.directory / "tabled.port"
        port_file.unlink(missing_ok=True)
        file.write_text(
            f"<TDB>{self.directory / 'tdb'}</TDB><PID>{self.directory / 'tabled.pid'}</PID>"
            f"<Users>{self.directory / 'users'}</Users><ForceHost>localhost</ForceHost>"
            f"<Listen><Port>auto</Port><PortFile>{port_file}</PortFile></Listen>{self._cld}"
        )
        self.server = self._start("tabled", "-F", "-E", "-C", str(file))
        self.port = int(wait_for_file(port_file, self.server).rpartition(":")[2])

    def stop_tabled(self) -> None:
        """Stop tabled in order."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(10)
        self.processes.remove(self.server)

    def measured(self) -> Mapping[str, list[subprocess.Popen[bytes]]]:
        """The processes whose processor time counts, by name."""
        return {"tabled": [self.server], "chunkd": self.chunkds}

    def memory(self) -> int:
        """MiB that tabled and the nodes have had in memory at most."""
        return sum(map(peak_memory, [self.server, *self.chunkds]))

    def restart(self) -> None:
        """Stop tabled in order and start it; returns before it serves."""
        self.stop_tabled()
        self.start_tabled()

    def close(self) -> None:
        """Stop all, the last started first."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            process.wait(10)
