"""How a command's result or its error leaves the program: text for people, or the one JSON object."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hailbox.cli import envelope
from hailbox.model.errors import DiskFullError, HailboxError


class ReaderGoneError(Exception):
    """Who read our standard output does not want the rest; that is its right."""


@dataclass
class Asked:
    """What the user asked for, as far as it shows in the output."""

    command: str | None
    json: bool = False
    debug: bool = False
    stack: str | None = None
    """None where a command is about no stack, or it is not known yet."""


def write(text: str) -> None:
    """Print on standard output. Raises ReaderGoneError; DiskFullError where it goes to a full disk."""
    with _explained():
        print(text, flush=True)  # noqa: T201


def write_bytes(data: bytes) -> None:
    """The same for bytes as they are."""
    with _explained():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python would try to write the rest once more at its end, and complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise ReaderGoneError from error
        raise DiskFullError(
            f"the output cannot be written: {error.strerror}", "free some space where it goes, or send it elsewhere"
        ) from error


def result(asked: Asked, data: Any, wrong: HailboxError | None) -> None:
    """Print the envelope of a command that came to its end."""
    errors = [wrong] if wrong else []
    write(envelope.text(envelope.envelope(asked.command, asked.stack, data, errors)))


def error(asked: Asked, wrong: HailboxError) -> None:
    """One line (and perhaps a quotation) that says what is wrong, and one that says what to do; or the envelope."""
    if asked.debug:
        import traceback  # here, as hardly anybody wants it

        traceback.print_exception(wrong)
    if asked.json:
        with contextlib.suppress(ReaderGoneError, DiskFullError):
            write(envelope.text(envelope.envelope(asked.command, asked.stack, None, [wrong])))
        return
    with contextlib.suppress(OSError):
        print(lines(wrong), file=sys.stderr)  # noqa: T201


def lines(wrong: HailboxError) -> str:
    """An error as text for a person."""
    first, *quoted = wrong.problem.split("\n")
    return "\n".join([f"hailbox: {first} [{wrong.code}]", *quoted, f"  → {wrong.remedy}"])
