"""A full disk for one replica: what would make a file below its data directory grow fails with ENOSPC.

No disk is filled: the volume's is that of the host and of all other stacks. As on a full disk, blocks that a file has
already may be written again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from hailbox.helper.programs.fault.container import Finder
from hailbox.helper.programs.fault.ptrace import Call, Tracer
from hailbox.helper.programs.fault.run import run

_WRITE, _PWRITE64, _WRITEV, _SENDFILE, _SPLICE = 1, 18, 20, 40, 275
_FALLOCATE, _PWRITEV, _COPY_FILE_RANGE, _PWRITEV2 = 285, 296, 326, 328
"""Numbers of system calls on x86-64, syscalls(2)."""
_WATCHED = {_WRITE, _PWRITE64, _WRITEV, _SENDFILE, _SPLICE, _FALLOCATE, _PWRITEV, _COPY_FILE_RANGE, _PWRITEV2}

_BLOCK = 4096
_LOOK_AGAIN = 0.1
"""Seconds between looks for processes that were started since."""


class NoSpace:
    """Arguments: `container` (id) and `root` (the data directory, as the daemon sees it)."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._finder = Finder(arguments["container"])
        self._root: str = arguments["root"].rstrip("/") + "/"
        self._tracer = Tracer(self._judge)
        self._known: set[int] = set()

    def begin(self) -> None:
        # Each stop of a thread comes with this signal, which ends the wait in `run`.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._attach_new()
        if not self._known:
            raise OSError("no process of the replica runs")

    def _attach_new(self) -> None:
        numbers = {process.number for process in self._finder.processes()}
        for number in numbers - self._known - self._tracer.threads:
            with contextlib.suppress(FileNotFoundError):
                self._tracer.attach(number)
        self._known = numbers

    def readable(self) -> Sequence[int]:
        return ()

    def step(self) -> float:
        self._tracer.serve()
        self._attach_new()
        self._tracer.serve()
        return _LOOK_AGAIN

    def end(self) -> None:
        self._tracer.finish()

    def _judge(self, call: Call) -> int:
        if call.number not in _WATCHED:
            return 0
        with contextlib.suppress(OSError, ValueError):
            if self._grows(call):
                return errno.ENOSPC
        return 0

    def _grows(self, call: Call) -> bool:
        """Whether the call would need a block that its file does not have. Raises OSError for what is no file."""
        descriptor = call.arguments[2 if call.number in (_SPLICE, _COPY_FILE_RANGE) else 0]
        place = f"/proc/{call.thread}/fd/{descriptor}"
        if not os.readlink(place).startswith(self._root):
            return False
        found = os.stat(place)
        if not stat.S_ISREG(found.st_mode):
            return False
        # Not by the blocks that the file system counts: ext4 includes what it has set aside for its own records.
        has = -(-found.st_size // _BLOCK) * _BLOCK
        return self._end_of(call, descriptor, found.st_size) > has

    def _end_of(self, call: Call, descriptor: int, size: int) -> int:
        """The offset after the last byte that the call would write."""
        _, second, third, fourth, fifth, _ = call.arguments
        if call.number == _FALLOCATE:
            return third + fourth if not second & 0x02 else 0
        if call.number == _PWRITE64:
            return fourth + third
        if call.number in (_PWRITEV, _PWRITEV2):
            return fourth + self._vector(call.thread, second, third)
        offset = self._position(call.thread, descriptor, size)
        if call.number == _WRITE:
            return offset + third
        if call.number == _WRITEV:
            return offset + self._vector(call.thread, second, third)
        return offset + {_SENDFILE: fourth, _SPLICE: fifth, _COPY_FILE_RANGE: fifth}[call.number]

    @staticmethod
    def _position(thread: int, descriptor: int, size: int) -> int:
        with open(f"/proc/{thread}/fdinfo/{descriptor}") as stream:
            fields = dict(line.split(":", 1) for line in stream if ":" in line)
        return size if int(fields["flags"], 8) & os.O_APPEND else int(fields["pos"])

    @staticmethod
    def _vector(thread: int, address: int, count: int) -> int:
        with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            vector = memory.read(16 * count)
        return sum(length for _, length in struct.iter_unpack("=QQ", vector))


def main(arguments: Sequence[str]) -> int:
    """Make the fault until it is ended; `arguments` holds one text, JSON. Returns the exit status."""
    return run(NoSpace, arguments[0])
