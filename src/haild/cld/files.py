"""The tree of files and directories (cld.md section 9).

Metadata and the data of directories stay in memory; contents of files do up to a limit and are loaded again when
they are asked for. Every change is noted in `Changes`.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from haild.cld.changes import Changes, Table
from haild.cld.refusal import RefusedError
from haild.wire.cld import messages as cld
from haild.wire.cld.messages import ErrorCode

ROOT: Final = 10
_RESERVED: Final = 50
MAXIMUM_INODES: Final = 100_000
RESIDENT: Final = 32 << 20
"""Bytes of file contents that are kept in memory."""


def valid_path(path: bytes) -> bool:
    """Whether `path` may name a file or directory (9.1)."""
    if path == b"/":
        return True
    return path.startswith(b"/") and not path.endswith(b"/") and b"//" not in path


def parent_of(path: bytes) -> bytes:
    """Path of the directory that holds `path`."""
    return path.rpartition(b"/")[0] or b"/"


@dataclass(slots=True)
class Inode:
    """A file or directory. `written`: it ever had content, or (a directory) a child."""

    inum: int
    version: int
    created: int
    modified: int
    flags: int
    path: bytes
    data: bytes | None = None
    written: bool = False

    @property
    def is_directory(self) -> bool:
        return bool(self.flags & cld.INODE_DIRECTORY)


class FileTree:
    """All inodes. `load(inum)` returns the stored content of a file that is not in memory."""

    def __init__(self, changes: Changes, rng: random.Random, load: Callable[[int], bytes]) -> None:
        self.changes = changes
        self._rng = rng
        self._load = load
        self._paths: dict[bytes, Inode] = {}
        self._numbers: dict[int, Inode] = {}
        self._resident: OrderedDict[int, int] = OrderedDict()
        self._resident_size = 0

    def restore(self, inodes: Iterable[Inode], now: int) -> None:
        """Take the stored inodes; make the root where there is none (`now`: seconds since 1970)."""
        for inode in inodes:
            self._enter(inode)
        if ROOT not in self._numbers:
            root = Inode(ROOT, 1, now, now, cld.INODE_DIRECTORY, b"/")
            self._enter(root)
            self._note(root)

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, path: bytes) -> Inode | None:
        """The inode at `path`, if any."""
        return self._paths.get(path)

    def paths(self) -> list[bytes]:
        """Every path."""
        return list(self._paths)

    def number(self, inum: int) -> Inode | None:
        """The inode with that number, if it is still there."""
        return self._numbers.get(inum)

    def content(self, inode: Inode) -> bytes:
        """What GET returns."""
        if inode.data is None:
            if not inode.written:
                return b""
            inode.data = self._load(inode.inum)
        if not inode.is_directory:
            self._use(inode.inum, len(inode.data))
        return inode.data

    def create(self, path: bytes, *, directory: bool, now: int) -> tuple[Inode, Inode]:
        """Make an inode at version 0, enter it in its parent. Returns it and the parent; neither is touched yet.

        Raises RefusedError: no parent, parent is a file, directory full, tree full.
        """
        parent = self._paths.get(parent_of(path))
        if parent is None:
            raise RefusedError(ErrorCode.DB_ERR)
        if not parent.is_directory:
            raise RefusedError(ErrorCode.MODE_INVAL)
        data = self.content(parent) + cld.directory_record(path.rpartition(b"/")[2])
        if len(data) > cld.MAXIMUM_DATA:
            raise RefusedError(ErrorCode.DB_ERR)
        if len(self._numbers) >= MAXIMUM_INODES:
            raise RefusedError(ErrorCode.OOM)
        inum = self._rng.randrange(_RESERVED + 1, 1 << 31)
        while inum in self._numbers:
            inum = self._rng.randrange(_RESERVED + 1, 1 << 31)
        inode = Inode(inum, 0, now, now, cld.INODE_DIRECTORY if directory else 0, path)
        self._enter(inode)
        self._write(parent, data)
        return inode, parent

    def write(self, inode: Inode, data: bytes) -> None:
        """Replace the content of a file; it is not touched yet."""
        self._write(inode, data)
        self._use(inode.inum, len(data))

    def touch(self, inode: Inode, now: int) -> None:
        """Count a change (section 9: version and time of modification)."""
        inode.version += 1
        inode.modified = now
        self._note(inode)

    def remove(self, path: bytes) -> tuple[Inode, Inode]:
        """Check what DEL checks. Returns the inode and its parent; `take_out` then removes it."""
        if not valid_path(path) or path == b"/":
            raise RefusedError(ErrorCode.NAME_INVAL)
        parent = self._paths.get(parent_of(path))
        if parent is None:
            raise RefusedError(ErrorCode.DB_ERR)
        inode = self._paths.get(path)
        if inode is None:
            raise RefusedError(ErrorCode.NAME_INVAL if parent.written else ErrorCode.DB_ERR)
        if inode.is_directory and self.content(inode):
            raise RefusedError(ErrorCode.DIR_NOTEMPTY)
        return inode, parent

    def take_out(self, inode: Inode, parent: Inode) -> None:
        """Remove an inode and its name in the parent, which is not touched yet."""
        name = inode.path.rpartition(b"/")[2]
        data = self.content(parent)
        offset = 0
        for other in cld.directory_names(data):
            size = len(cld.directory_record(other))
            if other == name:
                self._write(parent, data[:offset] + data[offset + size :])
                break
            offset += size
        del self._paths[inode.path]
        del self._numbers[inode.inum]
        self._forget(inode.inum)
        self.changes.delete(Table.INODES, (inode.inum,))
        if inode.written:
            self.changes.delete(Table.CONTENTS, (inode.inum,))

    def evict(self, is_stored: Callable[[int], bool]) -> None:
        """Drop contents, the longest unused first, until the limit is kept; only those that are stored by now."""
        for inum in list(self._resident):
            if self._resident_size <= RESIDENT:
                return
            if is_stored(inum):
                self._numbers[inum].data = None
                self._forget(inum)

    def _enter(self, inode: Inode) -> None:
        self._paths[inode.path] = inode
        self._numbers[inode.inum] = inode

    def _write(self, inode: Inode, data: bytes) -> None:
        inode.data = data
        inode.written = True
        self.changes.put(Table.CONTENTS, (inode.inum,), (data,))

    def _note(self, inode: Inode) -> None:
        row = (inode.version, inode.created, inode.modified, inode.flags, inode.path)
        self.changes.put(Table.INODES, (inode.inum,), row)

    def _use(self, inum: int, size: int) -> None:
        self._resident_size += size - self._resident.get(inum, 0)
        self._resident[inum] = size
        self._resident.move_to_end(inum)

    def _forget(self, inum: int) -> None:
        self._resident_size -= self._resident.pop(inum, 0)
