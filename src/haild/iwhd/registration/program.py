"""Runs an external program and reads from its output how it went (iwhd.md section 11)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

FailurePattern = Literal["token", "line", "none"]

MAXIMUM_LINE: Final = 64 * 1024
"""Bytes of a line of output; a program that writes longer ones is ended."""

_SUCCESS: Final = re.compile(r"IMAGE[ \t]+(\S+)")
_FAILURES: Final[Mapping[FailurePattern, re.Pattern[str] | None]] = {
    "token": re.compile(r"ERROR[ \t]+(\S+)"),
    "line": re.compile(r"ERROR[ \t]+(\S.*)"),
    "none": None,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: True with the id that the cloud gave, False with the reason; None if the program did not say."""

    succeeded: bool | None
    text: str = ""


def read_line(line: str, failure: FailurePattern) -> Outcome | None:
    """What a line of output says about the outcome; None if nothing."""
    success = _SUCCESS.match(line)
    if success is not None:
        return Outcome(True, success[1])
    pattern = _FAILURES[failure]
    match = pattern.match(line) if pattern is not None else None
    return None if match is None else Outcome(False, match[1].rstrip())


async def run_program(command: Sequence[str], directory: Path, failure: FailurePattern) -> Outcome:
    """Run `command` in `directory` to its end; the last line that tells the outcome counts.

    The program and its children are killed if this is cancelled.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAXIMUM_LINE,
            start_new_session=True,
        )
    except OSError as error:
        logger.error("%s: %s", command[0], error)
        return Outcome(False, f"cannot run {Path(command[0]).name}")
    try:
        outcome = await _outcome(process, command[0], failure)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status:
        logger.warning("%s ended with status %d", command[0], status)
    return outcome


async def _outcome(process: asyncio.subprocess.Process, name: str, failure: FailurePattern) -> Outcome:
    outcome = Outcome(None)
    if process.stdout is None:  # pragma: no cover - it was asked for
        return outcome
    try:
        async for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            logger.debug("%s: %s", name, line)
            outcome = read_line(line, failure) or outcome
    except ValueError:
        # asyncio's way to say that a line is too long.
        logger.warning("%s: a line of more than %d bytes", name, MAXIMUM_LINE)
        os.killpg(process.pid, signal.SIGKILL)
    return outcome
