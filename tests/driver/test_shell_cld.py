"""The interpreter for cld against a real cld."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hailbox.shell import connect
from hailbox.shell.cld import CldInterpreter
from hailbox.shell.interpreter import CommandError, GoneError
from hailbox.stack.endpoint import Access
from haild.client.cld import OpenMode, Session
from support.shells import SECRET, cld, refused, run


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with cld(tmp_path_factory.mktemp("cld")) as (_, number):
        yield number


class Told:
    """What an interpreter said unasked."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.news = asyncio.Event()

    def append(self, text: str) -> None:
        self.said.append(text)
        self.news.set()

    async def until(self, word: str) -> str:
        async with asyncio.timeout(10):
            while not (found := [text for text in self.said if word in text]):
                self.news.clear()
                await self.news.wait()
        return found[0]


@contextlib.asynccontextmanager
async def opened(port: int, told: Told | None = None, **options: bool) -> AsyncIterator[CldInterpreter]:
    access = Access("cld-1", "127.0.0.1", port, "tabled", SECRET)
    tell = (told if told is not None else Told()).append
    interpreter = connect.cld(access, tell, **{"reconnect": False, **options})
    await interpreter.open()
    try:
        yield interpreter
    finally:
        await interpreter.close()


@pytest.mark.parametrize("udp", [False, True])
async def test_files_and_directories(port: int, tmp_path: Path, udp: bool) -> None:
    top, content = f"/files-{udp}", bytes(range(256))
    (tmp_path / "in").write_bytes(content)
    async with opened(port, udp=udp) as shell:
        assert await run(shell, f"mkdir {top}") == ""
        assert shell.prompt == "cld:/> "
        assert await run(shell, f"cd {top}") == ""
        assert shell.prompt == f"cld:{top}> "
        assert await run(shell, "pwd") == f"{top}\n"
        await run(shell, "mkdir b")
        await run(shell, f"cpin {tmp_path / 'in'} 'a name'")
        await run(shell, f"cpin {tmp_path / 'in'} b/../b/inner")
        assert await run(shell, "ls") == "b\na name\n"
        assert await run(shell, f"ls {top}/b") == "inner\n"
        await run(shell, f"cpout 'a name' {tmp_path / 'out'}")
        assert (tmp_path / "out").read_bytes() == content
        async with aclosing(shell.run(["cat", "b/inner"])) as pieces:
            assert [piece async for piece in pieces] == [content]
        await run(shell, "rm 'a name'")
        assert await run(shell, "ls") == "b\n"
        await run(shell, "cd ..")
        await run(shell, "cd ..")
        assert await run(shell, "pwd") == "/\n"


ERRORS = {
    "cat /missing": "NAME_INVAL: ",
    "cat /": "MODE_INVAL: ",
    "cd /missing": "NAME_INVAL: ",
    "rm /": "NAME_INVAL: ",
    "mkdir /no/parent": "DB_ERR: ",
    "lock /missing": "NAME_INVAL: ",
    "unlock /missing": "LOCK_INVAL: ",
    "lock /x sharply": "a lock is exclusive or shared, not sharply",
    "cpin /nonexistent /x": "/nonexistent: No such file or directory",
    "cpin /tmp /x": "/tmp: Is a directory",
    "cpin /dev/zero /x": "BAD_PKT: ",
    "cpout /missing /nonexistent/x": "NAME_INVAL: ",
    "cat": "usage: cat FILE",
    "ls a b": "usage: ls [DIR]",
    "frob": "no such command",
    "cat 'x": "no closing quotation",
}


async def test_errors_are_one_line_with_the_name_of_the_code(port: int) -> None:
    async with opened(port) as shell:
        said = {line: await refused(shell, line) for line in ERRORS}
        assert {line: text for line, text in said.items() if not text.startswith(ERRORS[line])} == {}
        # None of them has left a handle open or the session unusable.
        assert await run(shell, "list-locks") == ""


async def test_help_names_every_command(port: int) -> None:
    async with opened(port) as shell:
        text = await run(shell, "help")
        for name in ("cd", "ls", "cat", "cpin", "cpout", "mkdir", "rm", "lock", "trylock", "unlock", "list-locks"):
            assert f"\n{name}" in f"\n{text}"


