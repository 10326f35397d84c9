"""Cross-origin requests: the preflight, and the headers on answers (S3 user guide, "Using CORS")."""

from __future__ import annotations

from collections.abc import Mapping

from haild.tabled.operations.answer import Answer
from haild.tabled.operations.call import Request
from haild.tabled.s3 import cors
from haild.tabled.s3.errors import S3Error


async def _find(request: Request, origin: str, method: str, headers: list[str]) -> cors.Rule | None:
    bucket = await request.metadata.bucket(request.address.bucket) if request.address.bucket else None
    if bucket is None or cors.SETTING not in bucket.settings:
        return None
    text = await request.metadata.setting(bucket.name, cors.SETTING)
    rules = [] if text is None else cors.from_text(text)
    return next((rule for rule in rules if rule.allows(origin, method, headers)), None)


async def preflight(request: Request) -> Answer:
    """OPTIONS: may a script from Origin send such a request? Needs no signature."""
    origin, method = request.headers.get("Origin"), request.headers.get("Access-Control-Request-Method")
    if origin is None or method is None:
        raise S3Error("InvalidRequest", "Insufficient information. Origin request header needed.")
    listed = request.headers.get("Access-Control-Request-Headers", "")
    headers = [name.strip() for name in listed.split(",") if name.strip()]
    rule = await _find(request, origin, method, headers)
    if rule is None:
        raise S3Error("AccessForbidden", "CORSResponse: This CORS request is not allowed.")
    found = rule.answer(origin)
    if headers:
        found["Access-Control-Allow-Headers"] = ", ".join(headers)
    return Answer(headers=found)


async def allows(request: Request) -> bool:
    """Whether the bucket lets pages of the request's origin send it."""
    origin = request.headers.get("Origin")
    return origin is not None and await _find(request, origin, request.method, []) is not None


async def headers_for(request: Request) -> Mapping[str, str]:
    """The headers that an answer needs for a script from another origin to see it."""
    origin = request.headers.get("Origin")
    if origin is None or request.method == "OPTIONS":
        return {}
    # S3 goes by the header that only preflights should have, if it is there.
    method = request.headers.get("Access-Control-Request-Method", request.method)
    rule = await _find(request, origin, method, [])
    return {} if rule is None else rule.answer(origin)
