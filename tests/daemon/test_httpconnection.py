"""Targets that are not ASCII are encoded where requests begin, and nowhere else, however the data is cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from hypothesis import given
from hypothesis import strategies as st

from haild.http.connection import HttpConnection
from haild.http.requestline import TargetEncoder

LINE_LIKE = b"GET /\xc3\xa9 HTTP/1.1\r\n\r\nabcd"
"""A body that looks like a request."""


class _Transport(asyncio.Transport):
    """Keeps what the server sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _served(parts: Iterable[tuple[bytes, int]]) -> tuple[list[tuple[str, bytes]], bytes]:
    """Targets and bodies of requests, and what was sent: `parts` are data and turns of the loop that follow."""
    seen = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.raw_path, await request.read()))
        return web.Response(text="done")

    server = web.Server(handle)
    connection = HttpConnection(server, loop=asyncio.get_running_loop())
    transport = _Transport()
    connection.connection_made(transport)
    for data, turns in parts:
        connection.data_received(data)
        for _ in range(turns):
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, transport.sent


@pytest.mark.parametrize("turns", range(8))
async def test_a_body_is_left_as_it_is_whenever_it_comes(turns: int) -> None:
    head = b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(LINE_LIKE)
    get = b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"
    seen, _ = await _served([(head, turns), (LINE_LIKE, 10), (get, 10)])
    assert seen == [("/k", LINE_LIKE), ("/%C3%A9", b"")]


@given(st.data())
async def test_however_requests_are_cut(data: st.DataObject) -> None:
    seen = []
    parts = []
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(
            st.text(st.characters(codec="utf-8", exclude_characters=" #?%", min_codepoint=0x21), max_size=6)
        )
        name = "".join(character for character in name if character.isalnum())
        body = data.draw(st.sampled_from([b"", b"\r\n\r\n", LINE_LIKE]))
        head = b"PUT /%b HTTP/1.1\r\nHost: \xc3\xa9\r\nContent-Length: %d\r\n\r\n" % (name.encode(), len(body))
        seen.append((f"/{quote(name)}", body))
        whole = head + body
        # The method comes in one piece: without it, it is no request yet.
        cuts = sorted({4, *data.draw(st.lists(st.integers(4, len(whole)), max_size=4)), len(whole)})
        for start, end in zip([0, *cuts], cuts, strict=False):
            parts.append((whole[start:end], data.draw(st.integers(0, 3))))
        parts[-1] = (parts[-1][0], 20)
    assert (await _served(parts))[0] == seen


async def test_requests_behind_others_in_one_piece_are_refused() -> None:
    one = b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n"
    seen, sent = await _served([(one + one.replace(b"k", b"\xc3\xa9"), 20)])
    assert not seen
    assert sent.split()[1] == b"400"


@pytest.mark.parametrize("data", [b"X: \xc3\xa9\r\n", b"\x16\x03\x01\xff\xff", b"\r\n\xc3", b""])
def test_what_begins_no_request_is_left_as_it_is(data: bytes) -> None:
    assert TargetEncoder().feed(data, begins=True) == data


async def test_the_attributes_of_the_library_mean_what_we_take_them_for() -> None:
    """`_request_count` counts heads, `_messages` has the last with its body, a server's `_kwargs` make handlers."""

    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server = web.Server(handle, read_bufsize=4096)
    assert server._kwargs["read_bufsize"] == 4096
    assert server._loop is asyncio.get_running_loop()
    connection = RequestHandler(server, loop=server._loop, **server._kwargs)
    ours, theirs = socket.socketpair()
    with ours:
        transport, _ = await server._loop.connect_accepted_socket(lambda: connection, theirs)
        before = connection._request_count
        connection.data_received(b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        assert connection._request_count == before + 1
        head, body = connection._messages[-1]
        assert (head.method, head.path) == ("PUT", "/k")
        assert not body.is_eof()
        connection.data_received(b"abc")
        assert body.is_eof()
        transport.abort()
