"""Running the clients: real programs, with nothing of this machine's own settings."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TIMEOUT = 60.0
"""Seconds that one run of a client may take."""

AWS_CLI = Path(sys.prefix) / "aws-cli" / "bin" / "aws"
"""Where scripts/clients.py puts the aws-cli: it wants a botocore of its own."""


def program(name: str) -> str:
    """The path of a client's program; skips the test that asks for one that is not installed."""
    path = str(AWS_CLI) if name == "aws" and AWS_CLI.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: `make clients` installs it where it can, and says why where not")
    return path


@dataclass
class Client:
    """A client's program with its options, its environment, and an empty home directory."""

    command: list[str]
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """No settings of this machine's user, its proxies included."""
        kept = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.home)}
        return kept | dict(self.settings)

    def start(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the program; whatever status it ends with."""
        return subprocess.run(
            [*self.command, *words],
            cwd=self.home,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT,
        )

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Run the program, which has to succeed; what it printed."""
        return self.read(*words, stdin=stdin).decode()

    def read(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run the program, which has to succeed; what it printed, as bytes."""
        done = self.start(*words, stdin=stdin)
        shown = " ".join([*self.command[:1], *words])
        assert done.returncode == 0, (
            f"{shown}: status {done.returncode}\n{done.stderr.decode()}{done.stdout[-2000:]!r}"
        )
        return done.stdout

    def fail(self, *words: str) -> str:
        """Run the program, which has to fail; its complaint."""
        done = self.start(*words)
        assert done.returncode != 0, f"{words} succeeded: {done.stdout!r}"
        return (done.stderr + done.stdout).decode()
