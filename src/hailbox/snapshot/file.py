"""A snapshot as one file: a tar archive, compressed with Zstandard.

Its first member, `hailbox-snapshot.json`, says what it is; the others, below `data/`, are the snapshot's directories.
No I/O but on the streams given.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import IO, Any, Final

from hailbox.model.errors import SnapshotFileError
from hailbox.snapshot.catalog import Snapshot

FORMAT: Final = 1
_HEAD: Final = "hailbox-snapshot.json"
_DATA: Final = "data"
_HEAD_LIMIT: Final = 1 << 20
"""Bytes."""
_MALFORMED: Final = (tarfile.TarError, EOFError, ValueError, KeyError, TypeError)
"""What reading raises of content that is none of ours."""


class Blocks(io.RawIOBase):
    """A stream of the bytes that an iterator yields."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of io.RawIOBase."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def write(snapshot: Snapshot, archive: Iterator[bytes], target: IO[bytes]) -> None:
    """Write the uncompressed file. archive: the snapshot's directories as the engine hands them out."""
    head = json.dumps({"format": FORMAT, **asdict(snapshot)}, indent=1).encode()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo(_HEAD)
        entry.size = len(head)
        tar.addfile(entry, io.BytesIO(head))
        with tarfile.open(fileobj=io.BufferedReader(Blocks(archive)), mode="r|") as source:
            for member in source:
                _copy(source, member, tar, _DATA)


def _copy(source: tarfile.TarFile, member: tarfile.TarInfo, target: tarfile.TarFile, top: str) -> None:
    """Copy a member; the first part of its path becomes `top`, or is left out where that is empty."""

    def moved(path: str) -> str:
        return "/".join(filter(None, [top, path.partition("/")[2]])) or "."

    member.name = moved(member.name)
    if member.islnk():
        member.linkname = moved(member.linkname)
    member.pax_headers = {key: text for key, text in member.pax_headers.items() if key not in ("path", "linkpath")}
    target.addfile(member, source.extractfile(member) if member.isreg() else None)


class Reader:
    """Reads such a file. Raises SnapshotFileError for anything that is none."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        """stream: the uncompressed bytes. name: what the file is called in errors."""
        self._name = name
        with refusing(name):
            self._tar = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115 - lives as long as the reader
            member = self._tar.next()
            content = self._tar.extractfile(member) if member and member.name == _HEAD else None
            if member is None or content is None or member.size > _HEAD_LIMIT:
                raise _refused(name, "is not a snapshot")
            self.snapshot = _snapshot(json.loads(content.read()), name)

    def write_to(self, target: IO[bytes]) -> None:
        """Write the directories as a tar archive for the engine."""
        allowed = {_DATA, *(f"{_DATA}/{replica}" for replica in self.snapshot.digests)}
        with refusing(self._name), tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            while member := self._tar.next():
                parts = member.name.split("/")
                plain = member.isreg() or member.isdir() or member.issym() or member.islnk()
                if not plain or ".." in parts or "/".join(parts[:2]) not in allowed:
                    raise _refused(self._name, f"holds {member.name!r}, which is no part of a snapshot")
                _copy(self._tar, member, tar, "")


def _snapshot(head: Any, name: str) -> Snapshot:
    if not isinstance(head, Mapping) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, Mapping) else None
        raise _refused(name, f"is a snapshot of format {found!r}, and this hailbox reads format {FORMAT}")
    fields = {key: head[key] for key in ("name", "taken", "size", "profile", "scale", "replicas", "digests")}
    fields["replicas"] = tuple(map(str, fields["replicas"]))
    return Snapshot(**fields)


@contextlib.contextmanager
def refusing(name: str, kinds: tuple[type[Exception], ...] = _MALFORMED) -> Iterator[None]:
    """Tell errors of these kinds, which the content of a file has caused, as SnapshotFileError."""
    try:
        yield
    except kinds as error:
        raise _refused(name, "is damaged, or is not a snapshot") from error


def _refused(name: str, what: str) -> SnapshotFileError:
    return SnapshotFileError(f"{name} {what}", "export it again: hailbox snapshot export NAME FILE")
