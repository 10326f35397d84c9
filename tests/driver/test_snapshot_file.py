"""A snapshot as a file: what comes back is what was written, and what is none is refused."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailbox.helper.programs import digest
from hailbox.model.errors import SnapshotFileError
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.file import Blocks, Reader, write

SNAPSHOT = Snapshot("seed", "2026-11-30T12:00:00+00:00", 12, "s3", "", ("chunkd-1",), {"chunkd-1": "0" * 64})


def archive(folder: Path) -> bytes:
    """As the engine hands a directory out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, arcname="snapshot")
    return packed.getvalue()


def written(content: bytes, size: int = 1000, snapshot: Snapshot = SNAPSHOT) -> bytes:
    target = io.BytesIO()
    write(snapshot, iter([content[at : at + size] for at in range(0, len(content), size)]), target)
    return target.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "from" / "chunkd-1"
    (top / "deep").mkdir(parents=True)
    (top / "deep" / ("n" * 120)).write_bytes(bytes(range(256)) * 700)
    (top / "empty").write_bytes(b"")
    (top / "link").symlink_to("deep")
    (top / "twin").hardlink_to(top / "empty")
    (top / "ünlesbar").write_bytes(b"x")
    (top / "empty").chmod(0o640)
    return tmp_path / "from"


@pytest.mark.parametrize("size", [1, 511, 100_000])
def test_what_was_written_comes_back(folder: Path, tmp_path: Path, size: int) -> None:
    reader = Reader(io.BytesIO(written(archive(folder), size)), "f")
    assert reader.snapshot == SNAPSHOT
    unpacked = io.BytesIO()
    reader.write_to(unpacked)
    unpacked.seek(0)
    with tarfile.open(fileobj=unpacked) as tar:
        tar.extractall(tmp_path / "to", filter="fully_trusted")
    assert digest.digest(str(tmp_path / "to" / "chunkd-1")) == digest.digest(str(folder / "chunkd-1"))


def test_a_digest_sees_content_names_modes_and_links(folder: Path) -> None:
    seen = {digest.digest(str(folder))}
    top = folder / "chunkd-1"

    def changed() -> bool:
        before = len(seen)
        seen.add(digest.digest(str(folder)))
        return len(seen) > before

    assert not changed()
    (top / "empty").chmod(0o600)
    assert changed()
    (top / "ünlesbar").write_bytes(b"y")
    assert changed()
    (top / "ünlesbar").rename(top / "lesbar")
    assert changed()
    (top / "link").unlink()
    (top / "link").symlink_to("empty")
    assert changed()
    (top / "new").mkdir()
    assert changed()


def unread(content: bytes) -> None:
    with pytest.raises(SnapshotFileError):
        Reader(io.BytesIO(content), "f").write_to(io.BytesIO())


@given(st.integers(0, 2**20))
def test_a_file_that_was_cut_off_is_refused(cut: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("snapshot/chunkd-1/k")
        entry.size = 5000
        tar.addfile(entry, io.BytesIO(bytes(5000)))
    content = written(packed.getvalue())
    # Within the last file. A cut between two files looks like an end; the digests tell it.
    begin = content.index(b"chunkd-1/k") + 512
    unread(content[: begin + cut % 5000])


@pytest.mark.parametrize("name", ["snapshot/../evil", "snapshot/other-1/k", "snapshot/chunkd-1/../../x"])
def test_paths_that_lead_elsewhere_are_refused(name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    unread(written(packed.getvalue()))


def test_a_device_is_refused() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("snapshot/chunkd-1/disk")
        entry.type = tarfile.BLKTYPE
        tar.addfile(entry)
    unread(written(packed.getvalue()))


@pytest.mark.parametrize("content", [b"", b"x" * 2000, bytes(10240), archive(Path(__file__))])
def test_other_files_are_refused(content: bytes) -> None:
    unread(content)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_blocks_are_read_as_one_stream(blocks: list[bytes], size: int) -> None:
    stream = io.BufferedReader(Blocks(iter(blocks)), buffer_size=size)
    assert stream.read() == b"".join(blocks)
