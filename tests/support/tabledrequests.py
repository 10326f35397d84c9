"""Requests to tabled by hand: over plain sockets, signed as they are to be; and what a boto3 call is refused with."""

from __future__ import annotations

import http.client
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from haild.wire.s3 import sigv2, sigv4
from support.tabledstack import USERS, Stack


def code(call: Any, *arguments: Any, **keywords: Any) -> str:
    """The error code that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **keywords)
    return str(caught.value.response["Error"]["Code"])


def raw(
    stack: Stack, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """One request over a plain socket, nothing added but Host and Content-Length."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=10)
    try:
        connection.request(method, target, body=body or None, headers=headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def signed_v2(method: str, target: str, headers: dict[str, str] | None = None, user: str = "alice") -> dict[str, str]:
    headers = {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000"), **(headers or {})}
    return headers | {"Authorization": sigv2.sign_headers(method, target, headers, key=user, secret=USERS[user])}


def signed_v4(
    stack: Stack, method: str, target: str, payload_hash: str, headers: dict[str, str] | None = None, **changes: Any
) -> dict[str, str]:
    headers = {"Host": f"127.0.0.1:{stack.tabled.port}", **(headers or {})}
    options: dict[str, Any] = {"key": "alice", "secret": "sesame", "region": "us-east-1", "when": datetime.now(UTC)}
    return headers | sigv4.sign_headers(method, target, headers, payload_hash=payload_hash, **(options | changes))
