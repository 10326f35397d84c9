"""Where downloads are kept between runs. Losing it loses time, nothing else."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hailbox import surroundings
from hailbox.model import diskspace
from hailbox.model.errors import DiskFullError, ImageError

NEARLY_FULL: Final = 16 << 20
"""Bytes left below which a program that failed while it wrote is taken to have failed for lack of space."""


def directory() -> Path:
    """`hailbox` in the user's cache directory (XDG Base Directory Specification), made if missing.

    Raises ImageError if it cannot be made, DiskFullError.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    home = surroundings.home()
    if os.path.isabs(configured):
        root = Path(configured)
    elif home is not None:
        root = home / ".cache"
    else:
        raise ImageError(
            "there is no cache directory: neither HOME nor XDG_CACHE_HOME is set, and the user database has no home",
            "set XDG_CACHE_HOME to a directory that you may write",
        )
    path = root / "hailbox"
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write below `path` into an error for the user: ImageError or DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise ImageError(
            f"cannot write {error.filename or path}: {error.strerror or error}",
            "make that possible, or set XDG_CACHE_HOME to a directory that you may write",
        ) from error


def disk_full(path: Path) -> DiskFullError:
    """The error for a full disk at `path`."""
    return DiskFullError(f"no space is left for {path}", "free some space there and run the command again")


def run(command: Sequence[str], where: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that writes at `where`, without input, in that directory and with the user's environment but for
    what would change a Python program. Raises DiskFullError; other failures are in the result."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=where,
        env={**surroundings.environment_without("PYTHON"), "LC_ALL": "C"},
        check=False,
    )
    if done.returncode == 0:
        return done
    # It may have removed its own files since, or been short of so little that it said something else.
    if diskspace.is_full(done.stderr + done.stdout) or shutil.disk_usage(where).free < NEARLY_FULL:
        raise disk_full(where)
    return done


def drop_remains(prefix: str) -> None:
    """Remove the temporary folders that killed runs left; to be called with the lock held that guards them."""
    for left in directory().glob(f"{prefix}*/"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock of that name against other runs of this user; the kernel frees it with the process."""
    path = directory() / f"{name}.lock"
    with writing(path):
        guard = path.open("ab")
    with guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
