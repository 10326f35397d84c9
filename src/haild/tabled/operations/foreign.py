"""Anonymous requests of foreign web pages, and of hosts that are none of ours (DNS rebinding): they are refused.

A page cannot sign, so a signature of any kind (header, query or form) shows that no stranger sends the request. A
bucket's CORS rules let pages of other origins in, as ever.
"""

from __future__ import annotations

from haild.http.origin import host_refusal, page_refusal
from haild.tabled.operations import cors
from haild.tabled.operations.call import Request
from haild.tabled.s3.errors import S3Error


async def refuse(request: Request) -> None:
    """Raise AccessDenied where a foreign page sent this request, or it names a foreign host. It is anonymous."""
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    why = host_refusal(host, request.services.names, request.own_address)
    if why is None and (why := page_refusal(host, origin, request.headers.get("Sec-Fetch-Site"))) is not None:
        # What is no serialized origin (RFC 6454, 6.2) no browser has sent.
        foreign = origin is None or "://" in origin or origin == "null"
        if not foreign or await cors.allows(request):
            return
    if why is not None:
        raise S3Error("AccessDenied", f"Access Denied: {why}.")
