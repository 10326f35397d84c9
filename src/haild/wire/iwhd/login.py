"""How clients log in to an image warehouse that asks for it (our addition to iwhd.md section 1)."""

from __future__ import annotations

import base64


def authorization(user: str, secret: str) -> str:
    """The Authorization header: basic authentication (RFC 7617), or a bearer token (RFC 6750) without a user."""
    if not user:
        return f"Bearer {secret}"
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode("ascii")
