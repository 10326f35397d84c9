"""A real cld for the tests of the shells, and how they run a command line in one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hailbox.shell.interpreter import CommandError, Interpreter, split
from support.chunkd_daemon import eventually

SECRET = "s3cret"


@contextlib.contextmanager
def cld(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A real cld with one user, `tabled`."""
    directory.mkdir(exist_ok=True)
    (directory / "users").write_text(f"tabled\t{SECRET}\n")
    port = directory / "port"
    command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(directory), "-p", "auto"]
    process = subprocess.Popen([*command, "--port-file", str(port), "--secrets", str(directory / "users")])
    try:
        eventually(port.exists, "cld is up")
        yield process, int(port.read_text())
    finally:
        process.kill()
        process.wait()


async def run(interpreter: Interpreter, line: str) -> str:
    async with aclosing(interpreter.run(split(line))) as pieces:
        return b"".join([piece async for piece in pieces]).decode()


async def refused(interpreter: Interpreter, line: str) -> str:
    with pytest.raises(CommandError) as caught:
        await run(interpreter, line)
    assert "\n" not in str(caught.value)
    return str(caught.value)
