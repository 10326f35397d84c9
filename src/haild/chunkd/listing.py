"""LIST: the XML of one user's objects in a table, written to a file before it is sent.

Its length must be known first, and a client that reads slowly must not hold a transaction open.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from haild.chunkd.catalog import snapshot
from haild.wire import chunklist

_QUERY: Final = "SELECT key, mtime, sha1, size FROM objects WHERE table_id = ? AND owner = ?"


@dataclass(frozen=True)
class Listing:
    """A listing in a nameless file; `size` in bytes. Whoever holds it closes the file."""

    file: IO[bytes]
    size: int


def write_listing(catalog: Path, table: int, user: bytes, scratch: Path) -> Listing:
    """List the objects of `user` in the table, as of now, into a file in the directory `scratch`.

    Raises OSError, CatalogError and sqlite3.Error.
    """
    file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - handed to the caller
    try:
        file.write(chunklist.HEAD)
        with snapshot(catalog) as database:
            for key, mtime, sha1, size in database.execute(_QUERY, (table, user)):
                name = key.partition(b"\0")[0]
                file.write(chunklist.entry(chunklist.ListedObject(name, mtime, sha1, size, user)))
        file.write(chunklist.TAIL)
        file.flush()
        return Listing(file, file.tell())
    except BaseException:
        file.close()
        raise
