"""The program of the helper that checks a snapshot: it prints a digest of each directory of `/from`, as JSON.

The digest covers the paths, kinds, owners, modes and contents of all files, and not their times. It runs in a
container and has the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

FROM = "/from"
THREADS = 2
"""Hashing releases the interpreter's lock."""


def _entries(folder: str) -> Iterator[str]:
    """Every path below `folder`, and itself as the empty one, in one order on every machine."""
    found = [""]
    for place, folders, files in os.walk(folder):
        found += [os.path.relpath(os.path.join(place, name), folder) for name in (*folders, *files)]
    return iter(sorted(found, key=os.fsencode))


def _line(folder: str, path: str) -> bytes:
    place = os.path.join(folder, path) if path else folder
    info = os.lstat(place)
    content = b""
    if stat.S_ISREG(info.st_mode):
        with open(place, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
    elif stat.S_ISLNK(info.st_mode):
        content = os.fsencode(os.readlink(place))
    head = f"{info.st_mode:o} {info.st_uid} {info.st_gid} ".encode()
    return head + os.fsencode(path) + b"\0" + content + b"\n"


def digest(folder: str) -> str:
    """The digest of all that is in `folder`: 64 hexadecimal digits."""
    total = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool:
        for line in pool.map(lambda path: _line(folder, path), _entries(folder)):
            total.update(line)
    return total.hexdigest()


def main(_arguments: Sequence[str]) -> int:
    """Print the digests by the name of the directory."""
    found = {name: digest(os.path.join(FROM, name)) for name in sorted(os.listdir(FROM))}
    print(json.dumps(found))  # noqa: T201
    return 0
