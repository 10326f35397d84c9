"""Processes and networks of containers, also of those that a nested engine runs, seen from the host. Needs root."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

ENGINE_PROCESS = "HAILBOX_TEST_ENGINE_PROCESS"
"""Environment variable with the number of a process in the nested engine's container, while tests use that engine."""

CLONE_NEWNET = 0x40000000
"""sched.h"""

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int, kind: int) -> None:
    """setns(2) for the calling thread. Raises OSError."""
    if _libc.setns(descriptor, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Have this thread, and what it starts meanwhile, in the network of a process."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _setns(there, CLONE_NEWNET)
        try:
            yield
        finally:
            _setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
        os.close(there)


def _numbers(process: Path) -> list[int]:
    """The process' numbers, outermost pid namespace first."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(number) for number in line.split()[1:]]
    return []


def processes() -> Iterator[tuple[int, list[int], str]]:
    """Of each process its number here, its numbers in all its pid namespaces, and its control groups."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(process.name), _numbers(process), (process / "cgroup").read_text()


def of_container(container: str) -> Iterator[int]:
    """The numbers here of the processes of a container, by the container's id."""
    return (pid for pid, _, groups in processes() if container in groups)


def first_process(container: str) -> int:
    """The number here of process 1 of a container, by the container's id. Raises ProcessLookupError."""
    for pid, numbers, groups in processes():
        if numbers[-1:] == [1] and container in groups:
            return pid
    raise ProcessLookupError(f"no process 1 of the container {container}")


def inner_process(container: str, number: int) -> int:
    """The number here of the process that has `number` in a container that has a pid namespace of its own."""
    space = os.readlink(f"/proc/{first_process(container)}/ns/pid")
    for pid, numbers, _ in processes():
        with contextlib.suppress(OSError):
            if numbers[-1:] == [number] and os.readlink(f"/proc/{pid}/ns/pid") == space:
                return pid
    raise ProcessLookupError(f"no process {number} in the container {container}")
