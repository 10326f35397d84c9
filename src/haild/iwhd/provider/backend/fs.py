"""Provider `fs`: a directory; bucket B is PATH/B and object K in it PATH/B/K (iwhd.md sections 3, 6.1 and 7)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from haild.iwhd.provider.base import (
    Body,
    ExistsError,
    Expected,
    MissingError,
    Provider,
    ProviderError,
    Publication,
    UnavailableError,
    Upload,
)
from haild.iwhd.provider.filecheck import FileCheck, Verifications
from haild.iwhd.settings import OWN_DIRECTORY, ProviderSettings
from haild.transfer import writeback
from haild.wire.blockchecksums import BlockChecksums

BLOCK: Final = 256 * 1024
"""Bytes read at a time, and collected before they are written."""

LARGE_BLOCK: Final = 1 << 20
FEW_UPLOADS: Final = 8
"""So many uploads may collect a large block each: the fewer changes of threads, the faster, but memory is bounded."""

WRITEBACK_INTERVAL: Final = 8 << 20
"""Bytes after which an upload has the disk begin to write them."""

BUCKET_MODE: Final = 0o750
_BUCKET_GROUP: Final = 36
"""Group of bucket directories where permitted: what RHEV-M's storage wants (iwhd.md 6.1)."""

_HOST: Final = socket.gethostname()
"""In a stack the replica, whose data volume it is."""

_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)
_UNAVAILABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of file operations into those of a provider."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise MissingError(str(error)) from error
        if error.errno == errno.EEXIST:
            raise ExistsError(str(error)) from error
        if error.errno in _UNAVAILABLE:
            raise UnavailableError(str(error)) from error
        raise ProviderError(str(error)) from error


