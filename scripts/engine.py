"""Have a Docker engine that answers: install and start one where there is none and we may.

Does nothing where the engine answers, whether that is the local one or the one that DOCKER_HOST names.
Needs only the standard library, so that it can be the first step on a bare machine.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from steps import SetupError, install_packages, is_root, main, run, step

SOCKET = Path("/var/run/docker.sock")
LOG = Path("/var/log/hailbox-dockerd.log")
PID_FILES = {
    "dockerd": Path("/var/run/docker.pid"),
    "containerd": Path("/var/run/docker/containerd/containerd.pid"),
}
START_DEADLINE = 120.0
"""Seconds. After a kill dockerd first stops the containers it left: ten seconds for those that ignore SIGTERM."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection() -> http.client.HTTPConnection | None:
    """The engine's address as a connection; None if only the docker client knows how to reach it (ssh, TLS)."""
    host = os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"
    if host.startswith("unix://"):
        return _UnixConnection(host.removeprefix("unix://"))
    if host.startswith("tcp://") and not os.environ.get("DOCKER_TLS_VERIFY"):
        return http.client.HTTPConnection(host.removeprefix("tcp://").rstrip("/"), timeout=10)
    return None


def get(path: str) -> int:
    """Ask the engine; the status of its answer, 0 if there is none."""
    connection = _connection()
    if connection is None:
        return 200 if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0 else 0
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except PermissionError as error:
        raise SetupError(
            f"the engine refuses us ({error}): add yourself to the group `docker`, or use sudo"
        ) from None
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def answers() -> bool:
    """Whether the engine answers its ping."""
    return get("/_ping") == 200


def _program(pid_file: Path) -> str | None:
    """The name of the program whose process a pid file names; None if that process ended, or waits to be reaped."""
    try:
        stat = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text()
    except (OSError, ValueError):
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return None if rest.split()[0] == "Z" else name


def _clear_remains() -> bool:
    """Remove what an engine that was killed left in the way of the next; whether one is still alive.

    dockerd refuses to start while there is a process with the number in its pid file, even if that is another
    program by now, and waits in vain for a containerd whose pid file names another program.
    """
    for program, pid_file in PID_FILES.items():
        if _program(pid_file) != program:
            pid_file.unlink(missing_ok=True)
    return PID_FILES["dockerd"].exists()


def _start() -> subprocess.Popen[bytes] | None:
    """Start the engine in the background, out of reach of this session's signals."""
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
        return None
    with LOG.open("ab") as log:
        return subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )


def _await_answer(process: subprocess.Popen[bytes] | None) -> bool:
    """Wait until the engine answers; False if it ended or START_DEADLINE passed first."""
    deadline = time.monotonic() + START_DEADLINE
    while not answers():
        # The package's own start may have been quicker than ours; then ours ends, and that one answers.
        ended = process is not None and process.poll() is not None and not _clear_remains()
        if ended or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def start() -> None:
    """Start dockerd and wait until it answers. Raises SetupError with the engine's last line."""
    process = None if _clear_remains() else _start()
    if _await_answer(process):
        return
    if process is not None and process.poll() is None:
        process.terminate()
    lines = LOG.read_text(errors="replace").splitlines() if LOG.exists() else []
    last = lines[-1] if lines else "it logged nothing"
    raise SetupError(f"dockerd does not answer ({last}); its log is {LOG}")


def check_may_install() -> None:
    """Raise SetupError with what to do where an engine is not ours to install or start."""
    host = os.environ.get("DOCKER_HOST")
    if host and host != f"unix://{SOCKET}":
        raise SetupError(f"no engine answers at DOCKER_HOST={host}: start it, or unset DOCKER_HOST")
    if not shutil.which("apt-get"):
        raise SetupError("no Docker engine answers: install and start Docker (20.10 or later), then run this again")
    if not is_root():
        raise SetupError(
            "no Docker engine answers: start it with `sudo systemctl start docker`, or install one with "
            "`sudo apt-get install --no-install-recommends docker.io iptables mmdebstrap`, then run this again"
        )


def body() -> None:
    """Have an engine that answers."""
    started = time.monotonic()
    if answers():
        print(f"engine: answers ({time.monotonic() - started:.1f} s)", flush=True)
        return
    check_may_install()
    if not (shutil.which("dockerd") and shutil.which("iptables")):
        with step("engine", "installed docker.io, iptables and mmdebstrap"):
            install_packages(
                ["docker.io", "iptables", "mmdebstrap", "debian-archive-keyring"], "no Docker engine answers"
            )
    with step("engine", "started"):
        start()


if __name__ == "__main__":
    main(body)
