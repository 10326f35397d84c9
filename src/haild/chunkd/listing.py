"""LIST: the XML of one user's objects in a table, written to a file before it is sent.

Its length must be known first, and a client that reads slowly must not hold a transaction open.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from haild.chunkd.catalog import snapshot
from haild.wire.chunk import listing as chunklist

LONG: Final = 1 << 16
"""Bytes of a listing that goes through a file."""
_QUERY: Final = "SELECT key, mtime, sha1, size FROM objects WHERE table_id = ? AND owner = ?"


@dataclass(frozen=True)
class Listing:
    """A listing of `size` bytes: a short one as text, a long one in a nameless file that the holder closes."""

    size: int
    text: bytes = b""
    file: IO[bytes] | None = None


def write_listing(catalog: Path, table: int, user: bytes, scratch: Path) -> Listing:
    """List the objects of `user` in the table, as of now; a long listing is a file in the directory `scratch`.

    Raises OSError, CatalogError and sqlite3.Error.
    """
    with snapshot(catalog) as database:
        pieces = _pieces(database.execute(_QUERY, (table, user)), user)
        text = bytearray()
        for piece in pieces:
            text += piece
            if len(text) > LONG:
                return _write_file(text, pieces, scratch)
    return Listing(len(text), text=bytes(text))


def _pieces(rows: Iterable[tuple[bytes, int, bytes, int]], user: bytes) -> Iterator[bytes]:
    yield chunklist.HEAD
    for key, mtime, sha1, size in rows:
        yield chunklist.entry(chunklist.ListedObject(key.partition(b"\0")[0], mtime, sha1, size, user))
    yield chunklist.TAIL


def _write_file(begun: bytearray, pieces: Iterator[bytes], scratch: Path) -> Listing:
    file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - handed to the caller
    try:
        file.write(begun)
        file.writelines(pieces)
        file.flush()
        return Listing(file.tell(), file=file)
    except BaseException:
        file.close()
        raise