async def test_a_lock_stays_held_until_it_is_given_up(port: int) -> None:
    told = Told()
    async with opened(port) as first, opened(port, told) as second:
        await run(first, "cpin /dev/null /l")
        await run(first, "lock /l")
        assert await run(first, "list-locks") == "/l  exclusive\n"
        assert (await refused(first, "lock l")).startswith("LOCK_CONFLICT: this shell")
        assert (await refused(second, "trylock /l")).startswith("LOCK_CONFLICT: another session")
        waiting = asyncio.ensure_future(run(second, "lock /l"))
        assert "/l" in await told.until("waiting")
        assert not waiting.done()
        await run(first, "unlock /l")
        await asyncio.wait_for(waiting, 5)
        assert (await refused(first, "trylock /l")).startswith("LOCK_CONFLICT")
        await run(second, "unlock /l")
        await run(first, "lock /l shared")
        await run(second, "trylock /l shared")
        assert await run(second, "list-locks") == "/l  shared\n"


async def test_a_wait_that_is_cancelled_leaves_nothing_behind(port: int) -> None:
    told = Told()
    async with opened(port) as first, opened(port, told) as second:
        await run(first, "cpin /dev/null /c")
        await run(first, "lock /c")
        waiting = asyncio.ensure_future(run(second, "lock /c"))
        await told.until("waiting")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await run(second, "list-locks") == ""
        await run(first, "unlock /c")
        await run(first, "trylock /c")


async def test_what_happens_to_a_locked_file_is_told(port: int) -> None:
    told, waits = Told(), Told()
    async with opened(port, told) as first, opened(port, waits) as second, opened(port) as third:
        await run(first, "cpin /dev/null /gone")
        await run(first, "lock /gone")
        waiting = asyncio.ensure_future(run(second, "lock /gone"))
        await waits.until("waiting")
        await run(third, "rm /gone")
        assert "/gone was removed" in await told.until("removed")
        assert await run(first, "list-locks") == ""
        with pytest.raises(CommandError, match="INODE_INVAL: the file was removed"):
            await asyncio.wait_for(waiting, 5)


async def test_leaving_frees_the_locks_at_once(port: int) -> None:
    async with opened(port) as first:
        await run(first, "cpin /dev/null /f")
        await run(first, "lock /f")
    async with opened(port) as second:
        await run(second, "trylock /f")


async def test_a_lost_session_is_told_and_is_an_error(tmp_path: Path) -> None:
    told, again = Told(), Told()
    with cld(tmp_path / "cld") as (process, port):

        async def session() -> Session:
            return await Session.connect("127.0.0.1", port, user="tabled", secret=SECRET.encode(), lease=1)

        script = CldInterpreter(session, told.append, reconnect=False)
        person = CldInterpreter(session, again.append, reconnect=True)
        for shell in (script, person):
            await shell.open()
            await run(shell, "cpin /dev/null /l")
        await run(script, "lock /l")
        process.send_signal(signal.SIGSTOP)
        assert "no longer locked: /l" in await told.until("the session is lost")
        await again.until("the session is lost")
        process.send_signal(signal.SIGCONT)
        with pytest.raises(GoneError, match="the session is lost"):
            await run(script, "ls")
        assert script.lost
        # Who has been told at a prompt goes on in a new session, and is told that, too.
        assert await run(person, "ls") == "l\n"
        await again.until("new session")
        await script.close()
        await person.close()


async def test_wrong_secret_and_nobody_there(port: int) -> None:
    wrong = connect.cld(Access("cld-1", "127.0.0.1", port, "tabled", "wrong"), print, reconnect=False)
    with pytest.raises(CommandError, match="SIG_INVAL"):
        await wrong.open()
    nobody = connect.cld(Access("cld-1", "127.0.0.1", 1, "tabled", SECRET), print, reconnect=False)
    with pytest.raises(GoneError, match=r"127\.0\.0\.1:1"):
        await nobody.open()


async def test_names_that_a_terminal_would_act_on_are_escaped(port: int) -> None:
    session = await Session.connect("127.0.0.1", port, user="tabled", secret=SECRET.encode())
    directory = OpenMode.CREATE | OpenMode.DIRECTORY
    await session.open("/odd", directory)
    await session.open("/odd/\x1b[2J\n\\ \udcff é", directory)
    await session.end()
    async with opened(port) as shell:
        assert await run(shell, "ls /odd") == "\\x1b[2J\\x0a\\\\ \\xff é\n"
