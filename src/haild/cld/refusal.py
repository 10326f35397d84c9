"""How a request is refused."""

from __future__ import annotations

from haild.wire.cld.messages import ErrorCode


class RefusedError(Exception):
    """The request is answered with `code`; nothing was changed."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code
