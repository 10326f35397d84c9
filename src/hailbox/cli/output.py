"""How a command's result or its error leaves the program: text for people, or the one JSON object."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailbox.cli import envelope
from hailbox.model.errors import DiskFullError, HailboxError


class ReaderGoneError(Exception):
    """The reader of our standard output does not want the rest, as it may."""


@dataclass
class Invocation:
    """What the user asked for, as far as it shows in the output."""

    command: str | None
    json: bool = False
    debug: bool = False
    by_line: bool = False
    """Whether JSON is printed in lines, an object each, as there is no end to wait for."""
    changes: bool = False
    """Whether the command changes the stack."""
    stack: str | None = None
    """None where a command is about no stack, or it is not known yet."""
    file: str | None = None
    """The file of choices that the user named."""


_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""What a terminal obeys instead of showing it (C0 but for tab and line end, C1), what reorders a line (marks and
embeddings of writing direction: Unicode Standard Annex 9), and what no encoding has."""


def plain_text(text: str) -> str:
    """`text` as a terminal may see it: names and log lines come from outside, and may hold anything."""
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def write(text: str) -> None:
    """Print text for a person on standard output. Raises ReaderGoneError; DiskFullError where it goes to a full
    disk."""
    with explained():
        print(plain_text(text), flush=True)  # noqa: T201


def write_painted(text: str) -> None:
    """Print text that is plain already, with colours of our own. Raises as `write` does."""
    with explained():
        print(text, flush=True)  # noqa: T201


def write_json(invocation: Invocation, document: Mapping[str, Any]) -> None:
    """Print the envelope as JSON, which is UTF-8 whatever the locale (RFC 8259, section 8.1). Raises as `write`."""
    if invocation.by_line:
        write_json_line(document)
    else:
        write_bytes(f"{envelope.text(document)}\n".encode("utf-8", "backslashreplace"))


def write_json_line(document: Mapping[str, Any]) -> None:
    """Print an object in one line of JSON. Raises as `write` does."""
    write_bytes(f"{envelope.line(document)}\n".encode("utf-8", "backslashreplace"))


def write_bytes(data: bytes) -> None:
    """Print bytes as they are. Raises as `write` does."""
    with explained():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn a failure to write standard output into ReaderGoneError or DiskFullError."""
    try:
        yield
    except OSError as error:
        # Python would try to write the rest once more at its end, and complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise ReaderGoneError from error
        raise DiskFullError(
            f"the output cannot be written: {error.strerror}", "free some space where it goes, or send it elsewhere"
        ) from error


def result(invocation: Invocation, data: Any, wrong: HailboxError | None) -> None:
    """Print the envelope of a command that came to its end."""
    errors = [wrong] if wrong else []
    write_json(invocation, envelope.envelope(invocation.command, invocation.stack, data, errors))


def error(invocation: Invocation, wrong: HailboxError) -> None:
    """One line (and perhaps a quotation) that says what is wrong, and one that says what to do; or the envelope."""
    if invocation.debug:
        import traceback  # here, as few users want it

        traceback.print_exception(wrong)
    if invocation.json:
        with contextlib.suppress(ReaderGoneError, DiskFullError):
            write_json(invocation, envelope.envelope(invocation.command, invocation.stack, None, [wrong]))
        return
    with contextlib.suppress(OSError):
        print(plain_text(lines(wrong)), file=sys.stderr)  # noqa: T201


def lines(wrong: HailboxError) -> str:
    """An error as text for a person."""
    first, *quoted = wrong.problem.split("\n")
    return "\n".join([f"hailbox: {first} [{wrong.code}]", *quoted, f"  → {wrong.remedy}"])
