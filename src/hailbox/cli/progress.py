"""Progress on standard error: one live line per subject on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
import threading
from types import TracebackType
from typing import Self

from hailbox.model.progress import Phase, Progress


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
    return f"{progress.seconds:6.1f} s  {progress.subject:<14} {progress.phase.value}{detail}"


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
            self._latest[progress.subject] = progress
            self._draw()

    def _draw(self) -> None:
        import shutil  # here, as most commands report nothing

        width = shutil.get_terminal_size().columns - 1
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        text = "".join(f"\x1b[2K{line(progress)[:width]}\n" for progress in self._latest.values())
        with contextlib.suppress(OSError):  # the terminal has gone; the work goes on
            sys.stderr.write(up + text)
            sys.stderr.flush()
        self._drawn = len(self._latest)


def choose(*, silent: bool) -> Silent:
    """The reporter that fits where standard error goes."""
    if silent:
        return Silent()
    return Live() if sys.stderr.isatty() else Plain()
