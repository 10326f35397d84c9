"""The client library against the real daemon, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from haild.client.chunk import CheckState, ChunkError, Connection, Pool, RemainingBody, ResponseCode
from haild.wire.chunk.messages import MAGIC
from support.chunkd_daemon import Daemon, running

USER, SECRET = "user", b"user"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("chunkd"), "<Check><User>user</User></Check>") as started:
        yield started


@pytest.fixture
async def node(daemon: Daemon, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    table = request.node.name.encode()
    connection = await Connection.open("127.0.0.1", daemon.port, user=USER, secret=SECRET, table=table, create=True)
    yield connection
    await connection.close()


def _pool(daemon: Daemon, limit: int = 4) -> Pool:
    return Pool("127.0.0.1", daemon.port, user=USER, secret=SECRET, table=b"pool\0", limit=limit)


async def _pieces(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _sha1(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).digest()


@pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_001])
async def test_round_trips(node: Connection, size: int) -> None:
    content = os.urandom(size)
    assert await node.put(b"k", size, _pieces(content)) == _sha1(content)
    async with await node.get(b"k") as reader:
        assert (reader.size, reader.sha1) == (size, _sha1(content))
        blocks = [block async for block in reader]
    assert b"".join(blocks) == content
    assert all(len(block) <= 256 * 1024 for block in blocks)
    meta = await node.get_meta(b"k")
    assert (meta.size, meta.sha1, meta.mtime) == (size, _sha1(content), reader.mtime)
    part = await node.get_part(b"k", size // 2, 100)
    assert part.data == content[size // 2 :][:100]
    assert part.last == (size // 2 + len(part.data) == size)
    await node.copy(b"copy", b"k")
    assert sorted(listed.name for listed in await node.listing()) == [b"copy", b"k"]
    await node.delete(b"k")
    assert [listed.sha1 for listed in await node.listing()] == [_sha1(content)]
    assert await (await node.get(b"copy")).read_all() == content


def _receive(rest: RemainingBody, count: int) -> bytes:
    """`count` bytes, read from the socket past the client library."""
    found = b""
    with socket.socket(fileno=os.dup(rest.descriptor)) as taken:
        taken.settimeout(30)
        while len(found) < count:
            found += taken.recv(count - len(found))
    return found


@pytest.mark.parametrize("taken", ["all", "some", "none"])
async def test_the_rest_of_a_body_can_be_read_from_the_socket(node: Connection, taken: str) -> None:
    content = os.urandom(3_000_001)
    await node.put(b"k", len(content), content)
    for _ in range(2):  # the connection is as good as before
        found, rests = b"", 0
        async with await node.get(b"k") as reader:
            async for piece in reader.pieces(1 << 20):
                if isinstance(piece, RemainingBody):
                    rests += 1
                    count = {"all": piece.size, "some": 1000, "none": 0}[taken]
                    found += await asyncio.to_thread(_receive, piece, count)
                    piece.taken = count
                else:
                    found += piece
        assert (found, rests) == (content, 1)
        assert node.usable
    assert (await node.get_meta(b"k")).size == len(content)


async def test_a_rest_that_breaks_off_ends_the_connection(node: Connection) -> None:
    content = bytes(3_000_001)
    await node.put(b"k", len(content), content)

    async def read() -> None:
        async with await node.get(b"k") as reader:
            async for piece in reader.pieces(1 << 20):
                if isinstance(piece, RemainingBody):
                    piece.failure = "gone"

    with pytest.raises(ConnectionError, match="gone"):
        await read()
    assert not node.usable


async def test_a_small_rest_comes_as_blocks(node: Connection) -> None:
    content = os.urandom(3_000_001)
    await node.put(b"k", len(content), content)
    async with await node.get(b"k") as reader:
        pieces = [piece async for piece in reader.pieces(len(content) + 1)]
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == content


async def test_a_refusal_leaves_the_connection_usable(node: Connection) -> None:
    await node.put(b"k", 1, b"x")
    for action, code in (
        (node.get(b"missing"), ResponseCode.NO_SUCH_KEY),
        (node.put(b"k", 300_000, _pieces(bytes(300_000))), ResponseCode.KEY_EXISTS),
        (node.get_part(b"k", 2, 0), ResponseCode.INVALID_SEEK),
        (node.open_table(b"absent"), ResponseCode.INVALID_ARGUMENT),
        (node.delete(b""), ResponseCode.INVALID_KEY),
    ):
        with pytest.raises(ChunkError) as caught:
            await action
        assert caught.value.code == code
        assert node.usable
    await node.ping()


async def test_login_with_a_wrong_secret(daemon: Daemon) -> None:
    with pytest.raises(ChunkError) as caught:
        await Connection.open("127.0.0.1", daemon.port, user=USER, secret=b"wrong")
    assert caught.value.code == ResponseCode.SIGNATURE_DOES_NOT_MATCH


async def test_the_self_check(node: Connection) -> None:
    _, before = await node.check_status()
    await node.start_check()
    async with asyncio.timeout(15):
        state, finished = await node.check_status()
        while state == CheckState.RUNNING:
            state, finished = await node.check_status()
    assert state == CheckState.IDLE
    assert finished > before


async def test_an_aborted_put_stores_nothing(daemon: Daemon) -> None:
    pool = _pool(daemon)
    async with pool.connection() as node:
        upload = await node.start_put(b"aborted", 500_000)
        await upload.write(bytes(400_000))
        await upload.abort()

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise ValueError("the source failed")

    with pytest.raises(ValueError, match="the source failed"):
        async with pool.connection() as node:
            await node.put(b"failed", 200_000, failing())
    async with pool.connection() as node:
        with pytest.raises(ValueError, match="more bytes"):
            await node.put(b"long", 5, b"too long")
    async with pool.connection() as node:
        with pytest.raises(ValueError, match="fewer"):
            await node.put(b"short", 500, b"too short")
    async with pool.connection() as node:
        assert await node.listing() == []
    await pool.close()


async def test_three_steps_to_several_nodes_at_once(daemon: Daemon) -> None:
    pool = _pool(daemon)
    content = os.urandom(200_000)
    async with pool.connection() as one, pool.connection() as two:
        uploads = [await node.start_put(key, len(content)) for node, key in ((one, b"1"), (two, b"2"))]
        async for piece in _pieces(content):
            await asyncio.gather(*(upload.write(piece) for upload in uploads))
        assert await asyncio.gather(*(upload.finish() for upload in uploads)) == [_sha1(content)] * 2
    async with pool.connection() as node:
        await node.delete(b"1")
        await node.delete(b"2")
    await pool.close()


async def test_a_pool_reuses_what_is_whole_and_drops_the_rest(daemon: Daemon) -> None:
    pool = _pool(daemon, limit=2)
    content = os.urandom(2_000_000)
    async with pool.connection() as first:
        await first.put(b"k", len(content), _pieces(content))
    async with pool.connection() as again:
        assert again is first
        async with await again.get(b"k") as reader:
            await anext(reader)
        assert not again.usable
    async with pool.connection() as fresh:
        assert fresh is not first
        await fresh.delete(b"k")

        got_one = asyncio.Event()

        async def two_at_once() -> Connection:
            async with pool.connection() as second:
                got_one.set()
                async with pool.connection() as third:
                    assert second is not third
                    return third

        waiter = asyncio.create_task(two_at_once())
        await asyncio.wait_for(got_one.wait(), 10)
        assert (pool.in_use, pool.idle) == (2, 0)
    assert await asyncio.wait_for(waiter, 10) is fresh
    await pool.close()
    with pytest.raises(RuntimeError):
        async with pool.connection():
            pass


async def test_a_pool_survives_a_restart_of_the_node(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    pool = _pool(daemon)
    try:
        async with pool.connection() as node:
            await node.put(b"k", 3, b"abc")
        port = daemon.port
        daemon.kill()
        daemon.configuration.write_text(daemon.configuration.read_text().replace("auto", str(port)))
        daemon.start()
        async with pool.connection() as node:
            assert await (await node.get(b"k")).read_all() == b"abc"
    finally:
        await pool.close()
        daemon.kill()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _served_by(answer: Answer, stall: float = 5.0) -> None:
    """Log in at a server that does `answer` and nothing else."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connection = await Connection.open("127.0.0.1", port, user=USER, secret=SECRET, deadline=stall, stall=stall)
        try:
            await connection.get_part(b"k", 0, 0)
        finally:
            await connection.close()


async def test_a_server_that_closes_is_an_os_error() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    with pytest.raises(ConnectionError):
        await _served_by(answer)


async def test_a_server_that_speaks_something_else_is_an_os_error() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n" + b" " * 200)

    with pytest.raises(ConnectionError, match="magic"):
        await _served_by(answer)


async def test_a_silent_server_is_a_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with pytest.raises(TimeoutError, match="silent"):
        await _served_by(answer, stall=0.1)


async def test_a_part_without_bounds_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(93)
        writer.write(MAGIC + bytes(40))
        await reader.readexactly(97)
        writer.write(MAGIC + bytes(8) + b"\xff" * 8 + bytes(32))

    with pytest.raises(ConnectionError, match="more than"):
        await _served_by(answer)
