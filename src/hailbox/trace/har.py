"""Exchanges over HTTP as an HTTP Archive, which the tools of browsers open (HAR 1.2). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from hailbox.trace.exchange import HTTP, Exchange


def archive(exchanges: Iterable[Exchange], version: str) -> dict[str, Any]:
    """The archive's document. `version`: of the program that writes it."""
    entries = [_entry(each) for each in exchanges if each.service in HTTP and each.method]
    return {"log": {"version": "1.2", "creator": {"name": "hailbox", "version": version}, "entries": entries}}


def _entry(found: Exchange) -> dict[str, Any]:
    milliseconds = round((found.seconds or 0.0) * 1000, 3)
    number = int(found.status) if found.status.isdecimal() else 0
    words = HTTPStatus(number).phrase if number in set(HTTPStatus) else ""
    path, _, query = found.target.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return {
        "startedDateTime": datetime.fromtimestamp(found.time, UTC).isoformat(timespec="milliseconds"),
        "time": milliseconds,
        "serverIPAddress": "",
        "connection": found.replica,
        "comment": f"{found.source} → {found.replica} {found.operation} trace {found.trace}",
        "request": {
            "method": found.method,
            "url": f"http://{found.replica}{path}" + (f"?{query}" if query else ""),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "queryString": [{"name": name, "value": value} for name, _, value in pairs],
            "headersSize": -1,
            "bodySize": found.received,
        },
        "response": {
            "status": number,
            "statusText": words,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [{"name": "x-amz-request-id", "value": found.request_id}] if found.request_id else [],
            "content": {"size": found.sent, "mimeType": ""},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": found.sent,
        },
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
    }
