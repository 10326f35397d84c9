"""Ports for daemons that tests start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 10_000


def free_port() -> int:
    """A TCP port on loopback that no socket has, and that no connection is given as its own end.

    The kernel gives those out of a range of its own. A port of that range, chosen now and bound in a moment, or bound
    again after a kill, is now and then taken by then: by any connection on this machine, for as long as it lives and
    a minute longer.
    """
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 32_768
    for _ in range(1000):
        port = random.SystemRandom().randrange(LOWEST, end)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port from {LOWEST} to {end}")
