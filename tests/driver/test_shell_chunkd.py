"""The interpreter for chunkd against a real chunkd."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hailbox.shell import connect
from hailbox.shell.chunkd import ChunkdInterpreter
from hailbox.shell.escape import escape, unescape
from hailbox.shell.interpreter import CommandError, GoneError, split
from hailbox.stack.endpoint import Access
from haild.client.chunk import Connection
from support.chunkd_daemon import Daemon, running
from support.shells import refused, run


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("chunkd"), "<Check><User>checker</User></Check>") as started:
        yield started


@contextlib.asynccontextmanager
async def opened(
    daemon: Daemon, table: str | None, *, create: bool = True, exact: bool = False, user: str = "u"
) -> AsyncIterator[ChunkdInterpreter]:
    access = Access("chunkd-1", "127.0.0.1", daemon.port, user, user)
    interpreter = connect.chunkd(access, table=table, create=create and table is not None, exact=exact)
    await interpreter.open()
    try:
        yield interpreter
    finally:
        await interpreter.close()


async def test_objects_come_and_go(daemon: Daemon) -> None:
    async with opened(daemon, "objects") as shell:
        assert shell.prompt == "chunkd:objects> "
        assert await run(shell, "list") == ""
        assert await run(shell, "put k 'a value'") == ""
        assert await run(shell, "get k") == "a value"
        assert await run(shell, "cp copy k") == ""
        assert await run(shell, "getpart copy 2 3") == "val"
        assert await run(shell, "getpart copy 2 0") == "value"
        assert await run(shell, "getpart copy 7 1") == ""
        rows = [row.split() for row in (await run(shell, "list")).splitlines()]
        digest = hashlib.sha1(b"a value").hexdigest()
        assert sorted((row[0], row[3]) for row in rows) == [("7", "copy"), ("7", "k")]
        assert {row[2] for row in rows} == {digest}
        await run(shell, "del k")
        assert (await run(shell, "list")).split()[-1] == "copy"
        assert await run(shell, "ping") == "ok\n"


async def test_keys_end_in_a_nul_unless_they_are_exact(daemon: Daemon) -> None:
    async with opened(daemon, "nul") as shell:
        await run(shell, "put key value")
    node = await Connection.open("127.0.0.1", daemon.port, user="u", secret=b"u", table=b"nul\0")
    reader = await node.get(b"key\0")
    assert await reader.read_all() == b"value"
    await node.close()
    async with opened(daemon, "nul\\x00", create=False, exact=True) as shell:
        assert await run(shell, "get 'key\\x00'") == "value"
        assert (await refused(shell, "get key")).startswith("NoSuchKey: ")
        await run(shell, "put '\\xff/\\\\' odd")
        assert (await run(shell, "list")).splitlines()[-1].endswith(("  key", "  \\xff/\\\\"))
        assert await run(shell, "get '\\xff/\\\\'") == "odd"
        assert (await refused(shell, "get 'a\\b'")).startswith("InvalidKey: ")


async def test_large_files_go_in_and_come_out(daemon: Daemon, tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / "in").write_bytes(content)
    async with opened(daemon, "large") as shell:
        await run(shell, f"put-file big {tmp_path / 'in'}")
        await run(shell, f"get big {tmp_path / 'out'}")
        assert (tmp_path / "out").read_bytes() == content
        part = b"".join([piece async for piece in shell.run(["getpart", "big", "5", "600000"])])
        assert part == content[5:600_005]
        rest = b"".join([piece async for piece in shell.run(["getpart", "big", "1000", "0"])])
        assert rest == content[1000:]
        (tmp_path / "in").write_bytes(b"")
        await run(shell, f"put-file empty {tmp_path / 'in'}")
        assert await run(shell, "get empty") == ""


ERRORS = {
    "get missing": "NoSuchKey: ",
    "get missing /nonexistent/x": "NoSuchKey: ",
    "getpart missing 0 1": "NoSuchKey: ",
    "getpart there 6 1": "InvalidSeek: ",
    "getpart there one 1": "'one' is no number",
    "getpart there -1 1": "'-1' is no number",
    "getpart there 99999999999999999999 1": "'99999999999999999999' is no number",
    "put there again": "KeyExists: ",
    "cp there there": "KeyExists: ",
    "cp new missing": "NoSuchKey: ",
    "del missing": "NoSuchKey: ",
    "table missing": "InvalidArgument: ",
    "table there maybe": "usage: table NAME [create]",
    "put-file x /nonexistent": "/nonexistent: No such file or directory",
    "put-file x /tmp": "/tmp: not a regular file",
    "put-file x /dev/zero": "/dev/zero: not a regular file",
    "get there /nonexistent/x": "/nonexistent/x: No such file or directory",
    f"get {'k' * 1024}": "InvalidKey: ",
    "checkstart": "AccessDenied: ",
    "frob": "no such command",
    "put there": "usage: put KEY VALUE",
}


async def test_errors_are_one_line_with_the_name_of_the_code(daemon: Daemon) -> None:
    async with opened(daemon, "errors") as shell:
        await run(shell, "put there value")
        said = {line: await refused(shell, line) for line in ERRORS}
        assert {line: text for line, text in said.items() if not text.startswith(ERRORS[line])} == {}
        assert await run(shell, "get there") == "value"


async def test_without_a_table(daemon: Daemon) -> None:
    async with opened(daemon, None) as shell:
        assert await run(shell, "ping") == "ok\n"
        assert (await refused(shell, "get k")).startswith("InvalidTable: no table is open")
        await run(shell, "table later create")
        await run(shell, "put k v")
        assert shell.prompt == "chunkd:later> "
    with pytest.raises(CommandError, match="InvalidArgument: no such table"):
        async with opened(daemon, "unheard-of", create=False):
            pass


async def test_other_users_objects_are_theirs(daemon: Daemon) -> None:
    async with opened(daemon, "owned") as shell:
        await run(shell, "put k v")
    async with opened(daemon, "owned", user="other") as shell:
        assert (await refused(shell, "get k")).startswith("AccessDenied: ")
        assert await run(shell, "list") == ""


async def test_self_check(daemon: Daemon) -> None:
    async with opened(daemon, None, user="checker") as shell:
        assert await run(shell, "checkstatus") == "never started; last ended never\n"
        assert await run(shell, "checkstart") == "started\n"
        async with asyncio.timeout(10):
            while not (status := await run(shell, "checkstatus")).startswith("idle; last ended 20"):
                assert status.startswith("running"), status
                await asyncio.sleep(0.01)


async def test_a_new_connection_where_the_node_was_restarted(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        port = daemon.port
        async with opened(daemon, "t") as shell:
            await run(shell, "put k v")
            daemon.kill()
            with pytest.raises(GoneError, match="the node does not answer: "):
                await run(shell, "get k")
            text = daemon.configuration.read_text().replace("<Port>auto</Port>", f"<Port>{port}</Port>")
            daemon.configuration.write_text(text)
            daemon.start()
            assert await run(shell, "get k") == "v"


async def test_wrong_secret(daemon: Daemon) -> None:
    shell = connect.chunkd(
        Access("chunkd-1", "127.0.0.1", daemon.port, "u", "wrong"), table=None, create=False, exact=False
    )
    with pytest.raises(CommandError, match="SignatureDoesNotMatch"):
        await shell.open()


@settings(max_examples=60)
@given(st.binary(max_size=20))
def test_any_name_survives_being_shown_and_typed(name: bytes) -> None:
    text = escape(name)
    assert text.isprintable()
    assert unescape(text) == name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  # a comment", []),
        ("put a#b 'c d' e\\ f", ["put", "a#b", "c d", "e f"]),
        ("put k ''", ["put", "k", ""]),
    ],
)
def test_lines_are_quoted_as_in_a_shell(line: str, words: list[str]) -> None:
    assert split(line) == words
