"""Ctrl-C: leave at once, and say how things are."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from types import FrameType

from hailbox.cli import envelope, output
from hailbox.cli.output import Invocation
from hailbox.model.errors import InterruptionError


def explain(invocation: Invocation) -> None:
    """From now on SIGINT ends the program with an explanation.

    At once, by a handler and not by KeyboardInterrupt: that would first wait for every request to the engine that
    a thread has under way. Every command copes with what any other one leaves behind, wherever it is ended.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        error = interrupted(invocation)
        if invocation.json:
            document = envelope.envelope(invocation.command, invocation.stack, None, [error])
            text, where = (envelope.line if invocation.by_line else envelope.text)(document), 1
        else:
            text, where = output.lines(error), 2
        try:
            _last_words(where, text)
        finally:
            os._exit(error.exit_status)

    signal.signal(signal.SIGINT, leave)


def _last_words(where: int, text: str) -> None:
    """Write the text to the descriptor as the last that this program says there.

    Other threads may report progress until the program ends, so their streams lead nowhere from now on.
    """
    kept = os.dup(where)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Not by print, which the signal may have interrupted.
    os.write(kept, f"{text}\n".encode("utf-8", "backslashreplace"))


def raise_instead() -> None:
    """From now on SIGINT raises KeyboardInterrupt: the command has something to say before it ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore() -> None:
    """From now on SIGINT does nothing: what is left to do takes a moment, and must be done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def interrupted(invocation: Invocation) -> InterruptionError:
    """The error that tells of an interruption of this command."""
    command = _same_again(invocation.stack)
    if invocation.stack is None or not invocation.changes:
        return InterruptionError(
            f"{invocation.command} was interrupted; no stack was changed", f"run it again: {command}"
        )
    return InterruptionError(
        f"{invocation.command} was interrupted; stack {invocation.stack} may be half done, "
        "which every command copes with",
        f"finish with: {command}; see how it is with: hailbox --stack {invocation.stack} status",
    )


def _same_again(stack: str | None) -> str:
    """The command line that was interrupted; it names the stack, wherever that came from."""
    words = sys.argv[1:]
    named = any(word in ("--stack", "-s") or word.startswith("--stack=") for word in words)
    return shlex.join(["hailbox", *(["--stack", stack] if stack and not named else []), *words])
