"""Flipping bytes of a file in a replica's data volume, and flipping them back.

Whether the bytes are flipped is seen from themselves, so an agent that is started again goes on where it was. What
the daemon wrote there since, or a file that it has replaced, is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hailbox.helper.programs.fault.run import run

_METADATA = (".db", "-wal", "-shm", ".sqlite", "-journal", ".lock")
_LENGTH = 64


def choose(root: Path, wanted: str) -> dict[str, Any]:
    """Which bytes of which file below `root` to flip: of `wanted` (relative), else of the largest that holds no
    metadata. Raises FileNotFoundError."""
    names = [wanted] if wanted else sorted(_bodies(root), key=lambda name: (root / name).stat().st_size)
    if not names or not (path := root / names[-1]).is_file() or not path.resolve().is_relative_to(root):
        raise FileNotFoundError(
            wanted
            or "no object there has a file of its own to corrupt; store a larger one (chunkd keeps bodies of up to "
            "32 KiB among its metadata), or name a file with --file"
        )
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            raise FileNotFoundError(f"{names[-1]} is empty")
        offset = max(0, size // 2 - _LENGTH // 2)
        stream.seek(offset)
        found = stream.read(_LENGTH)
    return {"file": names[-1], "offset": offset, "length": len(found), "digest": _digest(found)}


def _bodies(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.name.endswith(_METADATA) and path.stat().st_size:
                yield str(path.relative_to(root))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def flipped(content: bytes) -> bytes:
    """Every bit the other way round."""
    return bytes(byte ^ 0xFF for byte in content)


class Corruption:
    """Arguments: `root`, and what `choose` returned."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._path = Path(arguments["root"]) / arguments["file"]
        self._offset: int = arguments["offset"]
        self._length: int = arguments["length"]
        self._digest: str = arguments["digest"]

    def _read(self) -> bytes:
        with self._path.open("rb") as stream:
            return os.pread(stream.fileno(), self._length, self._offset)

    def _flip(self, content: bytes) -> None:
        with self._path.open("r+b") as stream:
            os.pwrite(stream.fileno(), flipped(content), self._offset)
            os.fsync(stream.fileno())

    def begin(self) -> None:
        content = self._read()
        if _digest(content) == self._digest:
            self._flip(content)
        elif _digest(flipped(content)) != self._digest:
            raise OSError(f"{self._path} has changed since it was looked at")

    def readable(self) -> Sequence[int]:
        return ()

    def step(self) -> float:
        return 3600.0

    def end(self) -> None:
        with contextlib.suppress(OSError):
            content = self._read()
            if _digest(flipped(content)) == self._digest:
                self._flip(content)


def main(arguments: Sequence[str]) -> int:
    """Make the fault until it is ended; `arguments` holds one text, JSON. Returns the exit status."""
    return run(Corruption, arguments[0])
