"""docs/failover.md, run as it stands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.enginestack import ROOT, Stack

PAGE = ROOT / "docs" / "failover.md"
END = "-- end of a line:"


class Shell:
    """One bash that keeps its variables; curl says at the end what the status was."""

    def __init__(self, stack: Stack) -> None:
        program = stack.home / "bin" / "hailbox"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hailbox "$@"\n')
        program.chmod(0o755)
        environment = os.environ | {
            "HAILBOX_STACK": stack.name,
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.bash = subprocess.Popen(
            ["bash"],
            cwd=stack.home,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.run("curl() { command curl -sS -w '\\nstatus %{http_code}\\n' \"$@\"; }")

    def run(self, line: str) -> tuple[int, str]:
        """The exit status of a line, and what it printed."""
        assert self.bash.stdin is not None
        assert self.bash.stdout is not None
        self.bash.stdin.write(f'{line}\necho "{END} $?"\n')
        self.bash.stdin.flush()
        printed = ""
        for text in self.bash.stdout:
            if text.startswith(END):
                return int(text.removeprefix(END)), printed
            printed += text
        raise AssertionError(f"{line}: bash has ended; {printed}")

    def close(self) -> None:
        assert self.bash.stdin is not None
        self.bash.stdin.close()
        self.bash.wait(10)


@pytest.fixture
def shell(stack: Stack) -> Iterator[Shell]:
    shell = Shell(stack)
    yield shell
    shell.close()


@pytest.mark.timeout(400)
def test_the_page(stack: Stack, shell: Shell) -> None:
    Path(stack.home / "image").write_bytes(os.urandom(300_000))
    lines = re.findall(r"(?m)^ {4}(.+)$", PAGE.read_text())
    assert any(line.startswith("hailbox fault kill") for line in lines)
    for line in lines:
        status, printed = shell.run(line)
        assert status == 0, f"{line}: exit status {status}: {printed}"
        promise = re.search(r"# (\d{3})(?:: (.*))?$", line)
        if promise:
            assert printed.endswith(f"status {promise[1]}\n"), f"{line}: {printed}"
    assert (stack.home / "back").read_bytes() == (stack.home / "image").read_bytes()
