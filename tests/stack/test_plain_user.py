"""Users without rights of their own on this machine: one in the group docker, another one, and one outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.enginestack import Stack

SOCKET = Path("/var/run/docker.sock")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root"),
    pytest.mark.skipif(
        bool(os.environ.get("DOCKER_HOST")) or not SOCKET.exists() or SOCKET.stat().st_gid == 0,
        reason="no engine here has a socket of a group of its own",
    ),
]


@dataclass
class User:
    """A user with a home directory. Only reading is made easy, as Python and the checkout may be in root's home."""

    number: int
    groups: str
    home: Path

    def __post_init__(self) -> None:
        self.home.mkdir()
        os.chown(self.home, self.number, self.number)

    def run(self, *words: str) -> tuple[int, Any]:
        """The exit status and the envelope of a command."""
        become = ["setpriv", f"--reuid={self.number}", f"--regid={self.number}", self.groups]
        readable = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        done = subprocess.run(
            [*become, *readable, sys.executable, "-m", "hailbox", *words, "--json"],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def test_a_user_in_the_group(stack: Stack, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    group = f"--groups={SOCKET.stat().st_gid}"
    one, other = User(61001, group, tmp_path / "one"), User(61002, group, tmp_path / "other")
    verbs = (["up"], ["status"], ["snapshot", "save", "kept"], ["reset", "--to", "kept"], ["doctor"])
    for words in verbs:
        status, said = one.run("--stack", stack.name, *words)
        assert status == 0, said["errors"]
    status, said = other.run("ls")
    assert stack.name in [summary["stack"] for summary in said["data"]]
    status, said = other.run("--stack", stack.name, "up")
    assert status == 0, said["errors"]
    assert said["data"]["changed"] == []
    assert one.run("--stack", stack.name, "destroy")[0] == 0
    written = [path for path in one.home.rglob("*") if path.is_file() and ".cache" not in path.parts]
    assert written == []


def test_a_user_outside_of_the_group(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    status, said = User(61003, "--clear-groups", tmp_path / "home").run("status")
    assert status == 3
    assert [error["code"] for error in said["errors"]] == ["engine-denied"]
    assert "join the group docker" in said["errors"][0]["remedy"]
