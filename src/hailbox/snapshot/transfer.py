"""`snapshot export` and `snapshot import`: a snapshot as a file, to be kept elsewhere or given to others."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from hailbox.context import Context
from hailbox.helper import kinds
from hailbox.helper.run import Work, create
from hailbox.model.errors import SnapshotExistsError, SnapshotFileError
from hailbox.model.progress import Phase
from hailbox.observe import observe, present
from hailbox.snapshot import catalog
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.file import Reader, refusing, write
from hailbox.snapshot.save import create_volume, digests, discard_half_made, seal_up
from hailbox.stack import lock, plan

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

_PLACE: Final = "/snapshot"
_BLOCK: Final = 1 << 20
_LEVEL: Final = 3
"""Of Zstandard: 400 MB/s a core, and images are compressed already."""


@dataclass(frozen=True)
class Exported:
    """A snapshot, and the file that holds it."""

    snapshot: Snapshot
    file: str
    size: int
    """Bytes of the file."""


def export(context: Context, name: str, file: Path) -> Exported:
    """Write a snapshot to a file that only its owner may read: it holds the stack's credentials.

    Raises UnknownSnapshotError, SnapshotFileError if the file is there already or cannot be written.
    """
    with lock.exclusive(context):
        observed = present(context.engine, context.stack)
        snapshot = catalog.find(observed, name)
        if not snapshot.has_credentials:
            raise SnapshotFileError(
                f"the snapshot {name!r} was saved by an older hailbox, without the credentials that others need",
                f"restore it, and save it again: hailbox --stack {context.stack} snapshot restore {name}",
            )
        context.tell(name, Phase.SAVING, str(file))
        image = plan.runtime_image(context, observed)
        with (
            _created(file) as target,
            _mounted(context, name, image) as helper,
            _compressor().stream_writer(target, closefd=False) as packed,
        ):
            write(snapshot, context.engine.read_archive(helper, _PLACE), packed)
        return Exported(snapshot, str(file), file.stat().st_size)


def import_(context: Context, file: Path, name: str | None = None) -> Snapshot:
    """Make a snapshot of this stack from a file; `name` in place of the one that it had.

    Raises SnapshotExistsError, and SnapshotFileError if the file is none, or is damaged; nothing is left then.
    """
    import zstandard

    try:
        stream = file.open("rb")
    except OSError as error:
        raise SnapshotFileError(f"cannot read {file}: {error.strerror}", "name a file of snapshot export") from error
    with (
        stream,
        zstandard.ZstdDecompressor().stream_reader(stream) as unpacked,
        refusing(str(file), (zstandard.ZstdError,)),
    ):
        reader = Reader(unpacked, str(file))
        snapshot = replace(reader.snapshot, name=catalog.check_name(name or reader.snapshot.name))
        with lock.exclusive(context):
            observed = present(context.engine, context.stack)
            if any(known.name == snapshot.name for known in catalog.snapshots(observed)):
                raise SnapshotExistsError(
                    f"stack {context.stack} has a snapshot {snapshot.name!r} already",
                    f"import it under another name: hailbox --stack {context.stack} snapshot import {file} NAME",
                )
            discard_half_made(context, observed)
            create_volume(context, snapshot.name)
            image = plan.runtime_image(context, observed)
            try:
                _fill(context, reader, snapshot, image, file)
            except BaseException:
                discard_half_made(context, observe(context.engine, context.stack))
                raise
            seal_up(context, snapshot)
            return snapshot


def _fill(context: Context, reader: Reader, snapshot: Snapshot, image: str, file: Path) -> None:
    context.tell(snapshot.name, Phase.RESTORING, str(file))
    with _mounted(context, snapshot.name, image) as helper:
        context.engine.write_archive(helper, _PLACE, _piped(reader))
    if digests(context, snapshot.name, image) != dict(snapshot.digests):
        raise SnapshotFileError(
            f"{file} is damaged: its content is not what was exported", "copy or export the file again"
        )


def _piped(reader: Reader) -> Iterator[bytes]:
    """What the reader writes, in blocks; raises what it raises."""
    reading, writing = os.pipe()
    failed: list[BaseException] = []

    def pump() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=_BLOCK) as target:
                reader.write_to(target)
        except BaseException as error:
            failed.append(error)

    pumping = threading.Thread(target=pump, daemon=True)
    pumping.start()
    with os.fdopen(reading, "rb", buffering=0) as source:
        while block := source.read(_BLOCK):
            yield block
    pumping.join()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def _mounted(context: Context, name: str, image: str) -> Iterator[str]:
    """A container that has the snapshot's volume at _PLACE and is never started; its id."""
    helper = create(context, Work(kinds.TRANSFER, image, {catalog.volume(context.stack, name): _PLACE}))
    try:
        yield helper
    finally:
        context.engine.remove_container(helper)


@contextlib.contextmanager
def _created(file: Path) -> Iterator[IO[bytes]]:
    """A new file of the caller's alone, which is there only if all went well."""
    part = file.with_name(f".{file.name}.part")
    try:
        if file.exists():
            raise FileExistsError(17, "it is there already")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SnapshotFileError(f"cannot write {file}: {error.strerror}", "choose another name or folder") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(file)
    except OSError as error:
        raise SnapshotFileError(f"cannot write {file}: {error.strerror}", "choose another name or folder") from error
    finally:
        part.unlink(missing_ok=True)


def _compressor() -> ZstdCompressor:
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, threads=-1)
