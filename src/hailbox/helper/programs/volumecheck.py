"""The program of the helper that looks at the volume at `/volume`, and tries to write to it.

Prints `writable`, `full` or `read-only`, then the id of the user who owns the volume, then the version
(`user_version`) of the SQLite database whose path there it is given, of the newest where a number is added to the
name; `-` where there is none. It runs in a container and has the standard library only.
"""

from __future__ import annotations

import errno
import glob
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


def version(database: str) -> str:
    """The version of a database, out of its header (sqlite.org/fileformat2.html, 1.3.14), or `-`."""
    numbers = {int(found) for path in glob.glob(f"{database}-*") if (found := path.rpartition("-")[2]).isdecimal()}
    if numbers:
        database = f"{database}-{max(numbers)}"
    try:
        with open(database, "rb") as stream:
            header = stream.read(100)
    except OSError:
        return "-"
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return "-"
    return str(int.from_bytes(header[60:64], "big"))


def main(arguments: Sequence[str]) -> int:
    """Print what was found; the exit status."""
    print(look(VOLUME), os.stat(VOLUME).st_uid, version(os.path.join(VOLUME, arguments[0])))  # noqa: T201
    return 0
