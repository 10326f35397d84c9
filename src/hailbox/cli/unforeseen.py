"""What is told of an exception that hailbox has not foreseen."""

from __future__ import annotations

import errno
from typing import Final

from hailbox import surroundings
from hailbox.model.errors import HailboxError, HostLimitsError, InternalError

_WANTING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def told(error: Exception) -> HailboxError:
    """The error for it: of the shell's limits where these are low and it may come from them, else of a defect.

    RuntimeError: Python starts no thread. SystemError, ImportError: it gets no memory in the midst of its own work.
    """
    may_be = isinstance(error, (MemoryError, RuntimeError, ImportError, SystemError)) or (
        isinstance(error, OSError) and error.errno in _WANTING
    )
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    if may_be and (low := surroundings.low_limits()):
        return HostLimitsError(
            f"hailbox does not work with what this shell allows: {', '.join(low)}; it failed with {said}",
            "run the command from a shell without that limit, or raise it",
        )
    return InternalError(f"hailbox has a defect: {said}", "run it again with --debug and report what it shows")
