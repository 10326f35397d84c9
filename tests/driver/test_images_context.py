"""The content of an image: named by a hash that sees every difference, packed the same every time."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from hailbox.images.context import Context, read_tree, with_arguments


def test_the_name_is_hexadecimal_and_short() -> None:
    assert len(Context({"a": b"1"}).digest()) == 16
    assert int(Context({"a": b"1"}).digest(), 16)


@pytest.mark.parametrize(
    "other",
    [
        {"a": b"2", "b": b""},
        {"a": b"1"},
        {"a": b"1", "c": b""},
        {"a": b"", "b": b"1"},
        {"a": b"1", "b": b"\0"},
        {"a\0001": b"", "b": b""},
    ],
)
def test_any_difference_changes_the_name(other: dict[str, bytes]) -> None:
    assert Context({"a": b"1", "b": b""}).digest() != Context(other).digest()


def test_order_changes_neither_name_nor_archive() -> None:
    first, second = Context({"a": b"1", "b": b"2"}), Context({"b": b"2", "a": b"1"})
    assert first.digest() == second.digest()
    assert first.pack() == second.pack()


def test_the_archive_holds_the_content_without_traces_of_the_host() -> None:
    packed = Context({"bin/cld": b"#!/bin/sh\n", "lib/haild/x.py": b"x = 1\n", "Dockerfile": b"FROM x\n"}).pack()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["Dockerfile", "bin/cld", "lib/haild/x.py"]
        assert {(member.uid, member.gid, member.mtime, member.uname) for member in members} == {(0, 0, 0, "")}
        assert [member.mode for member in members] == [0o644, 0o755, 0o644]
        content = tar.extractfile("bin/cld")
        assert content is not None
        assert content.read() == b"#!/bin/sh\n"


def test_a_tree_is_read_without_what_tools_leave_in_it(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "sub/b.sql",
        "sub/__pycache__/b.pyc",
        "c.pyc",
        ".hidden",
        ".git/config",
        "left/d.py",
        "e.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    files = read_tree(tmp_path, "lib/", skip={"left/", "e.md"}.__contains__)
    assert files == {"lib/a.py": b"a.py", "lib/sub/b.sql": b"sub/b.sql"}


def test_times_and_modes_of_files_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    before = Context(read_tree(tmp_path))
    os.utime(tmp_path / "a.py", (1, 1))
    (tmp_path / "a.py").chmod(0o600)
    after = Context(read_tree(tmp_path))
    assert (before.digest(), before.pack()) == (after.digest(), after.pack())


@pytest.mark.parametrize("line", [b"ARG BASE=python:3.13-slim", b"ARG BASE"])
def test_arguments_of_a_dockerfile_are_filled_in_by_name(line: bytes) -> None:
    dockerfile = b"# ARG BASE=1\n" + line + b"\nFROM ${BASE}\nARG BASED=2\nARG OTHER=3\n"
    filled = with_arguments(dockerfile, {"BASE": "own/image:1\\g", "OTHER": "4"})
    assert filled == b"# ARG BASE=1\nARG BASE=own/image:1\\g\nFROM ${BASE}\nARG BASED=2\nARG OTHER=4\n"
