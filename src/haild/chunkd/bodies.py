"""Body files: one for each object that is too large for the catalog, named by the object's id.

    incoming/ID      being written, or written and not yet moved to its place
    bodies/XX/ID     in its place; XX are the last two digits of the id
    quarantine/ID    found damaged

A body is written to incoming/, flushed with its directory, made visible by the commit of its row in the
catalog, and then moved. After a crash `recover` finishes the move of what has a row and removes what has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from haild.wire.blockchecksums import BlockChecksums

_FANOUT: Final = 256
FLUSH_SIZE: Final = 1 << 20
"""Bytes after which the disk may begin to write."""


class Bodies:
    """The body files under one directory. All methods block on the file system."""

    def __init__(self, root: Path) -> None:
        self._incoming = root / "incoming"
        self._bodies = root / "bodies"
        self._quarantine = root / "quarantine"

    @property
    def scratch(self) -> Path:
        """Where files may be made whose remains `recover` removes."""
        return self._incoming

    def create(self) -> None:
        """Make the directories that are missing, durably."""
        wanted = (self._incoming, self._quarantine, self._bodies)
        missing = [directory for directory in wanted if not directory.is_dir()]
        for directory in missing:
            os.mkdir(directory)
        if missing:
            sync_directory(self._bodies.parent)

    def any(self) -> bool:
        """Whether there is a body."""
        return any(files for _, _, files in os.walk(self._bodies))

    def incoming(self, number: int) -> Path:
        """Where the body of object `number` is written."""
        return self._incoming / f"{number:016x}"

    def path(self, number: int) -> Path:
        """Where the body of object `number` belongs."""
        return self._bodies / f"{number % _FANOUT:02x}" / f"{number:016x}"

    def quarantined(self, number: int) -> Path:
        """Where the damaged body of object `number` is kept."""
        return self._quarantine / f"{number:016x}"

    def place(self, number: int) -> os.stat_result:
        """Move the body from incoming/ to its place: its row has been committed. Returns its status there."""
        target = self.path(number)
        try:
            os.rename(self.incoming(number), target)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(target.parent)
            sync_directory(self._bodies)
            os.rename(self.incoming(number), target)
        return os.stat(target)

    def discard(self, number: int) -> None:
        """Remove the body from incoming/; that it is missing is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.incoming(number))

    def remove(self, number: int) -> bool:
        """Remove the body; returns False if there is none."""
        try:
            os.unlink(self.path(number))
        except FileNotFoundError:
            return False
        return True

    def remove_all(self, end: int) -> None:
        """Remove every body of a number below `end`, wherever it is."""
        for directory in (self._incoming, self._quarantine, *self._bodies.iterdir()):
            if directory.is_dir():
                for name in os.listdir(directory):
                    number = _number(name)
                    if number is None or number < end:
                        (directory / name).unlink(missing_ok=True)

    def set_aside(self, number: int) -> None:
        """Move the body to quarantine/; that it is missing is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path(number), self.quarantined(number))

    def open(self, number: int) -> int:
        """A descriptor to read the body of a committed object. Raises OSError."""
        # It moves from incoming/ to its place at some moment after the commit, and never back.
        for path in (self.path(number), self.incoming(number)):
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC)

    def copy(self, source: int, number: int) -> None:
        """Put a second name of the body `source` into incoming/, or a copy where there are no hard links."""
        target = self.incoming(number)
        descriptor = self.open(source)
        try:
            os.link(self.path(source), target)
        except OSError:
            with open(descriptor, "rb", closefd=False) as reader, target.open("xb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
                writer.flush()
                os.fsync(writer.fileno())
        finally:
            os.close(descriptor)
        sync_directory(self._incoming)

    def sync_incoming(self) -> None:
        """Flush the names in incoming/."""
        sync_directory(self._incoming)

    def recover(self, committed: Callable[[int], bool], garbage: Iterable[int], damaged: Iterable[int]) -> int:
        """Finish what a crash interrupted. Returns the number of files in question.

        `committed` tells whether an object has a row in the catalog; the bodies of `garbage` are removed,
        those of `damaged` set aside.
        """
        handled = 0
        for name in os.listdir(self._incoming):
            number = _number(name)
            if number is not None and committed(number):
                self.place(number)
            else:
                os.unlink(self._incoming / name)
            handled += 1
        for number in garbage:
            handled += self.remove(number)
        for number in damaged:
            self.set_aside(number)
        return handled


def _number(name: str) -> int | None:
    try:
        return int(name, 16)
    except ValueError:
        return None


def sync_directory(path: Path) -> None:
    """Flush the names in the directory `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class FinishedBody:
    """A body in incoming/ that has been flushed to disk."""

    number: int
    size: int
    sha1: bytes
    checksums: bytes
    """Encoded checksums of its blocks."""
    written: os.stat_result | None = None
    """Of the file as it was flushed; None if what is in it has not been written just now."""


class BodyWriter:
    """Writes one body to incoming/. All methods block; call them one after the other, from any thread."""

    def __init__(self, bodies: Bodies, number: int) -> None:
        self.number = number
        self._bodies = bodies
        self._descriptor = -1
        self._size = 0
        self._begun = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._blocks = BlockChecksums()

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append `pieces`. Raises OSError."""
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._bodies.incoming(self.number), flags, 0o600)
        for piece in pieces:
            self._size += len(piece)
            self._sha1.update(piece)
            self._blocks.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._begin_to_flush()

    def _begin_to_flush(self) -> None:
        """Let the disk work while the rest arrives, so that little is left for the flush at the end."""
        if self._size - self._begun >= FLUSH_SIZE:
            # Linux starts to write what is dirty in the range, and drops from its cache only what is clean.
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(self._descriptor, self._begun, self._size - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._size

    def append(self, pieces: Sequence[bytes | memoryview], last: bool) -> FinishedBody | None:
        """Append `pieces`, and finish the body if they are the `last`. Raises OSError."""
        self.write(pieces)
        return self.finish() if last else None

    def finish(self) -> FinishedBody:
        """Flush the body and its name to disk. Raises OSError."""
        os.fsync(self._descriptor)
        written = os.fstat(self._descriptor)
        self._bodies.sync_incoming()
        self._close()
        return FinishedBody(self.number, self._size, self._sha1.digest(), self._blocks.encode(), written)

    def discard(self) -> None:
        """Remove what has been written; for a body that was not committed."""
        self._close()
        self._bodies.discard(self.number)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
