"""What the driver takes from its surroundings: nothing of the current directory, and of the shell only what is named.

A program that the driver starts gets a working directory, a search path and an environment from here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

ROOT: Final = "/"
"""Where programs are started: there in any case, and not the current directory."""

_ANY_PROGRAM: Final = (
    *("HOME", "USER", "LOGNAME", "LANG", "TMPDIR"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SSH_AUTH_SOCK"),
)
"""Variables that say who and where the user is."""


def search_path() -> str:
    """PATH without the current directory, which an empty or a relative entry means."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry))


def which(program: str, *first: str) -> str | None:
    """Where a program is: in one of the directories `first`, else on the search path; None if it is nowhere."""
    return shutil.which(program, path=os.pathsep.join((*first, search_path())))


def environment(*more: str) -> dict[str, str]:
    """The environment of a program: what every program needs, and the variables named here, as far as they are set.

    What else the shell has would change what our own arguments and files mean (COMPOSE_*, DOCKER_DEFAULT_PLATFORM,
    BUILDX_*, PYTHON*).
    """
    found = {name: os.environ[name] for name in (*_ANY_PROGRAM, *more) if name in os.environ}
    return {**found, "PATH": search_path()}


def environment_without(*prefixes: str) -> dict[str, str]:
    """The whole environment but the variables that begin so: for pip, whose settings and proxies are the user's."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**found, "PATH": search_path()}


def home() -> Path | None:
    """The user's home directory; None without HOME and without an entry in the user database."""
    with contextlib.suppress(RuntimeError, KeyError):
        found = Path.home()
        return found if found.is_absolute() else None
    return None


def temporary_directory() -> Path | None:
    """A directory for temporary files, never the current one as Python would have it; None if there is none."""
    for candidate in (os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
        if os.path.isabs(candidate) and os.path.isdir(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    return None


@contextlib.contextmanager
def text_file(text: str) -> Iterator[IO[str]]:
    """A nameless file with that text, to be read from its beginning. Raises OSError where none can be made."""
    if sys.platform == "linux":  # in memory: no directory is needed
        opened: IO[str] = open(os.memfd_create("hailbox"), "w+", encoding="utf-8")  # noqa: SIM115
    else:
        opened = tempfile.TemporaryFile("w+", encoding="utf-8", dir=temporary_directory())  # noqa: SIM115
    with opened:
        opened.write(text)
        opened.seek(0)
        yield opened


def open_streams() -> None:
    """Have the three standard streams, as a program that was started without one would use the next file opened for
    it. What is written to a closed one fails; what is read from it is empty."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # For reading only: what is written there must not seem to have arrived. Messages may get lost.
            flags = os.O_WRONLY if number == 2 else os.O_RDONLY
            found = os.open(os.devnull, flags)
            if found != number:
                os.dup2(found, number)
                os.close(found)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


_LOW: Final = (
    (resource.RLIMIT_AS, 4 << 30, "an address space of {mib:.0f} MiB (ulimit -v)"),
    (resource.RLIMIT_DATA, 1 << 30, "{mib:.0f} MiB of data (ulimit -d)"),
    (resource.RLIMIT_NOFILE, 64, "{count} open files (ulimit -n)"),
    (getattr(resource, "RLIMIT_NPROC", None), 256, "{count} processes and threads of the user (ulimit -u)"),
)
"""Limits of this process, from which on they are too small, and how to tell. Compose, a program in Go, reserves a
gibibyte or more of address space."""


def low_limits() -> tuple[str, ...]:
    """The limits that this program has from its shell, and that may be too small for it or for Compose, in words."""
    found = []
    for kind, enough, text in _LOW:
        soft = resource.getrlimit(kind)[0] if kind is not None else resource.RLIM_INFINITY
        if soft != resource.RLIM_INFINITY and soft < enough:
            found.append(text.format(mib=soft / (1 << 20), count=soft))
    return tuple(found)
