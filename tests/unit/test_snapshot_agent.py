"""The program that restores a snapshot: what is there afterwards, also when an earlier run was cut short."""

import os
from pathlib import Path

import pytest

from hailbox.snapshot import agent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A snapshot of two replicas."""
    made = tmp_path / "from"
    for replica in ("cld-1", "chunkd-1"):
        (made / replica / "sub").mkdir(parents=True)
        (made / replica / "sub" / ".hidden").write_text(replica)
        (made / replica / "file").write_bytes(b"x" * 100_000)
        (made / replica).chmod(0o750)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Volumes with other data."""
    made = tmp_path / "to"
    for replica in ("cld-1", "chunkd-1"):
        (made / replica / "newer").mkdir(parents=True)
        (made / replica / "file").write_text("newer")
    return made


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def test_everything_else_is_gone(source: Path, target: Path) -> None:
    assert agent.replace(source, target) == 0
    assert tree(target) == tree(source)


def test_begun_anew_after_it_was_cut_short(source: Path, target: Path) -> None:
    """Cut short while it moved aside, twice, and while it copied."""
    agent.move_aside(target / "cld-1")
    agent.move_aside(target / "cld-1")
    (target / "cld-1" / "file").write_bytes(b"half")
    assert agent.replace(source, target) == 0
    assert tree(target) == tree(source)


def test_a_copy_that_fails_is_told(source: Path, target: Path) -> None:
    (source / "cld-1" / "file").unlink()
    os.mkfifo(source / "cld-1" / "file")
    (source / "cld-1" / "file").chmod(0)
    (target / "cld-1" / "newer" / "deep").mkdir()
    broken = source / "tabled-1"
    broken.symlink_to(source / "nowhere")
    (target / "tabled-1").mkdir()
    assert agent.replace(source, target) != 0
