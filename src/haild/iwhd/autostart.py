"""Autostart, option -a: an image warehouse in the current directory without a configuration (iwhd.md section 12).

There is no database to start: the metadata are kept in `_db` by the daemon itself. The rest is as upstream
has it, down to the pid file's name.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import Final

from haild.daemon.errors import StartError
from haild.iwhd.settings import ProviderSettings

BODIES: Final = Path("_fs")
METADATA: Final = Path("_db")
PID_FILE: Final = Path("mongo.pid")
NAME: Final = "fs_autostart"

_CONNECT_DEADLINE: Final = 1.0


def prepare(database_port: int) -> ProviderSettings:
    """Make the directories and return the built-in configuration. Raises StartError."""
    for directory in (BODIES, METADATA):
        try:
            directory.mkdir(mode=0o777, exist_ok=True)
        except OSError as error:
            raise StartError(f"autostart: {directory}: {error.strerror}") from error
    if _is_taken(database_port):
        raise StartError(f"autostart: something listens on port {database_port} already")
    sys.stdout.write(f"auto-start: using the built-in configuration, bodies are in {BODIES}\n")
    return ProviderSettings(NAME, "fs", path=str(BODIES.absolute()), configured=True)


def _is_taken(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _CONNECT_DEADLINE):
        return True
    return False
