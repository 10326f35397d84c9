"""Who may see the console: requests with its token, from its own pages, to its own address.

Any program of this machine, and any page in the user's browser, can send requests to a port on loopback. The token
keeps out the first; the checks of Host (against names that others make point here) and of Origin keep out the second.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CHANGING: Final = frozenset({"POST"})

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`, with which browsers send the Origin "null" even for our own forms (Fetch, "append a request
    # Origin header").
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""


@dataclass(frozen=True)
class Guard:
    """Decides about requests to a console on this port."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def cookie(self) -> str:
        """The name of the cookie; browsers tell hosts apart, but not the ports of one."""
        return f"hailbox-console-{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may have as its Host."""
        return frozenset({f"127.0.0.1:{self.port}", f"localhost:{self.port}"})

    @property
    def url(self) -> str:
        """Where the console opens, token included."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def knows(self, token: str | None) -> bool:
        """Whether that is the token."""
        return token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def refusal(self, method: str, host: str | None, origin: str | None, token: str | None) -> str | None:
        """Why a request is refused; None if it is not. `token`: what its cookie, or its address, has."""
        if host not in self.hosts:
            return "this console is not called so"
        # Browsers name the origin of every form, and leave it out of links.
        own = {f"http://{name}" for name in self.hosts}
        foreign = method in CHANGING if origin is None else origin not in own
        if foreign:
            return "the request comes from another page"
        if not self.knows(token):
            return "the token is missing: open the address that hailbox ui has printed"
        return None
