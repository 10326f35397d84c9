"""The request by which a stack's driver has a daemon discard all that it keeps, and what proves the right to it.

One secret of the stack, which no client of a service has; each service gets a proof of its own, so that none can have
another one emptied. iwhd and tabled take it over HTTP, chunkd and cld as an operation of their protocols.

The HTTP request has a body of one byte. As soon as the service is empty it answers 200 and `EMPTIED`; to all others
it answers 503 until the byte has come, or the connection has ended. So a driver that empties the services below in
that time can be sure that nothing is stored by halves.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

PATH: Final = "/_empty"
EMPTIED: Final = b"emptied\n"
HEADER: Final = "X-Hailbox-Proof"
GO_ON: Final = b"."
"""The body of the request."""
LONGEST: Final = 30.0
"""Seconds that a service waits for it, and then serves again."""
CLD_USER: Final = b"hailbox-emptying"
"""The user of the session in which cld takes the request; its key is the proof."""


def secret_of(root_secret: str) -> str:
    """A stack's secret for this, derived from its root secret, so that older stacks have one, too."""
    return hmac.new(root_secret.encode(), b"emptying", "sha256").hexdigest()


def proof(secret: str, service: str) -> str:
    """What a service (`iwhd`, `tabled`, `chunkd`, `cld`) takes for a proof that the driver asks."""
    return hmac.new(secret.encode(), service.encode(), "sha256").hexdigest()


def request_headers(secret: str, service: str) -> Mapping[str, str]:
    """The headers of the HTTP request, beside Host."""
    return {HEADER: proof(secret, service), "Content-Length": str(len(GO_ON))}
