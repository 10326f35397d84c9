"""Progress on standard error: one live line per subject on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from hailbox.cli import output
from hailbox.model.progress import Phase, Progress

_NARROWEST: Final = 20
"""Columns that a line needs to say which subject it is about."""


class Form(StrEnum):
    """What `--progress` may ask for."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


class Silent:
    """For `--quiet` and `--json`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def report(self, progress: Progress) -> None:
        """Say nothing."""


def line(progress: Progress) -> str:
    """One step as text."""
    detail = f"  {progress.detail}" if progress.detail else ""
    return output.plain_text(f"{progress.seconds:6.1f} s  {progress.subject:<14} {progress.phase.value}{detail}")


def _size() -> tuple[int, int]:
    """Columns and rows of the terminal that the progress goes to."""
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(sys.stderr.fileno())
        if size.columns > 0 and size.lines > 0:
            return size.columns, size.lines
    return 80, 24


class Lines(Silent):
    """A JSON object on a line for each step, for programs (`--progress json`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        event = {
            "subject": progress.subject,
            "phase": progress.phase.value,
            "seconds": round(progress.seconds, 3),
            "detail": progress.detail,
        }
        with self._lock, contextlib.suppress(OSError):  # its reader has gone; the work goes on
            print(json.dumps(event), file=sys.stderr, flush=True)  # noqa: T201


class Plain(Silent):
    """A line for each step that changes something for its subject."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Phase, str]] = {}
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        with self._lock:
            if self._last.get(progress.subject) != (progress.phase, progress.detail):
                self._last[progress.subject] = (progress.phase, progress.detail)
                with contextlib.suppress(OSError):  # its reader has gone; the work goes on
                    print(line(progress), file=sys.stderr, flush=True)  # noqa: T201


class Live(Silent):
    """One line per subject, rewritten in place."""

    def __init__(self) -> None:
        self._latest: dict[str, Progress] = {}
        self._drawn = 0
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        with self._lock:
            self._latest[progress.subject] = self._newest = progress
            self._draw()

    def _draw(self) -> None:
        width, height = _size()
        if len(self._latest) >= height:
            # Lines that have left the screen cannot be rewritten.
            text, up = f"{line(self._newest)[: width - 1]}\n", ""
        else:
            up = f"\x1b[{self._drawn}F" if self._drawn else ""
            text = "".join(f"\x1b[2K{line(progress)[: width - 1]}\n" for progress in self._latest.values())
        with contextlib.suppress(OSError):  # the terminal has gone; the work goes on
            sys.stderr.write(up + text)
            sys.stderr.flush()
        self._drawn = len(self._latest)


def choose(*, silent: bool, form: Form = Form.AUTO) -> Silent:
    """The reporter that the user asked for, else the one that fits where standard error goes."""
    if form is Form.JSON:
        return Lines()
    if form is Form.PLAIN:
        return Plain()
    if silent or form is Form.NONE:
        return Silent()
    # A dumb terminal knows no sequences, and on a narrow one a line says too little of itself.
    able = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" and _size()[0] >= _NARROWEST
    return Live() if able else Plain()
