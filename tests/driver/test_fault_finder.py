"""Which processes of a container a fault may stop: its daemon's, and never those with which the engine starts it."""

from pathlib import Path

import pytest

from hailbox.helper.programs.fault.container import Finder, Process

CONTAINER = "25f56d55312381075699e999b2c9eaa72749b992dc80fcfe2b32a4301f22e07e"
DAEMON = b"python3\0-m\0haild.chunkd\0-F\0"


def process(
    proc: Path,
    number: int,
    name: str,
    command_line: bytes,
    state: str = "S",
    container: str = CONTAINER,
    parent: int = 1,
    inside: bool = True,
) -> None:
    folder = proc / str(number)
    folder.mkdir()
    (folder / "cgroup").write_text(f"12:pids:/docker/{container}\n0::/docker/{container}\n")
    (folder / "stat").write_text(f"{number} ({name}) {state} {parent} {number} 0 -1 4194560\n")
    (folder / "status").write_text(f"Name:\t{name}\nNSpid:\t{number}{' 1' if inside else ''}\nThreads:\t1\n")
    (folder / "cmdline").write_bytes(command_line)


@pytest.mark.parametrize(
    ("name", "command_line"),
    [
        ("exe", b"runc\0init\0"),
        ("memfd:runc_clon", b"runc\0init\0"),
        ("runc:[0:PARENT]", b"runc\0init\0"),
        ("runc:[2:INIT]", b"/usr/bin/runc\0init\0"),
        ("runc:[2:INIT]", b""),
    ],
)
def test_the_runtime_is_left_alone(tmp_path: Path, name: str, command_line: bytes) -> None:
    """As seen on engines 20.10 and 26.1, from the start of a container on."""
    process(tmp_path, 7, name, command_line)
    assert Finder(CONTAINER, tmp_path).processes() == []


def test_the_daemon_is_found_in_whatever_was_runc_s(tmp_path: Path) -> None:
    process(tmp_path, 7, "runc:[2:INIT]", b"runc\0init\0")
    finder = Finder(CONTAINER, tmp_path)
    # On a busy host runc may need longer than processes of others are looked at.
    assert [finder.processes() for _ in range(200)] == [[]] * 200
    (tmp_path / "7" / "cmdline").write_bytes(DAEMON)
    assert finder.processes() == [Process(7, "S")]


def test_neither_the_dead_nor_others(tmp_path: Path) -> None:
    process(tmp_path, 7, "python3", b"", state="Z")
    process(tmp_path, 8, "python3", DAEMON, container="0" * 64)
    process(tmp_path, 9, "python3 (of) x", DAEMON, state="T")
    assert Finder(CONTAINER, tmp_path).processes() == [Process(9, "T")]


@pytest.mark.parametrize(
    "watcher",
    [
        b"/usr/bin/conmon\0--api-version\x001\0-c\0" + CONTAINER.encode() + b"\0-u\0x\0",
        b"/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0" + CONTAINER.encode() + b"\0",
    ],
)
def test_without_control_groups_those_below_the_watcher(tmp_path: Path, watcher: bytes) -> None:
    """Rootless engines where control groups have version 1: all processes are in the user's session. What else the
    watcher starts, such as the report of an exit to the engine, is left alone."""
    process(tmp_path, 5, "watcher", watcher, container="user.slice", inside=False)
    process(tmp_path, 12, "watcher", watcher, container="user.slice", parent=5, inside=False)
    publish = b"/usr/bin/containerd\0publish\0--topic\0/tasks/exit\0"
    process(tmp_path, 13, "containerd", publish, container="user.slice", parent=5, inside=False)
    process(tmp_path, 6, "runc", b"runc\0init\0", container="user.slice", parent=5)
    process(tmp_path, 7, "python3", DAEMON, container="user.slice", parent=5)
    process(tmp_path, 8, "python3", DAEMON, container="user.slice", parent=7)
    process(tmp_path, 9, "python3", DAEMON, container="user.slice", parent=4)
    process(tmp_path, 10, "watcher", watcher.replace(b"25f5", b"0000"), container="user.slice", inside=False)
    process(tmp_path, 11, "python3", DAEMON, container="user.slice", parent=10)
    finder = Finder(CONTAINER, tmp_path)
    for _ in range(200):
        assert finder.processes() == [Process(7, "S"), Process(8, "S")]
