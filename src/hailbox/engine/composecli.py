"""Finding Compose and running it: the plugin `docker compose`, else `docker-compose`, 2.24 or later."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hailbox import surroundings
from hailbox.engine.port import ComposeVersion
from hailbox.model import refusals
from hailbox.model.errors import ComposeFailedError, ComposeMissingError, ComposeTooOldError, HostLimitsError

OLDEST: Final = (2, 24)
KEPT_LINES: Final = 12
"""Lines of Compose's output that an error repeats."""

_GET_ONE: Final = "get one with: pip install 'hailbox[compose]', or install your distribution's docker-compose-plugin"


def _candidates() -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    if docker := surroundings.which("docker"):
        commands.append((docker, "compose"))
    beside_python = str(Path(sys.executable).parent)
    if standalone := surroundings.which("docker-compose", beside_python):
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
    candidates = _candidates()
    for command in candidates:
        said = _version_of(command)
        version = parse_version(said)
        if version is None:
            continue
        if version >= OLDEST:
            return ComposeVersion(command, said)
        too_old.append(f"{' '.join(command)} is {said}")
    if too_old:
        needed = ".".join(map(str, OLDEST))
        raise ComposeTooOldError(
            f"Compose is too old: {'; '.join(too_old)}; hailbox needs {needed} or later", _GET_ONE
        )
    if candidates and (low := surroundings.low_limits()):
        raise HostLimitsError(
            f"Compose does not start with what this shell allows: {', '.join(low)}",
            "run the command from a shell without that limit, or raise it",
        )
    raise ComposeMissingError("neither `docker compose` nor `docker-compose` runs here", _GET_ONE)


def _version_of(command: Sequence[str]) -> str:
    """What this Compose says its version is; empty where it is no program that can be run."""
    try:
        answer = subprocess.run(
            [*command, "version", "--short"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=surroundings.ROOT,
            env=_environment({}),
            check=False,
        )
    except OSError:  # a page that says "Not Found", a script whose interpreter is gone, for another processor
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _environment(engine: Mapping[str, str]) -> dict[str, str]:
    """The environment of Compose: nothing that would change what it does with our file, in which all is said."""
    found = surroundings.environment(
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    )
    ours = {
        "COMPOSE_ANSI": "never",
        "COMPOSE_PROGRESS": "plain",
        "COMPOSE_MENU": "0",
        "COMPOSE_DISABLE_ENV_FILE": "1",
    }
    return found | ours | dict(engine)


def run(project: str, file: str, arguments: Sequence[str], *, engine: Mapping[str, str]) -> None:
    """Run Compose on the text `file`, from the root directory, so that the current one never matters; the variables
    `engine` lead it to the engine.

    Inherited descriptors stay open on purpose: by one of them the next command knows a Compose process that a killed
    driver left behind, and waits for it. Raises ComposeFailedError, DiskFullError.
    """
    command = [*find().command, "--project-name", project, "--project-directory", "/", "--file", "-", *arguments]
    # A file, not a pipe: of a pipe's text Compose would obey the part that a killed driver has written so far.
    with (
        surroundings.text_file(file) as text,
        subprocess.Popen(
            command,
            stdin=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=surroundings.ROOT,
            env=_environment(engine),
            close_fds=False,
        ) as process,
    ):
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        lines = [line for line in output.splitlines() if line.strip()][-KEPT_LINES:]
        if known := refusals.known("\n".join(reversed(lines))):
            raise known
        said = "\n  ".join(lines) or "nothing"
        asked = f"`{' '.join(arguments)}` of {project}"
        raise ComposeFailedError(
            f"Compose ended with status {process.returncode} on {asked}; it said:\n  {said}",
            "see what it names and mend that, then run the command again; `hailbox doctor` looks at the engine",
        )
