"""What every verb works with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hailbox.engine.port import Engine
from hailbox.model.catalog import Catalog
from hailbox.model.config import Config
from hailbox.model.progress import Phase, Progress, Report

if TYPE_CHECKING:
    from hailbox.probe.outcome import Outcome
    from hailbox.probe.watch import Watch


def _silent(_progress: Progress) -> None:
    """Ignore progress."""


def _watch(*arguments: Any, **options: Any) -> dict[str, Outcome]:
    """`hailbox.probe.watch.watch`, loaded when it is called: with its libraries it is 44 ms, and half of the commands
    probe nothing."""
    from hailbox.probe.watch import watch

    return watch(*arguments, **options)


@dataclass(frozen=True)
class Span:
    """One step of a command; seconds since the command's start."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Context:
    """The engine, what a stack can be made of, what the user chose, and who wants to hear of progress."""

    engine: Engine
    catalog: Catalog
    config: Config
    report: Report = _silent
    command: str = "hailbox"
    """The command as the user typed it, for who waits for it."""
    watch: Watch = _watch
    """How the replicas are probed."""
    started: float = field(default_factory=time.monotonic)
    spans: list[Span] = field(default_factory=list)
    """The steps so far, for who wants to know where the time went."""

    @property
    def stack(self) -> str:
        """The name of the stack that the command is about."""
        return self.config.stack

    @property
    def elapsed(self) -> float:
        """Seconds since the command's start."""
        return time.monotonic() - self.started

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time a step."""
        begin = self.elapsed
        try:
            yield
        finally:
            self.spans.append(Span(name, begin, self.elapsed))

    def tell(self, subject: str, phase: Phase, detail: str = "") -> None:
        """Report one step forward."""
        self.report(Progress(subject, phase, self.elapsed, detail))
