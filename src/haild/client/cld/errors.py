"""What can go wrong between a client and cld.

CldError             the server refused a request
├── SessionLostError the session is gone, and with it its handles and locks
└── ConnectError     no session could be started
"""

from __future__ import annotations

from haild.wire.cld.messages import ErrorCode


class CldError(Exception):
    """The server answered with `code`."""

    def __init__(self, code: ErrorCode, reason: str = "") -> None:
        super().__init__(f"{reason} ({code.name})" if reason else code.name)
        self.code = code
        self.reason = reason


class SessionLostError(CldError):
    """The session is gone."""


class ConnectError(CldError):
    """No session could be started: no such host, connection refused, or no answer."""
