"""Finding Compose and running it: the plugin `docker compose`, else `docker-compose`, 2.24 or later."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hailbox.engine.port import ComposeVersion
from hailbox.model import diskspace
from hailbox.model.errors import ComposeFailedError, ComposeMissingError, ComposeTooOldError

OLDEST = (2, 24)
KEPT_LINES = 12
"""Lines of Compose's output that an error repeats."""

_GET_ONE = "get one with: pip install 'hailbox[compose]', or install your distribution's docker-compose-plugin"


def _candidates() -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    if docker := shutil.which("docker"):
        commands.append((docker, "compose"))
    beside_python = str(Path(sys.executable).parent)
    search = os.pathsep.join((beside_python, os.environ.get("PATH", os.defpath)))
    if standalone := shutil.which("docker-compose", path=search):
        commands.append((standalone,))
    return commands


def parse_version(text: str) -> tuple[int, ...] | None:
    """The numbers of a version such as `v5.6.1` or `2.24.0+ds1-0ubuntu1`; None if there are none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in match[1].split(".")) if match else None


@functools.cache
def find() -> ComposeVersion:
    """The first Compose that is new enough. Raises ComposeMissingError or ComposeTooOldError."""
    too_old: list[str] = []
    for command in _candidates():
        answer = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
        version = parse_version(answer.stdout) if answer.returncode == 0 else None
        if version is None:
            continue
        if version >= OLDEST:
            return ComposeVersion(command, answer.stdout.strip())
        too_old.append(f"{' '.join(command)} is {answer.stdout.strip()}")
    if too_old:
        needed = ".".join(map(str, OLDEST))
        raise ComposeTooOldError(
            f"Compose is too old: {'; '.join(too_old)}; hailbox needs {needed} or later", _GET_ONE
        )
    raise ComposeMissingError("neither `docker compose` nor `docker-compose` runs here", _GET_ONE)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment without settings that would change what Compose does with our file."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
    return kept | {"COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain", "COMPOSE_MENU": "0"} | dict(extra)


def run(project: str, file: str, arguments: Sequence[str], *, engine: Mapping[str, str]) -> None:
    """Run Compose on the text `file`, from the root directory, so that the current one never matters; the variables
    `engine` lead it to the engine.

    Inherited descriptors stay open on purpose: the stack's lock lives as long as a Compose process that a killed
    driver leaves behind, so that the next command waits for it. Raises ComposeFailedError, DiskFullError.
    """
    command = [*find().command, "--project-name", project, "--project-directory", "/", "--file", "-", *arguments]
    # A file, not a pipe: of a pipe's text Compose would obey the part that a killed driver has written so far.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as text:
        text.write(file)
        text.seek(0)
        with subprocess.Popen(
            command,
            stdin=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=_environment(engine),
            close_fds=False,
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                process.terminate()
                raise
    if process.returncode != 0:
        lines = [line for line in output.splitlines() if line.strip()][-KEPT_LINES:]
        if full := [line.strip() for line in lines if diskspace.is_full(line)]:
            raise diskspace.engine_full(full[-1])
        said = "\n  ".join(lines) or "nothing"
        asked = f"`{' '.join(arguments)}` of {project}"
        raise ComposeFailedError(
            f"Compose ended with status {process.returncode} on {asked}; it said:\n  {said}",
            "run `hailbox up` again; if it persists, `hailbox reset` starts from empty volumes",
        )
