"""Life cycle of a daemon: going to the background, pid and port files, signals.

Pid file: decimal pid and newline, held locked with a POSIX record lock, removed at an orderly end
(cld.md 13.1, tabled.md 4.1). SIGTERM and SIGINT end the daemon with status 0; SIGHUP and SIGPIPE are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from haild.daemon import insight
from haild.daemon.errors import NoMeansError
from haild.transfer import memory

STOP_DEADLINE: Final = 1.0
"""Seconds from SIGTERM until what still runs is cut off."""

_THREADS: Final = 8
"""Threads that a daemon must be able to start: its database's, those of name look-ups and of reading and writing."""
_DESCRIPTORS: Final = 48

logger = logging.getLogger(__name__)

Main = Callable[[asyncio.Event], Awaitable[None]]
"""A daemon: serves until the event is set, then stops cleanly and returns."""


class PidFileLockedError(Exception):
    """Another running daemon holds the pid file."""


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Hold the pid file at `path` (None: none) locked; remove it at the end.

    Raises PidFileLockedError if another process holds it, OSError if it cannot be written.
    """
    if path is None:
        yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PidFileLockedError(f"{path}: held by another process") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def write_port_file(path: Path, text: str) -> None:
    """Write `text` and a newline to the port file at once: a reader sees old or new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(f"{text}\n", encoding="ascii")
    temporary.replace(path)


def go_to_background() -> None:
    """Detach from the terminal and the parent; standard input and output become /dev/null.

    The working directory is kept, so that relative paths of the configuration stay valid (tabled.md 4.1).
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def run(main: Main, service: str) -> int:
    """Run `main` until it returns or a signal ends it. Returns the exit status: 0 for an orderly end.

    `service`: the daemon's name. Readers get insight into it meanwhile (`haild.daemon.insight`).

    SIGTERM and SIGINT set the event handed to `main`; STOP_DEADLINE seconds later the rest is cut off. Raises
    NoMeansError where the limits of the process are too small to serve at all.
    """
    _check_means()
    memory.keep_freed()
    gc.freeze()  # no collection need walk through all that was loaded: that takes some 15 ms each time

    async def seen(stop: asyncio.Event) -> None:
        async with insight.listening(service):
            await main(stop)

    return asyncio.run(_supervise(seen))


def _check_means() -> None:
    """See that threads and descriptors suffice. A daemon that lacks them would start, and fail at each request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS:
        raise NoMeansError(f"only {hard} files may be open at once, and {_DESCRIPTORS} is the least (ulimit -n)")
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(_THREADS):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise NoMeansError(
            f"only {len(started)} threads can be started, and {_THREADS} is the least: the limit of processes or of "
            "memory is too small"
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()


async def _supervise(main: Main) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    task = asyncio.ensure_future(main(stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        await asyncio.wait({task}, timeout=STOP_DEADLINE)
    if not task.done():
        logger.warning("did not stop within %.1f s; cutting off what still runs", STOP_DEADLINE)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return 0
    await task
    return 0
