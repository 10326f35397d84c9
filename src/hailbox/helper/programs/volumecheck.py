"""The program of the helper that tries to write to the volume at `/volume`.

Prints `writable`, `full` or `read-only`. It runs in a container and has the standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

VOLUME = "/volume"

_LEAST = 1 << 20
"""Bytes below which the volume is taken for full: databases need room to write at all."""


def look(volume: str) -> str:
    """What can be done in that directory."""
    found = os.statvfs(volume)
    if found.f_flag & os.ST_RDONLY:
        return "read-only"
    if found.f_bavail * found.f_frsize < _LEAST or not found.f_favail:
        return "full"
    try:
        # A file without a name: the daemon never sees it.
        os.close(os.open(volume, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno == errno.EROFS:
            return "read-only"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "full"
    return "writable"


def main(_arguments: Sequence[str]) -> int:
    """Print what was found; the exit status."""
    print(look(VOLUME))  # noqa: T201
    return 0
