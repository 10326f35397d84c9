"""The real program as a subprocess, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_ENGINE = "unix:///nonexistent.sock"


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    status: int
    out: str
    err: str

    def document(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    def error(self) -> tuple[str, str, str]:
        """Code, problem and remedy of the error, which must be all of standard error, in two lines."""
        first, second = self.err.splitlines()
        assert first.startswith("hailbox: ")
        assert first.endswith("]")
        assert second.startswith("  → ")
        problem, _, code = first.removeprefix("hailbox: ").removesuffix("]").rpartition(" [")
        return code, problem, second.removeprefix("  → ")


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Nothing of the user's but what Python needs; home and runtime directory are below `directory`."""
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE") if name in os.environ
    }
    private = {"HOME": str(directory), "XDG_RUNTIME_DIR": str(directory), "LANG": "C.UTF-8", "DOCKER_HOST": NO_ENGINE}
    return kept | private | more


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """The command line that runs `hailbox` with these arguments."""
    return [python, "-m", "hailbox", *arguments]


def run(
    directory: Path, *arguments: str, variables: Mapping[str, str] | None = None, python: str = sys.executable
) -> Ended:
    """Run `hailbox` in `directory` to its end, which must come soon."""
    ended = subprocess.run(
        command(*arguments, python=python),
        cwd=directory,
        env=environment(directory, **(variables or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)
