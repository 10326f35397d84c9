"""One command at a time on a stack: a lock that dies with its holder.

flock(2) on a file in the user's runtime directory. Processes that the holder starts inherit the descriptor, so
a Compose process left behind by a killed driver still holds the lock until it ends, or is ended because it hangs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tenacity

from hailbox.context import Context
from hailbox.model.errors import BusyError, RuntimeDirectoryError
from hailbox.model.progress import Phase
from hailbox.stack.composeprocesses import Watcher

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
def exclusive(context: Context) -> Iterator[None]:
    """Hold the lock of the command's stack, and tell of it if somebody has to be waited for. Raises BusyError."""
    with held(context.stack, context.command, tell=lambda text: context.tell(context.stack, Phase.WAITING, text)):
        yield


@contextlib.contextmanager
def held(stack: str, command: str, *, tell: Callable[[str], None], deadline: float = DEADLINE) -> Iterator[None]:
    """Hold the stack's lock. `tell` gets a line of text if somebody holds it, and what becomes of that.

    Raises BusyError after `deadline` seconds.
    """
    path = directory() / f"{stack}.lock"
    descriptor = _open(path)
    try:
        os.set_inheritable(descriptor, True)
        _acquire(descriptor, stack, tell, deadline)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`{command}` (pid {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, stack: str, tell: Callable[[str], None], deadline: float) -> None:
    orphans = Watcher(descriptor, stack, tell)

    def holder() -> str:
        driver = os.pread(descriptor, 4096, 0).decode(errors="replace") or "another command"
        if not orphans.known:
            return driver
        pids = ", ".join(str(pid) for pid in sorted(orphans.known))
        return f"Compose (pid {pids}), left by {driver}, which was killed,"

    def wait(state: tenacity.RetryCallState) -> None:
        orphans.look()
        if state.attempt_number == 1:
            tell(f"{holder()} works on this stack; waiting for it to end")

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BlockingIOError),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.25),
        stop=tenacity.stop_after_delay(deadline),
        before_sleep=wait,
    )
    try:
        attempts(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except tenacity.RetryError as error:
        raise BusyError(
            f"{holder()} has been working on stack {stack} for more than {deadline:.0f} s",
            "wait for it, or end that process and run the command again",
        ) from error
    finally:
        orphans.close()
