"""Which requests are answered at all: not those of foreign pages or for foreign hosts; a login where one is set."""

from __future__ import annotations

from haild.http.origin import host_refusal, page_refusal
from haild.http.request import Request
from haild.iwhd.access import Access
from haild.iwhd.http.errors import RequestError
from haild.wire.iwhd.target import Target


def admit(access: Access, request: Request, target: Target | None) -> None:
    """Return if the request may be answered; raises RequestError.

    The health check needs no login: it tells nothing, and the probes of a stack ask for it.
    """
    hosts = request.headers.getall("Host", [])
    host = ",".join(hosts) if hosts else None  # two of them are no name of ours
    refusal = host_refusal(host, access.hosts, request.own_address) or page_refusal(
        host, request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    )
    if refusal is not None:
        raise RequestError(403, f"{refusal}\n", close=True)
    if target is not None and target.kind == "health":
        return
    if not access.admits(request.headers.get("Authorization")):
        challenge = "Basic" if access.user else "Bearer"
        raise RequestError(
            401,
            "this warehouse wants a login (Authorization)\n",
            close=True,
            headers={"WWW-Authenticate": f'{challenge} realm="iwhd"'},
        )
