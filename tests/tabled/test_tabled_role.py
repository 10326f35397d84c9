"""The role of a member of a group: changes that are asked for at any moment, more than once, and are cancelled.

In one process, with real sockets and a real database; the other members are only the claims that they make.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from haild.tabled.bodies.nodes import Nodes
from haild.tabled.configuration import Configuration
from haild.tabled.group.master import Master
from haild.tabled.group.relay import PATIENCE, Address, Relay
from haild.tabled.group.role import Role
from haild.tabled.http.server import S3Server, low_level_server
from haild.tabled.metadata.claim import Claim
from support.ports import free_port

DEADLINE = 30.0
SERVED = b"HTTP/1.1 403"
"""What a master answers to a request without a signature."""
NOT_READY = b"HTTP/1.1 503"


def bound() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", free_port()))
    return sock


async def ask(port: int) -> bytes:
    """The status line; empty where the connection breaks off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return (await reader.readline())[:12]
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


class Member:
    """A role, and where its clients find it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sock = bound()
        self.port: int = self.sock.getsockname()[1]
        self.nodes = Nodes("tabled", b"tabled")
        self.server = S3Server((), "")
        self.master_address: Address | None = None
        configuration = Configuration(
            host="127.0.0.1",
            port=self.port,
            port_file=None,
            pid_file=directory / "pid",
            directory=directory,
            name="one",
            group="default",
            status_port=None,
            chunk_user="tabled",
            chunk_key="tabled",
            cld=(),
        )
        own = low_level_server(self.server)
        self.role = Role(configuration, self.nodes, self.server, own, [self.sock], lambda: self.master_address)

    async def answers(self, status: bytes = SERVED) -> None:
        async with asyncio.timeout(DEADLINE):
            assert await ask(self.port) == status

    def another_claims(self) -> None:
        """As another member does that takes over."""
        Claim(self.directory).close()


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    made = Member(tmp_path)
    yield made
    await made.role.end()
    await made.nodes.close()


async def test_clients_that_wait_are_served_as_soon_as_this_member_leads() -> None:
    """Whatever their attempts to reach the dead master are at, at that moment."""
    choice = random.Random(5)
    served = 0
    for _ in range(20):
        sock = bound()
        port = sock.getsockname()[1]
        own = low_level_server(S3Server((), ""))
        relay = Relay([sock], lambda: ("127.0.0.1", 1), own)  # nothing listens there
        relay.start()
        asking = [asyncio.create_task(ask(port)) for _ in range(40)]
        await asyncio.sleep(choice.uniform(0.0, 0.05))  # the moment is what is random here
        async with asyncio.timeout(PATIENCE / 2):
            await relay.stop(own)
        sock.close()
        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(*asking, return_exceptions=True)
        # Those that the relay had not accepted yet are the next listener's, whom there is none of here.
        assert {answer for answer in answers if isinstance(answer, bytes)} <= {NOT_READY, b""}
        served += answers.count(NOT_READY)
        await own.shutdown(0)
    assert served > 0


async def test_news_of_another_master_comes_from_several_sides_at_once(member: Member) -> None:
    role = member.role
    for turn in range(5):
        await role.lead(supersede=True)
        await member.answers()
        master = role.master
        assert master is not None
        member.another_claims()
        role.doubt.set()
        if turn % 2:
            await role.deposed.wait()  # by the guard of the claim; the others come when it has begun
        await asyncio.gather(role.stand_by(), role.stand_by())
        assert role.master is None
        member.master_address = (await passed_on()).getsockname()[:2]
        await member.answers(b"HTTP/1.1 299")


async def passed_on() -> socket.socket:
    """Another master, which has an answer of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 299 Other\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    sock = bound()
    await asyncio.start_server(answer, sock=sock)
    return sock


async def test_nobody_is_refused_while_the_role_changes(member: Member) -> None:
    refused = 0
    asked = 0

    async def clients() -> None:
        nonlocal refused, asked
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", member.port)
                writer.close()
            except ConnectionRefusedError:
                refused += 1
            asked += 1
            await asyncio.sleep(0)

    await member.role.lead(supersede=False)
    asking = asyncio.create_task(clients())
    for _ in range(3):
        member.another_claims()
        await member.role.stand_by()
        await member.role.lead(supersede=True)
    asking.cancel()
    assert asked > 10
    assert not refused
    await member.answers()


async def steps(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled_after(number: int, job: Callable[[], Awaitable[None]]) -> bool:
    """Begin a job and cancel it some turns of the loop later; whether it had ended before."""
    task = asyncio.ensure_future(job())
    await steps(number)
    ended = task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return ended


async def test_cancelled_at_any_step_it_leads_the_next_time(member: Member) -> None:
    """As when the session with cld is lost at that moment."""
    role = member.role
    number, ended = 0, False
    while not ended:
        member.another_claims()
        await role.stand_by()
        ended = await cancelled_after(number, lambda: role.lead(supersede=True))
        async with asyncio.timeout(DEADLINE):
            await role.lead(supersede=True)
        await member.answers()
        number += 1
        assert number < 10_000
    assert number > 5


async def test_cancelled_at_any_step_of_stepping_down_it_still_steps_down(member: Member) -> None:
    role = member.role
    member.master_address = (await passed_on()).getsockname()[:2]
    for number in (0, 1, 2, 5, 10, 20):
        await role.lead(supersede=True)
        member.another_claims()
        await cancelled_after(number, role.stand_by)
        # Whatever is asked for next comes after it.
        await role.stand_by()
        assert role.master is None
        await member.answers(b"HTTP/1.1 299")


async def test_after_the_end_nobody_serves(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    role = member.role
    await role.stand_by()
    opening = asyncio.ensure_future(role.lead(supersede=False))
    await steps(3)
    await role.end()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await role.stand_by()
    with pytest.raises(asyncio.CancelledError):
        await role.lead(supersede=False)
    with pytest.raises(ConnectionRefusedError):
        await ask(member.port)
    assert role.master is None


async def test_nobody_waits_for_metadata_that_are_closed(member: Member) -> None:
    """As a status page asks for figures at that moment, or a cancelled upload notes the bodies that it leaves."""
    await member.role.lead(supersede=False)
    master = member.role.master
    assert master is not None
    metadata = master.metadata
    asking = [asyncio.ensure_future(metadata.counts()) for _ in range(3)]
    await steps(1)
    await member.role.end()
    async with asyncio.timeout(DEADLINE):
        answers = await asyncio.gather(*asking, metadata.counts(), return_exceptions=True)
    assert all(not isinstance(answer, BaseException) for answer in answers[:3])
    assert isinstance(answers[3], sqlite3.Error)


async def test_a_master_whose_claim_is_gone_opens_the_metadata_anew(member: Member) -> None:
    """It was stopped, another one took over and died, and now the lock is here again, before anybody has noticed."""
    role = member.role
    await role.lead(supersede=False)
    first = role.master
    assert isinstance(first, Master)
    member.another_claims()
    await role.lead(supersede=True)
    assert role.master not in (None, first)
    await member.answers()
