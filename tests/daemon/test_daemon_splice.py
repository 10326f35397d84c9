"""Passing bytes from one connection on to another, with real sockets on both sides."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from haild.transfer.splice import PIPE, BrokenSourceError, can_take, splice

DEADLINE = 30.0
SIZE = 5 * PIPE + 12_345
BODY = os.urandom(SIZE)


class Passage:
    """A source, whose far end is `feeder`, and a transport, whose peer is `client`; both of those block."""

    def __init__(self, feeder: socket.socket, source: socket.socket) -> None:
        self.feeder = feeder
        self.source = source
        self.client: socket.socket
        self.transport: asyncio.WriteTransport

    async def splice(
        self, count: int, *, chunked: bool = False, silence: float = DEADLINE, stall: float = DEADLINE
    ) -> None:
        await splice(
            self.source.fileno(),
            self.transport,
            count,
            source_deadline=silence,
            deadline=stall,
            chunked=chunked,
        )

    async def received(self) -> bytes:
        """What the client gets until the transport is closed."""

        def read() -> bytes:
            found = bytearray()
            while block := self.client.recv(1 << 16):
                found += block
            return bytes(found)

        return await asyncio.to_thread(read)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return near, far


@pytest.fixture
async def passage() -> AsyncIterator[Passage]:
    feeder, source = _tcp_pair()
    source.setblocking(False)
    made = Passage(feeder, source)
    made.client, served = _tcp_pair()
    made.client.settimeout(DEADLINE)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=served)
    assert isinstance(transport, asyncio.WriteTransport)
    made.transport = transport
    yield made
    transport.abort()
    for each in (feeder, source, made.client):
        each.close()


async def _feed(passage: Passage, content: bytes) -> None:
    await asyncio.to_thread(passage.feeder.sendall, content)


async def test_as_many_bytes_as_asked_for_come_through_and_no_more(passage: Passage) -> None:
    passage.transport.write(b"head")
    receiving = asyncio.create_task(passage.received())
    feeding = asyncio.create_task(_feed(passage, BODY + b"next"))
    await passage.splice(SIZE)
    passage.transport.write(b"tail")
    passage.transport.close()
    assert await receiving == b"head" + BODY + b"tail"
    await feeding
    assert passage.source.recv(100) == b"next"


async def test_what_waits_in_the_transport_goes_first(passage: Passage) -> None:
    waiting = os.urandom(8 << 20)
    passage.transport.write(waiting)
    assert passage.transport.get_write_buffer_size()
    feeding = asyncio.create_task(_feed(passage, BODY))
    passing = asyncio.create_task(passage.splice(SIZE))
    receiving = asyncio.create_task(passage.received())
    await asyncio.gather(feeding, passing)
    passage.transport.close()
    assert await receiving == waiting + BODY


async def test_chunks_are_framed(passage: Passage) -> None:
    receiving = asyncio.create_task(passage.received())
    feeding = asyncio.create_task(_feed(passage, BODY))
    await passage.splice(SIZE, chunked=True)
    await feeding
    passage.transport.close()
    framed, content = await receiving, bytearray()
    while framed:
        size, _, rest = framed.partition(b"\r\n")
        content += rest[: int(size, 16)]
        assert rest[int(size, 16) :][:2] == b"\r\n"
        framed = rest[int(size, 16) + 2 :]
    assert bytes(content) == BODY


@pytest.mark.parametrize("end", [socket.socket.close, lambda _: None], ids=["closed", "silent"])
async def test_it_says_how_much_of_a_broken_source_has_been_passed_on(
    passage: Passage, end: Callable[[socket.socket], None]
) -> None:
    receiving = asyncio.create_task(passage.received())
    await _feed(passage, BODY[:1_500_000])
    end(passage.feeder)
    with pytest.raises(BrokenSourceError) as caught:
        await passage.splice(SIZE, silence=0.3)
    passage.transport.close()
    assert await receiving == BODY[:1_500_000]
    assert caught.value.passed == 1_500_000


async def test_a_client_that_takes_nothing_is_given_up(passage: Passage) -> None:
    feeding = asyncio.create_task(_feed(passage, bytes(64 << 20)))
    with pytest.raises(TimeoutError):
        await passage.splice(64 << 20, stall=0.3)
    passage.source.close()  # ends the feeder, whose bytes are not wanted any more
    with pytest.raises(ConnectionError):
        await feeding


@pytest.mark.parametrize("who", ["client", "transport"])
async def test_a_connection_that_ends_ends_the_passage(passage: Passage, who: str) -> None:
    passing = asyncio.create_task(passage.splice(SIZE))
    await _feed(passage, BODY[:300_000])
    assert await asyncio.to_thread(passage.client.recv, 1)
    if who == "client":
        passage.client.close()
    else:
        passage.transport.abort()
    feeding = asyncio.create_task(_feed(passage, BODY[300_000:]))
    with pytest.raises(ConnectionError):
        await passing
    passage.source.close()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_nothing_is_left_open(passage: Passage) -> None:
    before = len(os.listdir("/proc/self/fd"))
    passage.feeder.close()
    with pytest.raises(BrokenSourceError):
        await passage.splice(SIZE)
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the feeder


async def test_a_connection_that_has_ended_takes_nothing(passage: Passage) -> None:
    assert can_take(passage.transport)
    assert not can_take(None)
    passage.transport.abort()
    with pytest.raises(ConnectionError):
        await passage.splice(SIZE)
