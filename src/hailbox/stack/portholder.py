"""Who holds a port of this host: a container, or a process as far as we may see."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hailbox.engine.port import Engine

Usable = Callable[[int], bool]

_LISTENING: Final = "0A"
"""State of a listening TCP socket in /proc/net/tcp (proc_net_tcp(5))."""


def describe(engine: Engine, number: int, protocols: tuple[str, ...]) -> str:
    """One phrase that names the holder: container, process, or that it is unknown."""
    for container in engine.containers({}):
        if any(port.host_port == number and port.protocol in protocols for port in container.ports):
            return f"the container {container.name} (image {container.image})"
    if sys.platform == "linux" and (process := _process(number, protocols)):
        return process
    return "a program that this user cannot see"


def _inodes(number: int, protocols: tuple[str, ...]) -> set[str]:
    found = set()
    for protocol in protocols:
        for table in (protocol, f"{protocol}6"):
            try:
                lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
            except OSError:
                continue
            for line in lines:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == number and (protocol == "udp" or fields[3] == _LISTENING):
                    found.add(f"socket:[{fields[9]}]")
    return found


def _sockets(process: Path) -> Iterator[str]:
    for entry in (process / "fd").iterdir():
        # One that is closed meanwhile must not hide the others.
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(entry)


def _process(number: int, protocols: tuple[str, ...]) -> str | None:
    inodes = _inodes(number, protocols)
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if not inodes.isdisjoint(_sockets(process)):
                return f"the program {(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return None
