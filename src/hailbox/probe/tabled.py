"""tabled works if a bucket and an object in it can be made, read back and removed.

With a user of its own, whose buckets no other user's listing shows, and signature version 2, which the original
knows, too (tabled.md 7).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from hailbox.probe.http import Client
from hailbox.probe.outcome import Credentials, ProbeError, Reached
from haild.wire.s3 import sigv2

_SIZE: Final = 128 * 1024
"""Bytes: enough to be a file on a storage node of ours, which keeps smaller bodies elsewhere."""


class _Caller:
    def __init__(self, client: Client, credentials: Credentials) -> None:
        self._client = client
        self._key = credentials["PROBE_ACCESS_KEY_ID"]
        self._secret = credentials["PROBE_SECRET_ACCESS_KEY"]

    def ask(self, method: str, target: str, body: bytes | None = None) -> bytes:
        headers = {"Host": self._client.authority, "Date": formatdate(usegmt=True)}
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        signed = sigv2.sign_headers(method, target, headers, key=self._key, secret=self._secret)
        status, answer = self._client.ask(method, target, headers | {"Authorization": signed}, body)
        if status >= 300:
            raise self._refused(method, status, answer)
        return answer

    def _refused(self, method: str, status: int, answer: bytes) -> ProbeError:
        code = re.search(rb"<Code>(\w+)</Code>", answer)
        said = f"tabled answered {method} of the probe's data with status {status}"
        said += f", {code[1].decode()}" if code else ""
        if code and code[1] == b"RequestTimeTooSkewed" and self._client.date:
            skew = parsedate_to_datetime(self._client.date).timestamp() - time.time()
            side = "ahead of" if skew > 0 else "behind"
            return ProbeError(
                Reached.ANSWER, f"{said}: its clock is {abs(skew):.0f} s {side} this machine's", skew=skew
            )
        return ProbeError(Reached.ANSWER, said, refused=status in (401, 403))


def _round_trip(host: str, port: int, credentials: Credentials) -> None:
    bucket = f"/hailbox-probe-{secrets.token_hex(6)}"
    content = secrets.token_bytes(_SIZE)
    with Client(host, port) as client:
        caller = _Caller(client, credentials)
        caller.ask("PUT", bucket)
        try:
            caller.ask("PUT", f"{bucket}/object", content)
            read = caller.ask("GET", f"{bucket}/object")
            caller.ask("DELETE", f"{bucket}/object")
        finally:
            caller.ask("DELETE", bucket)
    if read != content:
        raise ProbeError(Reached.ANSWER, "an object read back differs from what was stored")


async def probe(host: str, port: int, credentials: Credentials) -> None:
    """See `outcome.Probe`."""
    await asyncio.to_thread(_round_trip, host, port, credentials)
