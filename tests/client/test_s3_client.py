"""The S3 client against a service of 2010: a body waits until it is asked for, and its connection is not kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from haild.client.http import RefusedError
from haild.client.s3 import S3Client, Signature
from support.ports import free_port


@dataclass
class Service:
    """Takes what comes with the head for the next request, as tabled of 2010 did; asks for bodies."""

    port: int
    status: int = 200
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    early: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length:")
                    ),
                    0,
                )
                if "expect: 100-continue" in head.lower() and self.status == 200:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            self.early.append(await reader.readexactly(1))
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if self.status == 200:
                    self.bodies.append(await reader.readexactly(length))
                writer.write(b'HTTP/1.1 %d X\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n' % self.status)
                if "connection: close" in head.lower():
                    break
        writer.close()


@contextlib.asynccontextmanager
async def serving(status: int = 200) -> AsyncIterator[Service]:
    service = Service(free_port(), status)
    server = await asyncio.start_server(service.serve, "127.0.0.1", service.port)
    async with server:
        yield service


@pytest.mark.parametrize("signature", ["v2", "v4"])
async def test_a_body_waits_under_v2_only(signature: Signature) -> None:
    async with (
        serving() as service,
        S3Client("127.0.0.1", service.port, key="k", secret="s", signature=signature) as client,
    ):
        assert await client.put_object("b", "k", b"body") == "e"
        put = client.start_put("b", "large", 300_000)
        for _ in range(3):
            await put.write(b"x" * 100_000)
        assert await put.finish() == "e"
        await client.put_object("b", "empty", b"")
        await client.head_bucket("b")
    assert service.bodies[:2] == [b"body", b"x" * 300_000]
    assert service.early == []
    waited = [
        "expect: 100-continue" in head.lower() and "connection: close" in head.lower() for head in service.heads
    ]
    assert waited == ([True, True, False, False] if signature == "v2" else [False] * 4)


async def test_a_refusal_comes_before_the_body() -> None:
    async with (
        serving(403) as service,
        S3Client("127.0.0.1", service.port, key="k", secret="s", signature="v2") as client,
    ):
        with pytest.raises(RefusedError, match="403"):
            await client.put_object("b", "k", b"body")
