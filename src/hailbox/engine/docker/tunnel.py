"""Ways from ports of this machine's loopback to those of a machine that ssh reaches.

One ssh process for each set of ports (ssh(1), -L). It ends with us, however we end: what it runs over there reads
our end of a pipe.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import IO, Final

from hailbox import surroundings
from hailbox.engine.docker import ssh
from hailbox.model.errors import EngineUnreachableError, PortTakenError

LOOPBACK: Final = "127.0.0.1"
_OPENED: Final = b"open\n"
_PROGRAM: Final = "echo open; exec cat >/dev/null"
_DEADLINE: Final = 60.0
"""Seconds until ssh is through; a user may have to type a password."""
_TRIES: Final = 3
"""Another program may take a free port between our choice and ssh's."""


class Tunnel:
    """Ways to the machine of one address, `ssh://[USER@]HOST[:PORT]`. One thread at a time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._ways: dict[int, int] = {}
        self._programs: list[subprocess.Popen[bytes]] = []
        atexit.register(self.close)

    def reach(self, ports: Iterable[int], *, same: bool = False) -> Mapping[int, int]:
        """For each of those ports of the machine one of ours that leads there, until `close` or our end.

        With `same` it has the same number. Raises PortTakenError if that is not free here, and
        EngineUnreachableError if ssh does not get through.
        """
        wanted = sorted(set(ports))
        if self._programs and any(program.poll() is not None for program in self._programs):
            self.close()
        missing = [port for port in wanted if port not in self._ways]
        if missing:
            self._ways |= self._open(missing, same=same)
        return {port: self._ways[port] for port in wanted}

    def await_end(self) -> None:
        """Return when ssh has ended: the other machine is out of reach."""
        for program in self._programs:
            program.wait()

    def close(self) -> None:
        """End all ways."""
        for program in self._programs:
            _end(program)
        self._programs.clear()
        self._ways.clear()

    def _open(self, ports: list[int], *, same: bool) -> dict[int, int]:
        for tries_left in reversed(range(_TRIES)):
            ways = {port: port if same else _free_port() for port in ports}
            with tempfile.TemporaryFile(dir=surroundings.temporary_directory()) as said:
                program = self._start(ways, said)
                if _through(program):
                    self._programs.append(program)
                    return ways
                _end(program)
                said.seek(0)
                words = said.read().decode(errors="replace").strip().splitlines()
            if taken := [ours for ours in ways.values() if not _is_free(ours)]:
                if tries_left and not same:
                    continue
                raise PortTakenError(
                    f"port {taken[0]} of this machine is held by another program, so it cannot lead to "
                    f"{self._address}",
                    "end that program, or give the stack another port in hailbox.yaml and run: hailbox up",
                )
            break
        raise EngineUnreachableError(
            f"ssh does not get through to {self._address}: {words[-1] if words else 'it said nothing'}",
            f"see what this says: ssh {' '.join(ssh.destination(self._address))} true",
        )

    def _start(self, ways: Mapping[int, int], said: IO[bytes]) -> subprocess.Popen[bytes]:
        forwards = [word for port, ours in ways.items() for word in ("-L", f"{LOOPBACK}:{ours}:{LOOPBACK}:{port}")]
        # A connection of its own: what is forwarded through the user's master would stay after us.
        options = ["-T", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none", "-o", "ServerAliveInterval=5"]
        return subprocess.Popen(
            [ssh.program(), *options, *forwards, *ssh.destination(self._address), _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=surroundings.ROOT,
            env=ssh.environment(),
        )


def _through(program: subprocess.Popen[bytes]) -> bool:
    """Wait until the other side has answered; False if ssh ended, or took too long."""
    deadline = time.monotonic() + _DEADLINE
    answer = b""
    while program.stdout is not None and (left := deadline - time.monotonic()) > 0:
        if not select.select([program.stdout], [], [], left)[0]:
            return False
        piece = os.read(program.stdout.fileno(), 4096)
        answer += piece
        if not piece or answer.endswith(_OPENED):
            return bool(piece)
    return False


def _end(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    program.wait()
    for stream in (program.stdin, program.stdout):
        if stream is not None:
            stream.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
