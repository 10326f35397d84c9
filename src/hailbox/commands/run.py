"""`run`: a stack for as long as a command runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hailbox.commands.down import destroy
from hailbox.commands.env import env
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.model.errors import UsageError
from hailbox.observe import observe


@dataclass(frozen=True)
class RunResult:
    """How a command ended."""

    status: int
    """Its exit status; 128 and the number of the signal that ended it."""
    destroyed: bool
    """Whether the stack was removed, which it is if it was not there before."""


def run(context: Context, command: Sequence[str], *, keep: bool = False, output_to_errors: bool = False) -> RunResult:
    """Bring the stack up, run the command with `env` in its environment, and remove the stack if it was not there.

    `keep`: leave the stack. `output_to_errors`: the command's output goes to standard error. Raises UsageError if
    there is no such program, and what `up` and `destroy` raise.
    """
    there = not observe(context.engine, context.stack).empty
    try:
        up(context)
        status = _run(command, env(context), output_to_errors)
    finally:
        remove = not (there or keep)
        if remove:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            destroy(context)
            signal.signal(signal.SIGINT, before)
    return RunResult(status, remove)


def _run(command: Sequence[str], variables: Mapping[str, str], output_to_errors: bool) -> int:
    # Ctrl-C at a terminal reaches the command too, which decides what it means; we wait for its end.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdout=sys.stderr if output_to_errors else None,
            preexec_fn=_heed_signals,
        )
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        ended = process.wait()
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be run: {error.strerror}", "see that it is there, and a program"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - ended if ended < 0 else ended


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
