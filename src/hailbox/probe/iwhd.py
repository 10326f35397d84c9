"""iwhd works if its own check, a round trip through the primary provider, succeeds.

`GET /_health` is an addition of ours. The original answers 404; then the probe makes the round trip itself,
in a bucket that stays, since the original cannot remove one (iwhd.md 4).
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import Final

from hailbox.probe.http import Client
from hailbox.probe.outcome import Credentials, ProbeError, Reached

_BUCKET: Final = "/hailbox-probe"


def _expect(allowed: tuple[int, ...], status: int, asked: str, answer: bytes) -> None:
    if status not in allowed:
        said = answer.decode(errors="replace").strip()
        raise ProbeError(
            Reached.ANSWER,
            f"iwhd answered {asked} with status {status}" + (f": {said}" if said else ""),
            refused=status in (401, 403),
        )


def _round_trip(host: str, port: int) -> None:
    content = secrets.token_bytes(64)
    name = f"{_BUCKET}/{secrets.token_hex(6)}"
    with Client(host, port) as client:
        status, answer = client.ask("GET", "/_health", {})
        if status != 404:
            _expect((200,), status, "GET /_health", answer)
            return
        status, answer = client.ask("PUT", _BUCKET, {})
        _expect((201, 500), status, "PUT of a bucket", answer)  # 500: it exists
        _expect((201,), *_named("PUT of an object", client.ask("PUT", name, {}, content)))
        status, read = client.ask("GET", name, {})
        _expect((200,), status, "GET of an object", read)
        _expect((200,), *_named("DELETE of an object", client.ask("DELETE", name, {})))
    if read != content:
        raise ProbeError(Reached.ANSWER, "an object read back differs from what was stored")


def _named(asked: str, answer: tuple[int, bytes]) -> tuple[int, str, bytes]:
    return answer[0], asked, answer[1]


async def probe(host: str, port: int, _credentials: Credentials) -> None:
    """See `outcome.Probe`."""
    await asyncio.to_thread(_round_trip, host, port)


def is_open(host: str, port: int) -> bool:
    """Whether the warehouse answers clients that do not log in; False if it does not answer at all."""
    try:
        with Client(host, port) as client:
            status, _ = client.ask("GET", "/_providers/_primary", {})
    except (ProbeError, OSError):
        return False
    return status != HTTPStatus.UNAUTHORIZED
