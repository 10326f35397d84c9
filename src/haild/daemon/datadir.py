"""A data directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from haild.daemon.errors import InUseError, refusal


def hold(directory: Path, program: str) -> int:
    """Keep every other process out of `directory` until the returned descriptor is closed, or this process ends.

    program: the daemon's name, for the message. Raises InUseError, UnwritableError and StartError.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refusal(str(directory), error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InUseError(f"{directory}: in use by another {program}") from error
    except OSError as error:
        os.close(descriptor)
        raise refusal(str(directory), error) from error
    return descriptor
