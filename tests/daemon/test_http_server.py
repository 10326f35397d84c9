"""Connections of the HTTP server, over a real socket: order, limits, bodies that no handler reads, and the end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haild.http.parser import Refusal
from haild.http.request import BadBodyError, ClientGoneError, Request
from haild.http.server import HttpServer, Limits, simple_refusal

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SECONDS = 20.0


async def echo(request: Request) -> None:
    """Answers with the target and the body."""
    body = b""
    request.ask_for_body()
    while piece := await request.body.read():
        body += piece
    request.respond(200, {"X": request.target}, body)


@asynccontextmanager
async def served(
    handler: Callable[[Request], Awaitable[None]], limits: Limits | None = None
) -> AsyncIterator[tuple[HttpServer, Callable[[], Awaitable[Streams]]]]:
    server = HttpServer(handler, simple_refusal, limits)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", port)
        writers.append(streams[1])
        return streams

    try:
        async with asyncio.timeout(SECONDS):
            yield server, connect
    finally:
        for writer in writers:
            writer.transport.abort()
        listener.close()
        await server.shutdown(0.1)
        async with asyncio.timeout(SECONDS):
            while server.connections:  # noqa: ASYNC110 - the event loop tells each connection of its end
                await asyncio.sleep(0)


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers.get("Content-Length", 0)))
    return int(first.split()[1]), headers, body


async def test_requests_in_one_piece_are_answered_in_order() -> None:
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        large = bytes(range(256)) * 4096
        writer.write(b"GET /a HTTP/1.1\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(large))
        writer.write(large + b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        for target, body in (("/a", b""), ("/b", large), ("/c", b"abc")):
            status, headers, content = await answer(reader)
            assert (status, headers["X"], content) == (200, target, body)


async def test_a_request_after_the_wish_for_another_protocol_is_answered() -> None:
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        upgrade = b"GET /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
        writer.write(upgrade + b"GET /b HTTP/1.1\r\n\r\n")
        assert (await answer(reader))[1]["X"] == "/a"
        assert (await answer(reader))[1]["X"] == "/b"


@pytest.mark.parametrize("step", [1, 3, 100])
async def test_a_body_after_the_wish_for_another_protocol_is_no_request(step: int) -> None:
    body = b"GET /hidden HTTP/1.1\r\n\r\n"
    head = b"PUT /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(body)
    data = head + body + b"GET /b HTTP/1.1\r\n\r\n"
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await asyncio.sleep(0)
        assert (await answer(reader))[2] == body
        assert (await answer(reader))[1]["X"] == "/b"


@pytest.mark.parametrize("in_blocks", [False, True])
async def test_what_waits_for_a_slow_handler_is_bounded(in_blocks: bool) -> None:
    size, block = 32 << 20, 1 << 17
    go = asyncio.Event()
    most = 0

    async def slow(request: Request) -> None:
        nonlocal most
        if in_blocks:
            request.body.in_blocks(lambda: block)
        await go.wait()
        total = 0
        while piece := await request.body.read():
            total += len(piece)
            most = max(most, request.body.received - total)
        request.respond(200, {"X": str(total)})

    async with served(slow) as (_, connect):
        reader, writer = await connect()
        writer.write(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        sending = asyncio.create_task(_send(writer, size))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.3)
        go.set()
        assert (await answer(reader))[1]["X"] == str(size)
        await sending
        assert most <= 4 << 18


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size >> 16):
        writer.write(bytes(1 << 16))
        await writer.drain()


@pytest.mark.parametrize("size", [1000, 5 << 20])
async def test_a_body_that_the_handler_leaves_is_dropped_and_the_next_request_served(size: int) -> None:
    async def refuse(request: Request) -> None:
        request.respond(403, {"X": request.target})

    async with served(refuse) as (_, connect):
        reader, writer = await connect()
        for target in ("/a", "/b"):
            writer.write(b"PUT %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (target.encode(), size))
            status, headers, _ = await answer(reader)
            assert (status, headers["X"], "Connection" in headers) == (403, target, False)
            writer.write(bytes(size))


async def test_a_body_that_does_not_come_ends_the_connection() -> None:
    async def refuse(request: Request) -> None:
        request.respond(403, {})

    async with served(refuse, Limits(linger=0.05)) as (_, connect):
        for head in (b"", b"Expect: 100-continue\r\n"):
            reader, writer = await connect()
            writer.write(b"PUT / HTTP/1.1\r\n%bContent-Length: 10\r\n\r\n" % head)
            assert (await answer(reader))[0] == 403
            assert await reader.read() == b""


async def test_the_body_is_asked_for_when_it_is_wanted() -> None:
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await answer(reader))[2] == b"abc"


async def test_a_client_that_sends_no_more_still_gets_its_answers() -> None:
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        writer.write_eof()
        assert (await answer(reader))[1]["X"] == "/a"
        assert (await answer(reader))[1]["X"] == "/b"
        assert await reader.read() == b""


@pytest.mark.parametrize(("body", "error"), [(b"g\r\n", BadBodyError), (b"3\r\nab", ClientGoneError)])
async def test_a_broken_body_is_told_to_the_handler(body: bytes, error: type[Exception]) -> None:
    told: asyncio.Queue[Exception] = asyncio.Queue()

    async def read(request: Request) -> None:
        try:
            while await request.body.read():
                pass
        except (BadBodyError, ClientGoneError) as broken:
            told.put_nowait(broken)
        request.respond(400, {})

    async with served(read) as (_, connect):
        reader, writer = await connect()
        writer.write(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        writer.write_eof()
        assert isinstance(await told.get(), error)
        assert (await answer(reader))[:2][0] == 400
        assert await reader.read() == b""


async def test_what_is_no_request_is_refused_after_the_answers_before_it() -> None:
    async with served(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(b"GET /a HTTP/1.1\r\n\r\nrubbish\r\n\r\n")
        assert (await answer(reader))[1]["X"] == "/a"
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""


async def test_a_client_that_still_sends_reads_why_it_is_refused() -> None:
    async with served(echo) as (server, connect):
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 3_000_000)
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""
        writer.close()
        while server.connections:  # noqa: ASYNC110 - the event loop tells each connection of its end
            await asyncio.sleep(0)


async def test_a_client_that_has_gone_when_it_is_refused_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    refused = asyncio.Event()

    def refuse(refusal: Refusal, client: str) -> tuple[int, dict[str, str], bytes]:
        refused.set()
        return simple_refusal(refusal, client)

    server = HttpServer(echo, refuse)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(SECONDS):
            client = socket.create_connection(listener.sockets[0].getsockname())
            client.sendall(b"rubbish\r\n\r\n")
            client.close()  # its kernel answers the refusal by a reset
            await refused.wait()
            while server.connections:  # noqa: ASYNC110 - the event loop tells each connection of its end
                await asyncio.sleep(0)
    finally:
        listener.close()
    assert caplog.text == ""


async def test_a_refused_client_does_not_keep_its_connection() -> None:
    async with served(echo, Limits(linger=0.05)) as (server, connect):
        reader, writer = await connect()
        writer.write(b"rubbish\r\n\r\n")
        assert (await answer(reader))[0] == 400
        while server.connections:  # noqa: ASYNC110 - the event loop tells each connection of its end
            await asyncio.sleep(0)


@pytest.mark.parametrize(("version", "length"), [("1.1", None), ("1.1", 600_000), ("1.0", None)])
async def test_parts_of_files_are_pieces_of_an_answer(tmp_path: Path, version: str, length: int | None) -> None:
    content = os.urandom(900_000)
    (tmp_path / "file").write_bytes(content)

    async def handler(request: Request) -> None:
        request.start(200, {}, length)
        with (tmp_path / "file").open("rb", buffering=0) as file:
            await request.send_file(file, 100_000, 200_000)
            await request.send_file(file, 300_000, 400_000)
        request.finish()

    async with served(handler) as (_, connect):
        reader, writer = await connect()
        for _ in range(2 if version == "1.1" else 1):
            writer.write(f"GET / HTTP/{version}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if length is not None:
                body = await reader.readexactly(length)
            elif version == "1.0":
                body = await reader.read()
            else:
                assert b"Transfer-Encoding: chunked" in head
                body = b""
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                assert await reader.readline() == b"\r\n"
            assert body == content[100_000:700_000]
        writer.write(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        if version == "1.1":
            assert (await reader.read()).endswith(b"\r\n\r\n")


async def test_an_answer_that_breaks_off_has_no_orderly_end_even_if_it_tells_no_length() -> None:
    async def handler(request: Request) -> None:
        request.start(200, {}, None)
        await request.write(b"part")
        request.abort()

    async with served(handler) as (_, connect):
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_handler_can_tell_that_its_client_has_left() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        assert not request.client_has_left
        begun.set()
        while not request.client_has_left:  # noqa: ASYNC110 - the event loop tells the connection
            await asyncio.sleep(0)
        left.set()
        request.respond(200, {})

    async with served(handler) as (_, connect):
        _, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await begun.wait()
        writer.close()
        await left.wait()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n"])
async def test_a_head_must_come_in_time(sent: bytes) -> None:
    async with served(echo, Limits(head=0.05)) as (_, connect):
        reader, writer = await connect()
        writer.write(sent)
        assert await reader.read() == b""


async def test_an_idle_connection_is_closed_in_time_and_a_slow_head_does_not_keep_it() -> None:
    async with served(echo, Limits(head=0.05, idle=0.1)) as (_, connect):
        for more in (b"", b"GET / HT"):
            reader, writer = await connect()
            writer.write(b"GET / HTTP/1.1\r\n\r\n" + more)
            await answer(reader)
            assert await reader.read() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_answers_of_unknown_length(version: str) -> None:
    async def stream(request: Request) -> None:
        request.start(200, {}, None)
        for piece in (b"abc", b"", b"defg"):
            await request.write(piece)
        request.finish()

    async with served(stream) as (_, connect):
        reader, writer = await connect()
        writer.write(f"GET / HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        rest = await reader.read()
        assert (b"chunked" in head) == (version == "1.1")
        assert rest == (b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" if version == "1.1" else b"abcdefg")


async def test_head_requests_get_no_body() -> None:
    async def whole(request: Request) -> None:
        if request.target == "/stream":
            request.start(200, {}, 3)
            await request.write(b"abc")
            request.finish()
        else:
            request.respond(200, {}, b"abc")

    async with served(whole) as (_, connect):
        reader, writer = await connect()
        writer.write(b"HEAD / HTTP/1.1\r\n\r\nHEAD /stream HTTP/1.1\r\nConnection: close\r\n\r\n")
        data = await reader.read()
        assert data.count(b"Content-Length: 3\r\n") == 2
        assert b"abc" not in data


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\rb", "a\0b"])
async def test_no_header_of_an_answer_can_begin_another_one(value: str) -> None:
    refused: asyncio.Queue[bool] = asyncio.Queue()

    async def split(request: Request) -> None:
        with pytest.raises(ValueError, match="line break"):
            request.respond(200, {"A": value})
        refused.put_nowait(True)
        request.respond(200, {"A": "b"})

    async with served(split) as (_, connect):
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await answer(reader))[1]["A"] == "b"
        assert await refused.get()


async def test_shutdown_lets_requests_finish_and_closes_idle_connections() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        begun.set()
        await go.wait()
        request.respond(200, {})

    async with served(wait) as (server, connect):
        idle, _ = await connect()
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await begun.wait()
        ending = asyncio.create_task(server.shutdown(SECONDS))
        assert await idle.read() == b""
        go.set()
        assert (await answer(reader))[1]["Connection"] == "close"
        await ending
        assert await reader.read() == b""


async def test_shutdown_cancels_what_takes_too_long() -> None:
    begun = asyncio.Event()

    async def hang(request: Request) -> None:
        begun.set()
        await request.body.read()
        request.respond(200, {})

    async with served(hang) as (server, connect):
        reader, writer = await connect()
        writer.write(b"PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        await begun.wait()
        await server.shutdown(0.05)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
