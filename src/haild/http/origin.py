"""Which requests come from a foreign web page, and which name a host that is not this server: pure rules.

A page in the developer's browser can send requests to any port of the machine. It cannot hide two things: the browser
tells the page's origin (RFC 6454, section 7; Fetch Metadata, `Sec-Fetch-Site`), and a page that reaches us through a
name of its own (DNS rebinding) gives that name away in Host. Programs of 2010 send neither Origin nor Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

ANY: Final = "*"
"""Among allowed names: every name."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_OWN_SITES: Final = frozenset({"", "same-origin", "none"})
"""Values of Sec-Fetch-Site for a page of ours, and for an address typed by the user."""


def split_host(text: str) -> tuple[str, int | None] | None:
    """The name or address in a Host header, in lower case and without brackets, and its port.

    None if it is not `NAME`, `ADDRESS` or `[ADDRESS]`, each with or without `:PORT` (RFC 9110, 7.2).
    """
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return None
    name = parts.hostname
    if not name or parts.netloc != text or not text.isascii() or not text.isprintable() or set(text) & set("@ \\,"):
        return None
    return name.removesuffix("."), port


def is_loopback(name: str) -> bool:
    """Whether a name or address in lower case always means this machine: localhost, *.localhost, loopback."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def host_refusal(host: str | None, allowed: Collection[str], own_address: str = "") -> str | None:
    """Why a request with this Host header is refused; None if it is not.

    allowed: names of this server, in lower case; `*` is every name, `.example.org` every name below that one.
    own_address: the address at which the connection arrived. A request without Host (HTTP/1.0) is not refused.
    """
    if host is None:
        return None
    split = split_host(host)
    if split is None:
        return "the Host header is not the name of a server"
    name = split[0]
    if is_loopback(name) or ANY in allowed or name in allowed or _is_own(name, own_address):
        return None
    if any(each.startswith(".") and name.endswith(each) for each in allowed):
        return None
    return f"{name!r} in the Host header is not a name of this server; the configuration can allow it"


def page_refusal(host: str | None, origin: str | None, fetch_site: str | None) -> str | None:
    """Why a request that a browser sent for a page is refused: the page is foreign. None if it is not.

    Each argument is a header's value, None where it is missing: Host, Origin, Sec-Fetch-Site.
    """
    if (fetch_site or "").strip().lower() not in _OWN_SITES:
        return "a page of another site sent this request (Sec-Fetch-Site)"
    if origin is None or _same_origin(origin.strip(), host):
        return None
    return f"a page of {origin.strip()!r} sent this request, which is another origin"


def _same_origin(origin: str, host: str | None) -> bool:
    scheme, separator, authority = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower())
    theirs = split_host(authority) if separator and default else None
    ours = split_host(host) if host else None
    if theirs is None or ours is None:
        return False
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_own(name: str, own_address: str) -> bool:
    address = _address(name)
    return address is not None and address == _address(own_address)
