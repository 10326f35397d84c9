"""Whether anything listens on a port, whatever it speaks."""

from __future__ import annotations

import socket
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds."""


def is_closed(host: str, port: int) -> bool:
    """Whether the system refuses connections to that TCP port, or lets no packet through."""
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError:
        return True
    return False
