"""Readers of what a daemon does: they come by a socket, and without one nothing is made for them."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from haild.daemon import insight
from haild.daemon.insight import HERE
from haild.daemon.reader import VARIABLE


@pytest.fixture
async def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """The socket of this process."""
    found = tmp_path / "socket"
    monkeypatch.setenv(VARIABLE, str(found))
    monkeypatch.setattr(insight, "KEPT_FOR", 0.2)
    async with insight.listening("test"):
        yield found
    assert not found.exists()


async def lines(path: Path, words: str, count: int) -> tuple[list[Any], asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"{words}\n".encode())
    return [json.loads(await asyncio.wait_for(reader.readline(), 20)) for _ in range(count)], writer


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_events_are_made_while_there_is_a_reader_and_a_moment_after(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not HERE.watching
    (begin,), writer = await lines(path, "events -1", 1)
    assert begin["kind"] == "begin"
    assert HERE.watching
    writer.close()
    HERE.tell({"kind": "request", "text": "while no reader is there"})
    # The next reader goes on after what the last one saw.
    (_, event), writer = await lines(path, f"events {begin['number']}", 2)
    assert event == {"number": begin["number"] + 1, "kind": "request", "text": "while no reader is there"}
    writer.close()
    await until(lambda: not HERE.watching)


async def test_a_number_of_another_process_begins_anew(path: Path) -> None:
    (begin,), writer = await lines(path, "events 999999", 1)
    HERE.tell({"kind": "request"})
    assert begin["number"] < 999999
    writer.close()
    await until(lambda: not HERE.watching)


@pytest.mark.parametrize("words", ["", "events", "events x", "nonsense", "\xff" * 300])
async def test_a_reader_that_asks_for_nothing_gets_nothing(path: Path, words: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(words.encode("latin-1") + b"\n")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_the_program_prints_what_it_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HERE, "state", lambda: {"leases": {"A": 1.5}})

    async def run(*words: str) -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "haild.daemon.reader", *words, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return process.returncode, output

    assert await run("state") == (0, b'{"leases": {"A": 1.5}}\n')
    status, text = await run("metrics")
    assert status == 0
    assert b"haild_start_time_seconds" in text
    status, text = await run("events", "--seconds", "0.1")
    assert status == 0
    assert json.loads(text.splitlines()[0])["kind"] == "begin"
    monkeypatch.setenv(VARIABLE, str(path) + "-none")
    assert (await run("state"))[0] == 1


async def test_a_socket_that_cannot_be_had_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none" / "socket"))
    async with insight.listening("test"):
        assert not HERE.watching
