"""Logging of a daemon: to standard error or to syslog, one line per event that matters."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Final

from haild.daemon.plaintext import PlainFormatter

_SYSLOG_SOCKET: Final = Path("/dev/log")


def configure(program: str, *, to_stderr: bool, debug: bool) -> None:
    """Send all log records to standard error as `PROGRAM[PID]: text`, or to syslog (facility LOCAL3).

    Without a syslog socket on the host the records go to standard error all the same, so that none is lost.
    """
    handler: logging.Handler
    if to_stderr or not _SYSLOG_SOCKET.exists():
        handler = logging.StreamHandler(sys.stderr)
    else:
        facility = logging.handlers.SysLogHandler.LOG_LOCAL3
        handler = logging.handlers.SysLogHandler(str(_SYSLOG_SOCKET), facility)
    handler.setFormatter(PlainFormatter(f"{program}[{os.getpid()}]: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:
        logging.getLogger("asyncio").setLevel(logging.WARNING)
