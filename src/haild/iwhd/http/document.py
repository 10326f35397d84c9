"""The form in which a client wants a document: XML, or JSON if it says so (iwhd.md 4.1)."""

from __future__ import annotations

import socket
from types import ModuleType
from typing import Final

from haild.http.request import Request
from haild.wire.iwhd import json as iwhdjson
from haild.wire.iwhd import xml as iwhdxml

XML: Final = "application/xml"
JSON: Final = "application/json"


def writer(request: Request) -> tuple[ModuleType, str]:
    """The module that writes the documents which the client takes, and their content type.

    Both modules have the same functions. Only the text `/json` in Accept asks for JSON.
    """
    return (iwhdjson, JSON) if "/json" in request.headers.get("Accept", "") else (iwhdxml, XML)


def base_address(request: Request) -> str:
    """`http://HOST` as the client called us, for absolute addresses in answers."""
    return f"http://{request.headers.get('Host') or socket.getfqdn()}"