def sync_directory(path: Path) -> None:
    """Make the entries of the directory at `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _FileUpload(Upload):
    """A file beside the buckets that is renamed into its bucket when it is whole.

    The pieces are written in a thread while the next ones arrive; at most two blocks are held.
    """

    def __init__(self, uploads: set[_FileUpload], staged: Path, final: Path, descriptor: int) -> None:
        self._uploads = uploads
        self._uploads.add(self)
        self._staged = staged
        self._final = final
        self._descriptor = descriptor
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._written = 0
        self._begun = 0
        self._entered = False
        self._checksums = BlockChecksums()
        self._writing: asyncio.Future[None] | None = None

    async def write(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held >= (LARGE_BLOCK if len(self._uploads) <= FEW_UPLOADS else BLOCK):
            await self._flush()

    async def _flush(self) -> None:
        await self._settled()
        pieces, self._pieces, self._held = self._pieces, [], 0
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._write, pieces)

    async def _settled(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with _translated():
                await writing

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        if not self._entered:
            # The name of the file, while the body still arrives.
            sync_directory(self._staged.parent)
            self._entered = True
        for piece in pieces:
            self._checksums.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._written += len(piece)
        if self._written - self._begun >= WRITEBACK_INTERVAL:
            writeback.begin(self._descriptor, self._begun, self._written - self._begun)
            self._begun = self._written

    async def prepare(self) -> str:
        self._uploads.discard(self)
        await self._flush()
        await self._settled()
        with _translated():
            return await asyncio.to_thread(self._make_durable)

    def _make_durable(self) -> str:
        os.fsync(self._descriptor)
        self.sums = self._checksums.encode()
        token = f"{self._staged.name}:{_identity(os.fstat(self._descriptor))}"
        os.close(self._descriptor)
        self._descriptor = -1
        return token

    async def publish(self) -> None:
        with _translated():
            old = await asyncio.to_thread(_publish, self._staged, self._final)
        if old is not None:
            # The system frees the old body at its last close: do that after the answer.
            asyncio.get_running_loop().run_in_executor(None, os.close, old)

    async def abort(self) -> None:
        self._uploads.discard(self)
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await asyncio.to_thread(self._discard)

    def _discard(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with contextlib.suppress(OSError):
            self._staged.unlink(missing_ok=True)


def _identity(status: os.stat_result) -> str:
    """What tells one body from another under the same name; renaming keeps it."""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _publish(staged: Path, final: Path) -> int | None:
    """Put a file in its place, durably; returns a descriptor of the file that was there, to be closed."""
    try:
        old = os.open(final, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        old = None
    try:
        os.rename(staged, final)
        sync_directory(final.parent)
    except BaseException:
        if old is not None:
            os.close(old)
        raise
    return old


class FileProvider(Provider):
    """Bodies are plain files under a directory of the provider's own."""

    types = ("fs", "fs-rhev-m", "fs-condor", "fs-vmw")
    needs = ("path",)
    lost_body_status = 500

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        """Where `spool` is below our directory, no bucket leads there."""
        super().__init__(settings, spool)
        self.root = Path(settings.path).absolute()
        self._reserved = {"", ".", "..", OWN_DIRECTORY}
        if spool.resolve().is_relative_to(self.root.resolve()):
            self._reserved.update(spool.resolve().relative_to(self.root.resolve()).parts[:1])
        self._staging = self.root / OWN_DIRECTORY / "uploads"
        self._uploads: set[_FileUpload] = set()
        self._verifications = Verifications()
        self._prefix = secrets.token_hex(8)
        """Begins the names of this process's uploads: recover() leaves them alone."""

    def _bucket(self, bucket: str) -> Path:
        if bucket in self._reserved or "/" in bucket or "\0" in bucket:
            raise MissingError(f"{bucket!r} cannot be a bucket")
        path = self.root / bucket
        if not self.settings.configured and path.is_symlink():
            raise MissingError(f"{bucket!r} is a link, which a provider added by a client must not follow")
        return path

    def path(self, bucket: str, key: str) -> Path:
        """Where a body is. Raises MissingError for names that would lead elsewhere."""
        if key in ("", ".", "..") or "/" in key or "\0" in key:
            raise MissingError(f"{key!r} cannot be an object")
        return self._bucket(bucket) / key

    async def recover(self, tokens: frozenset[str]) -> None:
        with _translated():
            await asyncio.to_thread(self._discard_left_uploads, tokens)

    def _discard_left_uploads(self, tokens: frozenset[str]) -> None:
        if not self.root.is_dir():
            raise UnavailableError(f"{self.root} is no directory")
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {token.partition(":")[0] for token in tokens}
        for path in self._staging.iterdir():
            if path.name not in kept and not path.name.startswith(self._prefix):
                path.unlink(missing_ok=True)
        sync_directory(self._staging.parent)
        sync_directory(self.root)

    async def create_bucket(self, bucket: str) -> None:
        with _translated():
            await asyncio.to_thread(self._create_bucket, self._bucket(bucket))

    def _create_bucket(self, path: Path) -> None:
        path.mkdir(mode=BUCKET_MODE)
        with contextlib.suppress(OSError):  # not permitted, or no such group in this user namespace
            os.chown(path, -1, _BUCKET_GROUP)
        sync_directory(self.root)

    async def delete_bucket(self, bucket: str) -> None:
        with _translated():
            await asyncio.to_thread(self._delete_bucket, self._bucket(bucket))

    def _delete_bucket(self, path: Path) -> None:
        path.rmdir()
        sync_directory(self.root)

    async def check_bucket(self, bucket: str) -> None:
        path = self._bucket(bucket)
        if not await asyncio.to_thread(lambda: path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            raise MissingError(f"{path} is no directory that can be written to")

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        final = self.path(bucket, key)
        with _translated():
            return await asyncio.to_thread(self._start_upload, final)

    def _start_upload(self, final: Path) -> Upload:
        if not final.parent.is_dir() or not os.access(final.parent, os.W_OK | os.X_OK):
            raise MissingError(f"{final.parent} is no directory that can be written to")
        if final.is_dir():
            raise ProviderError(f"{final} is a directory")
        staged = self._staging / f"{self._prefix}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(staged, flags, 0o666)
        except FileNotFoundError:
            self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(staged, flags, 0o666)
        return _FileUpload(self._uploads, staged, final, descriptor)

    async def settle(self, publication: Publication) -> bool:
        final = self.path(publication.bucket, publication.key)
        name, _, identity = publication.token.partition(":")
        with _translated():
            return await asyncio.to_thread(self._settle, self._staging / name, final, identity)

    def _settle(self, staged: Path, final: Path, identity: str) -> bool:
        if not staged.exists():
            return final.is_file() and _identity(final.stat()) == identity
        try:
            old = _publish(staged, final)
            if old is not None:
                os.close(old)
        except OSError as error:
            if error.errno in _UNAVAILABLE:
                raise
            # The bucket is gone, or on another file system: it will not work later either.
            staged.unlink(missing_ok=True)
            return False
        return True

    @contextlib.asynccontextmanager
    async def open(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, expected: Expected | None = None
    ) -> AsyncIterator[Body]:
        path = self.path(bucket, key)
        with _translated():
            file, size = await asyncio.to_thread(_open, path)
        try:
            count = max(0, size - offset) if length is None else length
            check = None
            if expected is not None:
                what = f"body {bucket}/{key} at provider {self.name} ({path} on {_HOST})"
                check = FileCheck(file, expected, what, self._verifications)
                if check.is_needed:
                    # The beginning now, while an error can still be told.
                    await asyncio.to_thread(check, offset, min(count, BLOCK))
                if not check.is_needed:
                    check = None
            yield Body(_blocks(file, offset, count, check), count, file, offset, check)
        finally:
            file.close()

    async def delete(self, bucket: str, key: str) -> None:
        with _translated():
            await asyncio.to_thread(self._delete, self.path(bucket, key))

    def _delete(self, path: Path) -> None:
        path.unlink()
        sync_directory(path.parent)


def _open(path: Path) -> tuple[BinaryIO, int]:
    # A link could lead anywhere; we make none.
    file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)  # noqa: SIM115
    return file, os.fstat(file.fileno()).st_size


async def _blocks(file: BinaryIO, offset: int, count: int, check: FileCheck | None) -> AsyncIterator[bytes]:
    def read(position: int, length: int) -> bytes:
        if check is not None:
            check(position, length)
        return os.pread(file.fileno(), length, position)

    with _translated():
        end = offset + count
        while offset < end and (block := await asyncio.to_thread(read, offset, min(BLOCK, end - offset))):
            yield block
            offset += len(block)
