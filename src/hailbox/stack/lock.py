"""One command at a time on a stack: a lock that dies with its holder.

flock(2) on a file in the user's runtime directory. Processes that the holder starts inherit the descriptor, so
a Compose process left behind by a killed driver still holds the lock until it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tenacity

from hailbox.model.errors import BusyError, RuntimeDirectoryError

DEADLINE = 300.0
"""Seconds to wait for another command; the longest, an `up` that builds everything, takes about a minute."""

_REMEDY = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"


def directory() -> Path:
    """Where the lock files are; made if missing.

    Raises RuntimeDirectoryError if it belongs to somebody else or cannot be made.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        path = Path(runtime) / "hailbox"
    else:
        path = Path(tempfile.gettempdir()) / f"hailbox-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RuntimeDirectoryError(f"{path} cannot be made for the locks: {error.strerror}", _REMEDY) from error
    # Not what a link leads to: in a directory that all may write, somebody else may have made the link.
    if path.lstat().st_uid != os.getuid():
        raise RuntimeDirectoryError(f"{path}, where the locks would be, belongs to another user", _REMEDY)
    return path


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RuntimeDirectoryError(f"the lock {path} cannot be opened: {error.strerror}", _REMEDY) from error


@contextlib.contextmanager
def held(stack: str, command: str, *, waiting: Callable[[str], None], deadline: float = DEADLINE) -> Iterator[None]:
    """Hold the stack's lock. `waiting` is told once who holds it, if somebody does.

    Raises BusyError after `deadline` seconds.
    """
    path = directory() / f"{stack}.lock"
    descriptor = _open(path)
    try:
        os.set_inheritable(descriptor, True)
        _acquire(descriptor, stack, waiting, deadline)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`{command}` (pid {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, stack: str, waiting: Callable[[str], None], deadline: float) -> None:
    def holder() -> str:
        return os.pread(descriptor, 4096, 0).decode(errors="replace") or "another command"

    def tell(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1:
            waiting(holder())

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BlockingIOError),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.25),
        stop=tenacity.stop_after_delay(deadline),
        before_sleep=tell,
    )
    try:
        attempts(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except tenacity.RetryError as error:
        raise BusyError(
            f"{holder()} has been working on stack {stack} for more than {deadline:.0f} s",
            "wait for it, or end that process and run the command again",
        ) from error
