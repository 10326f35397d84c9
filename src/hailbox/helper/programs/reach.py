"""The program of the helper that looks, from the network name space of a container, at what can be reached there.

Its arguments are `HOST:PORT`, each a TCP server. Prints one word for each: `open`, `refused` (the host answers and
nothing listens), `unknown` (no name server knows the host) or `silent` (no packet comes back). It runs in a container
and has the standard library only.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

_PATIENCE = 2.0
"""Seconds for one connection; on one host it takes less than a millisecond."""

_NO_HOST = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)


def connect(target: str) -> str:
    """What becomes of a connection to that server."""
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except socket.gaierror:
        return "unknown"
    except OSError as error:
        silent = isinstance(error, TimeoutError) or error.errno in _NO_HOST
        return "silent" if silent else "refused"
    return "open"


def main(arguments: Sequence[str]) -> int:
    """Print what was found; the exit status."""
    with ThreadPoolExecutor(max_workers=len(arguments) or 1) as pool:
        print(*pool.map(connect, arguments))  # noqa: T201
    return 0
