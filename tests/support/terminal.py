"""A program at a terminal of its own, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE = 30.0


class Terminal:
    """Runs a program; type to it, and read what it shows. A context, whose end is the program's."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._seen = b""
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env={**environment, "TERM": "dumb", "INPUTRC": "/dev/null"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._master)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def type(self, text: str) -> None:
        """Type; what was shown before is forgotten."""
        self._seen = b""
        os.write(self._master, text.encode())

    def read_until(self, word: str) -> str:
        """Wait until `word` is shown; returns all that was shown since the last typing."""
        deadline = time.monotonic() + DEADLINE
        while word.encode() not in self._seen:
            assert self._read(deadline), self._seen
        return self._seen.decode()

    def end(self, key: str = "") -> int:
        """Wait for the program's end; returns its exit status. Meanwhile press `key` again and again.

        Again, as Python's `input` overlooks a signal that comes in the moment before it waits.
        """
        deadline = time.monotonic() + DEADLINE
        pressed = 0.0
        while self._read(deadline, 0.2):
            if key and time.monotonic() - pressed > 0.2 and self._process.poll() is None:
                os.write(self._master, key.encode())
                pressed = time.monotonic()
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float, patience: float = DEADLINE) -> bool:
        """Whether something more was shown; False if no process has the terminal any more. Keeps the deadline."""
        left = deadline - time.monotonic()
        assert left > 0, f"not in time; shown was: {self._seen!r}"
        if not select.select([self._master], [], [], min(left, patience))[0]:
            return True
        try:
            piece = os.read(self._master, 4096)
        except OSError:
            return False
        self._seen += piece
        return bool(piece)
